"""Workers pass over what was due long ago only now and then, and miss nothing for it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from job_rows import row
from servers.engines import POSTGRESQL
from sqlalchemy import insert, select, update

from nodus_core.catalogue import default_catalogue
from nodus_core.ceilings import reservation_micros
from nodus_ledger.database.database import Database
from nodus_ledger.database.schema import jobs
from nodus_ledger.jobs import leases as module
from nodus_ledger.jobs.leases import Claims

NOW = 1_000_000
CHEAPEST = min(offer.micros_per_gpu_hour for offer in default_catalogue().offers("h100_80gb"))
LIVE = [500, 1500, 2500]
"""The numbers of which `row` makes jobs that live."""


@pytest.fixture
def database(kept_database_url: str) -> Iterator[Database]:
    """A database with three queued jobs that fall due one after the other."""
    opened = Database(kept_database_url)
    with opened.write() as connection:
        for order, number in enumerate(LIVE):
            values = {**row(number), "status": "queued", "gpu": "h100_80gb"}
            # What it takes of its key: no key is needed for a placement that takes no more.
            values["reserved"] = reservation_micros(CHEAPEST, values["gpu_count"], values["max_runtime_seconds"])
            connection.execute(insert(jobs).values(**{**values, "due_at": NOW + 10_000 * order}))
    yield opened
    opened.close()


def claim(claims: Claims, now: int) -> int:
    """Claim what is due; return how many jobs that were."""
    return claims.claim("me", now=now, real_now=now, lease_ms=1, limit=64)[0]


@pytest.mark.both_engines
@pytest.mark.parametrize("sweep_seconds", [0.0, 1e9])
def test_everything_is_claimed_when_it_is_due(
    database: Database, monkeypatch: pytest.MonkeyPatch, sweep_seconds: float
) -> None:
    """With every claim a sweep, or none after the first; and the next is known throughout."""
    monkeypatch.setattr(module, "SWEEP_SECONDS", sweep_seconds)
    claims = Claims(database, default_catalogue())
    found = []
    for now in (NOW - 1, NOW, NOW + 10_000, NOW + 20_000):
        found.append((claim(claims, now), claims.next_due(now + 2)))
        with database.write() as connection:
            connection.execute(update(jobs).where(jobs.c.due_at <= now).values(due_at=None))

    assert [count for count, _ in found] == [0, 1, 1, 1]
    assert [due for _, due in found] == [NOW, NOW, NOW + 10_000, NOW + 20_000]
    assert claims.next_due(0) is None


@pytest.mark.both_engines
def test_what_fell_due_in_the_past_is_found_by_the_next_sweep(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process whose clock is behind makes a job due before the floor."""
    monkeypatch.setattr(module, "SWEEP_SECONDS", 1e9)
    claims = Claims(database, default_catalogue())
    with database.write() as connection:
        connection.execute(update(jobs).where(jobs.c.due_at == NOW).values(due_at=NOW + 5_000_000))
    before = claim(claims, NOW)
    with database.write() as connection:
        connection.execute(update(jobs).where(jobs.c.due_at > NOW + 100_000).values(due_at=NOW - 60_000))
    claim(claims, NOW)
    claims._next_sweep = 0.0
    claim(claims, NOW)
    with database.read() as connection:
        leased = connection.execute(select(jobs.c.id).where(jobs.c.lease_owner == "me")).scalars().all()

    assert before == 0
    assert leased == [f"{LIVE[0]:032}"]


@pytest.mark.parametrize("engine", [POSTGRESQL], indirect=True)
def test_between_sweeps_the_index_is_entered_at_the_floor(database: Database) -> None:
    """Not at its beginning, where all that was ever due may still stand."""
    said = []
    claims = Claims(database, default_catalogue())
    with database.write() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
        for query in (
            claims.due_query(NOW, NOW, 64, NOW - 1000),
            claims.first_due_query(NOW - 1000),
        ):
            text = str(query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
            said.append(json.dumps(connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {text}").scalar()))

    for plan in said:
        assert "jobs_due" in plan
        assert f"due_at >= {NOW - 1000}" in plan.partition("Index Cond")[2].partition("Filter")[0], plan
