"""How what is due is found: by indexes, however much one endpoint has waiting, and however much was delivered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane


@pytest.fixture
def control_plane() -> Iterator[ControlPlane]:
    """A control plane that does nothing by itself."""
    opened = ControlPlane(clock=ManualClock())
    yield opened
    opened.close()


def plans_of(control_plane: ControlPlane, statements: list[str]) -> list[str]:
    """Return the steps of SQLite's plans for these statements."""
    with control_plane.database.read() as connection:
        return [
            str(step[3])
            for statement in statements
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")
        ]


def test_nothing_is_found_by_reading_a_whole_table(control_plane: ControlPlane) -> None:
    """Not what is due, nor when something will be, nor what an agent sees of the ledger."""
    statements: list[str] = []
    with closing(control_plane.database._engine.raw_connection()) as only_one:
        driver: Any = only_one.driver_connection
    # As SQLite runs them, with their parameters: not all of them go through SQLAlchemy.
    driver.set_trace_callback(statements.append)
    deliveries = control_plane.webhooks.deliveries
    deliveries.due(now=1, real_now=1)
    deliveries.next_after(1)
    deliveries.claim("me", now=1, real_now=1, lease_ms=1, shares={"wh_1": 4})
    control_plane.trust_ledger.entries("acme", job_id=None, after=0, limit=10, key_id="key")
    driver.set_trace_callback(None)

    queries = [statement for statement in statements if statement.startswith(("SELECT", "WITH"))]
    steps = plans_of(control_plane, queries)
    scans = [step for step in steps if step.startswith("SCAN") and step != "SCAN pending"]
    sorts = [step for step in steps if "TEMP B-TREE" in step]
    assert len(queries) == 5
    assert scans == sorts == []
    assert any("webhook_deliveries_pending" in step for step in steps)
    assert any("ledger_by_key" in step for step in steps)
