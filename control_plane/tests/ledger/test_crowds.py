"""A crowd of one customer's waiting jobs costs whoever places another's no more than a few of them do."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from job_rows import row
from sqlalchemy import event, insert
from yard import H100, Yard, open_yard, supplier

from nodus_ledger.database.schema import jobs
from nodus_ledger.jobs.claiming import Claim
from nodus_ledger.jobs.wants import Wants

GPUS = 4
AT_ONCE = 5000


@contextmanager
def crowded_yard(database_url: str, count: int) -> Iterator[tuple[Yard, list[Claim]]]:
    """A supplier whose GPUs all run jobs of one customer, of whom so many more wait; and the claims on those jobs."""
    yard = open_yard(database_url, [supplier("lab", 1, {H100: GPUS})])
    for _ in range(GPUS):
        yard.submit("many")
    claims = yard.claim()
    queue = Wants("many", False, 1, ()).queue
    waiting: dict[str, Any] = {
        "customer_id": "many",
        "gpu": H100,
        "status": "queued",
        "finished_at": None,
        "simulated": False,
    }
    waiting |= {"due_at": None, "waiting_since": 1, "waiting_in": queue}
    with yard.control_plane.database.write() as connection:
        for first in range(0, count, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, count))
            connection.execute(insert(jobs), [{**row(0), **waiting, "id": f"{number:032}"} for number in numbers])
    with yard.control_plane.database._engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
    yield yard, claims
    yard.control_plane.close()


def free_one_gpu(yard: Yard, claims: list[Claim]) -> Claim:
    """Have a job of another customer wait, and a GPU come free; return who gets that."""
    expected = yard.submit("one")
    yard.end(claims.pop())
    (placed,) = yard.claim()
    assert placed.job.id == expected
    claims.append(placed)
    return placed


@pytest.mark.both_engines
def test_a_crowd_costs_no_more_statements(kept_database_url: str, empty_database_url: str) -> None:
    """Another's job has the first GPU that comes free, with as many statements, and as many passes.

    Of several times the one with the fewest counts: now and then a statement is due by the clock.
    """
    counts = []
    for url, count in ((kept_database_url, 20), (empty_database_url, 3000)):
        with crowded_yard(url, count) as (yard, claims):
            said: list[str] = []
            each_time = []
            listen = lambda *arguments, said=said: said.append(arguments[2])  # noqa: E731
            event.listen(yard.control_plane.database._engine, "before_cursor_execute", listen)
            for _ in range(GPUS):
                said.clear()
                free_one_gpu(yard, claims)
                each_time.append(len(said))
            event.remove(yard.control_plane.database._engine, "before_cursor_execute", listen)
            counts.append(min(each_time))

    assert counts[0] == counts[1] > 0


@pytest.mark.soak
@pytest.mark.both_engines
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_delay_another_as_a_hundred_do(kept_database_url: str, empty_database_url: str) -> None:
    """Each time a GPU comes free, whoever holds fewer has it at once."""
    taken = []
    for url, count in ((kept_database_url, 100), (empty_database_url, 100_000)):
        with crowded_yard(url, count) as (yard, claims):
            seconds = []
            for _ in range(30):
                began = time.perf_counter()
                free_one_gpu(yard, claims)
                seconds.append(time.perf_counter() - began)
            taken.append(statistics.median(seconds))

    assert taken[1] < 5 * taken[0], taken
