"""What is asked of open attempts reads those alone, however many jobs there were before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from job_rows import row
from ledger.test_passes import plan_of
from servers.engines import POSTGRESQL
from sqlalchemy import Executable, insert

from nodus_ledger.database.database import Database
from nodus_ledger.database.schema import attempts, jobs
from nodus_ledger.jobs.accepted_suppliers import OPEN_ATTEMPTS
from nodus_ledger.jobs.pinning import OPEN_JOBS
from nodus_ledger.jobs.slots import WITHOUT_SLOTS

JOBS = 3000
OPEN_EVERY = 200

pytestmark = pytest.mark.both_engines


def attempt_of(number: int, *, is_open: bool) -> dict[str, Any]:
    """Make the one attempt of a job."""
    return {
        "job_id": row(number)["id"],
        "attempt": 1,
        "supplier": "lab",
        "region": "here",
        "rate": 1,
        "placed_at": 1,
        "outcome": None if is_open else "completed",
        "decision": "{}",
    }


@pytest.fixture
def database(kept_database_url: str) -> Iterator[Database]:
    """A database with many jobs that are over, and a few at a supplier."""
    opened = Database(kept_database_url)
    are_open = [number % OPEN_EVERY == 0 for number in range(JOBS)]
    with opened.write() as connection:
        rows = [{**row(number), "attempt": 1, "open_attempt": is_open} for number, is_open in enumerate(are_open)]
        connection.execute(insert(jobs), rows)
        connection.execute(
            insert(attempts), [attempt_of(number, is_open=is_open) for number, is_open in enumerate(are_open)]
        )
    with opened._engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
    yield opened
    opened.close()


QUERIES: dict[str, tuple[Executable, dict[str, Any]]] = {
    "before other suppliers are accepted": (OPEN_ATTEMPTS, {}),
    "before an engine is replaced": (OPEN_JOBS.where(attempts.c.supplier == "lab"), {}),
    "before GPUs are laid out": (WITHOUT_SLOTS, {"suppliers": ["lab"]}),
}


@pytest.mark.parametrize("query", QUERIES)
def test_they_are_found_by_their_own_index(database: Database, engine: str, query: str) -> None:
    """No table is scanned."""
    asked, values = QUERIES[query]
    with database.read() as connection:
        plan = plan_of(connection, asked, **values)

    assert "jobs_open" in plan, plan
    if engine == POSTGRESQL:
        assert plan.count('"Seq Scan"') <= plan.count('"Relation Name": "slots"'), plan
    else:
        assert "SCAN attempts" not in plan, plan
        assert "SCAN jobs USING INDEX jobs_open" in plan or "SEARCH jobs USING INDEX jobs_open" in plan, plan
