"""What is written again and again is found as fast beside a snapshot, which keeps all of its former versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from servers.engines import POSTGRESQL
from sqlalchemy import text

from nodus_control.control_plane import ControlPlane
from nodus_core.months import month_at
from nodus_core.spec import JobSpec
from nodus_ledger.database.database import Database
from nodus_ledger.jobs.event_log import EventLog
from nodus_ledger.keys import budgets
from nodus_ledger.keys.keys import PrincipalKind
from nodus_ledger.trust.log import append, head_of
from nodus_ledger.trust.row_times import RowTimes

TIMES = 500
MEASURED = 20
PAGES_MORE = 10
"""So many more may be read each time: an index grows a level, and every statement enters it, some of them twice."""

NOW = 1_767_225_600_000

pytestmark = pytest.mark.parametrize("engine", [POSTGRESQL], indirect=True)

_READ = text(
    "SELECT relname, heap_blks_read + heap_blks_hit + COALESCE(idx_blks_read + idx_blks_hit, 0) "
    "FROM pg_statio_user_tables"
)


@pytest.fixture
def database(kept_database_url: str) -> Iterator[Database]:
    """A database on PostgreSQL."""
    opened = Database(kept_database_url)
    yield opened
    opened.close()


def pages_read(database: Database) -> dict[str, int]:
    """Return how many pages of each table and its indexes have been read so far."""
    with database.read() as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
    with database.read() as connection:
        return {name: int(pages) for name, pages in connection.execute(_READ)}


def cost_of(database: Database, act: Callable[[], object]) -> dict[str, float]:
    """Return how many pages of each table are read at a time."""
    before = pages_read(database)
    for _ in range(MEASURED):
        act()
    after = pages_read(database)
    return {name: (after[name] - before[name]) / MEASURED for name in after}


@contextmanager
def open_snapshot(url: str) -> Iterator[None]:
    """Keep what is there now from being removed, as a long report or a dump does."""
    database = Database(url)
    with database.snapshot() as connection:
        # However long the machine takes for what is done meanwhile.
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(text("SELECT COUNT(*) FROM settings"))
        yield
    database.close()


def growth(url: str, database: Database, act: Callable[[], object], change: Callable[[], object]) -> dict[str, float]:
    """Return how many more pages of each table `act` reads after many a `change` beside an open snapshot."""
    for _ in range(MEASURED):
        change()
        act()
    with database._engine.connect() as connection:
        # As it comes by itself, in time: plans are then made for tables of one page.
        connection.exec_driver_sql("VACUUM (ANALYZE)")
    for _ in range(MEASURED):
        act()
    before = cost_of(database, act)
    with open_snapshot(url):
        for _ in range(TIMES):
            change()
        after = cost_of(database, act)
    return {name: after[name] - before[name] for name in after if after[name] > before[name] + PAGES_MORE}


def append_one(database: Database) -> None:
    """Append to a log, as every step of a job does."""
    with database.write() as connection:
        append(connection, "acme", kind="test.happened", at=NOW, payload={})


def read_head(database: Database) -> None:
    """Read how far a log has got."""
    with database.read() as connection:
        head_of(connection, "acme")
        connection.execute(text("SELECT * FROM ledger_heads WHERE customer_id = 'acme'")).all()


LEDGER_READERS: dict[str, Callable[[Database], object]] = {
    "append": append_one,
    "head": read_head,
    "several heads": lambda database: EventLog(database).heads(["acme", "globex"]),
    "newest row": lambda database: RowTimes(database).newest_row_ms(),
}


@pytest.mark.parametrize("reader", LEDGER_READERS)
def test_a_log_that_grows_is_found_as_fast(kept_database_url: str, database: Database, reader: str) -> None:
    """However many rows were appended while a snapshot was open."""
    act = LEDGER_READERS[reader]

    assert growth(kept_database_url, database, lambda: act(database), lambda: append_one(database)) == {}


@pytest.fixture
def control_plane(kept_database_url: str) -> Iterator[ControlPlane]:
    """A control plane on that database."""
    opened = ControlPlane(kept_database_url, seed=None, is_alone=False)
    yield opened
    opened.close()


@pytest.mark.parametrize("cap", [None, 10**12], ids=["uncapped", "capped"])
def test_a_submission_costs_the_same(kept_database_url: str, control_plane: ControlPlane, cap: int | None) -> None:
    """To find the key, to reserve, to settle, and to read the month, however many came before."""
    minted = control_plane.keys.mint(
        customer_id="acme", label="", principal_kind=PrincipalKind.SERVICE, now=NOW, is_test=True, monthly_cap=cap
    )
    spec = JobSpec(image="x", gpu="a10g", gpu_count=1, max_runtime_seconds=60)

    def submit() -> None:
        key = control_plane.keys.find(minted.api_key)
        assert key is not None
        job = control_plane.jobs.submit(key, spec, None, NOW).job
        with control_plane.database.write() as connection:
            budgets.settle(connection, {key.id: job.reserved}, {(key.id, month_at(NOW).name): 1})
        control_plane.keys.budget(key.id, NOW)

    assert growth(kept_database_url, control_plane.database, submit, submit) == {}
    assert control_plane.keys.budget(minted.id, NOW).realised == 5 * MEASURED + TIMES
