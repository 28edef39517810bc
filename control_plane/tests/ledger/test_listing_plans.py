"""What is asked at every tick reads as many rows as it returns, however many jobs there were before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from job_rows import LIVE, row
from servers.engines import POSTGRESQL
from sqlalchemy import Connection, insert, select

from nodus_core.lifecycle import JobStatus
from nodus_ledger.database.database import Database
from nodus_ledger.database.schema import jobs
from nodus_ledger.jobs.jobs import listing

ENDED = 3000
LIMIT = 201

pytestmark = pytest.mark.both_engines


def name_of(number: int) -> str | None:
    """One name is that of a few jobs, another that of a third."""
    return "rare" if number % 500 == 0 else "frequent" if number % 3 == 1 else None


@pytest.fixture
def database(kept_database_url: str) -> Iterator[Database]:
    """A database with many ended jobs of two customers, and a few that live among them."""
    opened = Database(kept_database_url)
    with opened.write() as connection:
        connection.execute(insert(jobs), [{**row(number), "name": name_of(number)} for number in range(ENDED)])
    with opened._engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
    yield opened
    opened.close()


def plan_of(connection: Connection, statuses: tuple[JobStatus, ...], after: int | None, name: str | None = None) -> str:
    """Explain the query of a page, in the words of the engine."""
    dialect = connection.dialect
    matching = {} if name is None else {"name": name}
    query = listing("acme", limit=LIMIT, after=after, statuses=statuses, matching=matching)
    said = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
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
            listing("acme", limit=700, after=seen[-1] if seen else None, statuses=statuses)
        ).all():
            seen += [found.seq for found in page]

    assert seen == expected
