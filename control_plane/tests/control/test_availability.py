"""What is free, and what can be had, is what a job that was submitted now would find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from control.engines import silent
from control.mixed import GPU, Mixed
from control.test_mixed_suppliers import CAMPUS, DESK, LAB, MOCK
from sqlalchemy import update

from nodus_core.suppliers_file import SupplierEntry
from nodus_ledger.database.database import Database
from nodus_ledger.database.schema import jobs, slots
from nodus_ledger.jobs.heartbeats import SILENT_AFTER_MS, Workers, unreachable_now

pytestmark = pytest.mark.both_engines

Make = Callable[..., Mixed]


@pytest.fixture
def make(kept_database_url: str) -> Iterator[Make]:
    """Makes control planes of one database."""
    made: list[Mixed] = []

    def make(*entries: SupplierEntry, **options: Any) -> Mixed:
        made.append(Mixed(kept_database_url, entries, **options))
        return made[-1]

    yield make
    for mixed in made:
        mixed.plane.close()


def free(mixed: Mixed, customer: str = "acme", *, real_now: int = 0) -> dict[str, int]:
    """Say how many GPUs are free, by supplier."""
    found = mixed.plane.availability.now(customer, [GPU], real_now=real_now).free
    return {supplier: count for (supplier, gpu), count in found.items() if gpu == GPU}


def closed(mixed: Mixed, customer: str = "acme", *, real_now: int = 0) -> set[str]:
    """Say which suppliers are closed."""
    return set(mixed.plane.availability.now(customer, [GPU], real_now=real_now).closed)


def test_what_nobody_counts_is_not_said_to_be_free(make: Make) -> None:
    """Of the others it is what they have."""
    assert free(make(MOCK, DESK, CAMPUS, LAB)) == {"desk": 4, "lab": 2}


def test_what_an_end_has_not_freed_yet_is_not_free(make: Make) -> None:
    """Its attempt is over, as far as the job goes; its engine has not confirmed that it is gone."""
    mixed = make(LAB)
    with mixed.plane.database.write() as connection:
        connection.execute(update(slots).where(slots.c.index == 1).values(job_id="over", attempt=1, customer_id="acme"))

    assert free(mixed) == {"lab": 1}


def test_where_no_more_jobs_may_run_at_once_nothing_is_free(make: Make) -> None:
    """Whatever GPUs are left: a job would wait."""
    other = "a10g"
    both = replace(DESK, micros_per_gpu_hour={GPU: 1, other: 1}, gpus={GPU: 4, other: 4})
    mixed = make(both, at_once=1)
    before = free(mixed)
    first, second = mixed.submit(gpu=other), mixed.submit()
    mixed.plane.worker.run_due()

    assert (before, free(mixed)) == ({"desk": 4}, {"desk": 0})
    assert [mixed.job(each).status for each in (first, second)] == ["running", "queued"]


def test_what_is_kept_for_another_job_is_not_free(make: Make) -> None:
    """It waits for more than there is now, and has been passed over for long enough."""
    mixed = make(LAB)
    mixed.submit()
    mixed.plane.worker.run_due()
    large = mixed.submit(gpu_count=2)
    with mixed.plane.database.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == large).values(passed_over_at=1, reserves="lab"))

    assert free(mixed) == {"lab": 0}


def test_a_supplier_of_another_customer_is_closed(make: Make) -> None:
    """To its own customer it is open."""
    mixed = make(DESK, LAB, one_customer=["desk"])
    mixed.submit("acme")
    mixed.plane.worker.run_due()

    assert (closed(mixed, "acme"), closed(mixed, "bank")) == (set(), {"desk"})


def test_a_supplier_that_no_worker_reaches_is_closed(make: Make, kept_database_url: str) -> None:
    """Every process that answers requests knows, and knows when it is back."""
    mixed, api = make(LAB), make(LAB, is_alone=False)
    job_id = mixed.submit()
    mixed.plane.worker.run_due()
    stub = mixed.stubs["lab"]
    before = stub.reports, stub.engine
    stub.reports = stub.engine = silent
    mixed.plane.advance(600)
    away = closed(api)
    stub.reports, stub.engine = before
    mixed.plane.advance(600)

    assert mixed.job(job_id).status in ("running", "failed")
    assert (away, closed(api)) == ({"lab"}, set())


def test_one_worker_that_reaches_it_is_enough(kept_database_url: str) -> None:
    """And one that was not heard of for a while counts no more."""
    database = Database(kept_database_url)
    workers = Workers(database)

    def unreachable(real_now: int) -> set[str]:
        with database.read() as connection:
            return set(unreachable_now(connection, real_now))

    before = unreachable(0)
    workers.give_sign("a", host="here", version="1", real_now=1000, unreachable=["lab", "rack"])
    alone = unreachable(1000)
    workers.give_sign("b", host="there", version="1", real_now=2000, unreachable=["rack"])
    both = unreachable(2000)
    workers.give_sign("a", host="here", version="1", real_now=3000 + SILENT_AFTER_MS, unreachable=["lab"])
    later = unreachable(3000 + SILENT_AFTER_MS)
    database.close()

    assert (before, alone, both, later) == (set(), {"lab", "rack"}, {"rack"}, {"lab"})
