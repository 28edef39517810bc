"""What is asked at every tick reads as many rows as it returns, however many jobs there were before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from job_rows import LIVE, row
from servers.engines import POSTGRESQL
from sqlalchemy import Connection, Select, insert, select
from typing_extensions import Unpack

from nodus_core.lifecycle import JobStatus
from nodus_ledger.database.database import Database
from nodus_ledger.database.schema import jobs
from nodus_ledger.jobs import labels
from nodus_ledger.jobs.listing import Filters, listing, span

ENDED = 3000
LIMIT = 201

pytestmark = pytest.mark.both_engines


def name_of(number: int) -> str | None:
    """One name is that of a few jobs, another that of a third."""
    return "rare" if number % 500 == 0 else "frequent" if number % 3 == 1 else None


def labels_of(number: int) -> dict[str, str]:
    """One label is that of many jobs, with one value or another; one is rare."""
    return {"team": "search" if number % 2 else "ads", **({"rare": ""} if number % 500 == 1 else {})}


def made(number: int) -> dict[str, Any]:
    """Make a job with its own idempotency key, under one of many scopes."""
    return {
        **row(number),
        "name": name_of(number),
        "endpoint": "POST /v1/jobs",
        "idempotency_scope": f"agent {number % 20}",
        "idempotency_key": f"key {number}",
    }


@pytest.fixture
def database(kept_database_url: str) -> Iterator[Database]:
    """A database with many ended jobs of two customers, and a few that live among them."""
    opened = Database(kept_database_url)
    with opened.write() as connection:
        rows = [made(number) for number in range(ENDED)]
        connection.execute(insert(jobs), rows)
        for number, each in enumerate(rows):
            labels.insert_rows(connection, each["customer_id"], number + 1, labels_of(number))
    with opened._engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
    yield opened
    opened.close()


def plan_of(connection: Connection, statuses: tuple[JobStatus, ...], after: int | None, name: str | None = None) -> str:
    """Explain the query of a page, in the words of the engine."""
    last = None if after is None else after - 1
    return explained(connection, listing("acme", Filters(statuses, name), limit=LIMIT, last=last))


def explained(connection: Connection, query: Select[Unpack[tuple[Any, ...]]]) -> str:
    """Explain a query likewise."""
    said = str(query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
    if connection.dialect.name == "sqlite":
        return "\n".join(str(found[3]) for found in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {said}"))
    return json.dumps(
        connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {said}".replace("%", "%%")).scalar()
    )


@pytest.mark.parametrize("after", [None, 2500])
@pytest.mark.parametrize("statuses", [LIVE, (JobStatus.FAILED,), (JobStatus.RUNNING, JobStatus.CANCELLED), ()])
def test_a_page_is_found_by_an_index_and_reads_little_else(
    database: Database, engine: str, statuses: tuple[JobStatus, ...], after: int | None
) -> None:
    """No scan of a table. Where matches are frequent PostgreSQL may choose the order of all jobs, and skip others'."""
    with database.read() as connection:
        plan = plan_of(connection, statuses, after)

    if engine == POSTGRESQL:
        assert "Seq Scan" not in plan, plan
        assert max(rows_removed(json.loads(plan))) <= (0 if LIVE[2] in statuses else 2 * LIMIT), plan
        assert "jobs_by_status" in plan or LIVE[2] not in statuses
    else:
        assert ("jobs_by_status" if statuses else "jobs_by_customer") in plan, plan
        assert "SCAN jobs" not in plan, plan


@pytest.mark.campaign(3)
@pytest.mark.parametrize("after", [None, 2500])
@pytest.mark.parametrize("statuses", [LIVE, (JobStatus.FAILED,), (JobStatus.RUNNING, JobStatus.CANCELLED), ()])
@pytest.mark.parametrize("name", ["rare", "frequent", "nobody's"])
def test_a_page_of_one_name_reads_little_else(
    database: Database, engine: str, statuses: tuple[JobStatus, ...], after: int | None, name: str
) -> None:
    """However many jobs have another name, or this one and another status."""
    with database.read() as connection:
        plan = plan_of(connection, statuses, after, name)

    if engine == POSTGRESQL:
        assert "Seq Scan" not in plan, plan
        assert max(rows_removed(json.loads(plan))) <= LIMIT, plan
    else:
        branches = len(dict.fromkeys(statuses or JobStatus))
        assert plan.count("jobs_by_name (customer_id=? AND name=? AND status=?") == branches, plan
        assert "SCAN jobs" not in plan, plan


@pytest.mark.parametrize("last", [None, 2499])
@pytest.mark.parametrize("statuses", [(), LIVE, (JobStatus.FAILED,)])
def test_a_page_of_a_label_reads_little_else(
    database: Database, engine: str, statuses: tuple[JobStatus, ...], last: int | None
) -> None:
    """The rows of the label are in order of its jobs' numbers; of those that live, which are few, each is asked."""
    for wanted in [("team", "search"), ("team", None), ("rare", ""), ("team", "nobody")]:
        with database.read() as connection:
            plan = explained(connection, listing("acme", Filters(statuses, labels=[wanted]), limit=LIMIT, last=last))

        if engine == POSTGRESQL:
            assert "Seq Scan" not in plan, plan
            assert max(rows_removed(json.loads(plan))) <= 2 * LIMIT, plan
        elif statuses == LIVE:
            assert plan.count("jobs_by_status (customer_id=? AND status=?") == len(LIVE), plan
            assert plan.count("job_labels USING PRIMARY KEY (customer_id=? AND key=? AND seq=?)") == len(LIVE), plan
            assert "SCAN jobs" not in plan, plan
        else:
            value = "PRIMARY KEY (customer_id=? AND key=?"
            if wanted[1] is not None:
                value = "COVERING INDEX job_labels_by_value (customer_id=? AND key=? AND value=?"
            assert f"job_labels USING {value}" in plan, plan
            assert "SCAN jobs" not in plan, plan
            assert "TEMP B-TREE" not in plan, plan


def test_a_page_of_an_idempotency_key_is_found_in_every_scope(database: Database, engine: str) -> None:
    """By the index that makes keys unique, once for each scope."""
    with database.read() as connection:
        plan = explained(connection, listing("acme", Filters(idempotency_key="key 2000"), limit=LIMIT))

    if engine == POSTGRESQL:
        assert "Seq Scan" not in plan, plan
        assert max(rows_removed(json.loads(plan))) <= LIMIT, plan
    else:
        assert "(customer_id=? AND idempotency_scope=? AND endpoint=? AND idempotency_key=?)" in plan, plan
        assert "(customer_id=? AND idempotency_scope>?)" in plan, plan
        assert "SCAN jobs" not in plan, plan


@pytest.mark.parametrize("filters", [Filters(created_after=2900), Filters(created_after=100, created_before=150)])
def test_a_page_of_a_time_reads_the_numbers_of_that_time(database: Database, engine: str, filters: Filters) -> None:
    """From the index alone; and the page nothing before the first of them, or after the last."""
    with database.read() as connection:
        numbers = explained(connection, span("acme", filters))
        first, last = tuple(connection.execute(span("acme", filters)).one())
        plan = explained(connection, listing("acme", filters, limit=LIMIT, first=first, last=last))

    if engine == POSTGRESQL:
        assert "jobs_by_time" in numbers, numbers
        assert max(rows_removed([json.loads(numbers), json.loads(plan)])) <= LIMIT, plan
        assert "Seq Scan" not in numbers + plan
    else:
        assert "COVERING INDEX jobs_by_time (customer_id=? AND created_at>?" in numbers, numbers
        assert "jobs_by_customer (customer_id=? AND seq>? AND seq<?)" in plan, plan
        assert "TEMP B-TREE" not in plan, plan


def rows_removed(part: Any) -> Iterator[int]:
    """Find how many rows each step of a plan read for nothing."""
    yield 0
    if isinstance(part, dict):
        yield part.get("Rows Removed by Filter", 0)
        for inner in part.values():
            yield from rows_removed(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from rows_removed(inner)


@pytest.mark.parametrize("statuses", [LIVE, (JobStatus.FAILED, JobStatus.FAILED), tuple(JobStatus), ()])
def test_pages_of_statuses_are_those_of_all_jobs_filtered(database: Database, statuses: tuple[JobStatus, ...]) -> None:
    """In the same order, page after page, each job once."""
    names = {status.value for status in statuses or JobStatus}
    with database.read() as connection:
        query = select(jobs.c.seq, jobs.c.status).where(jobs.c.customer_id == "acme").order_by(jobs.c.seq.desc())
        expected = [found.seq for found in connection.execute(query) if found.status in names]
        seen: list[int] = []
        while page := connection.execute(
            listing("acme", Filters(statuses), limit=700, last=seen[-1] - 1 if seen else None)
        ).all():
            seen += [found.seq for found in page]

    assert seen == expected
