"""Whether a control plane can do what it is asked, as load balancers and alerts ask it."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from nodus_control.control_plane import ControlPlane
from nodus_control.readiness import KEPT_SECONDS, Readiness, is_ready, worker_check
from nodus_control.testing import LocalControlPlane
from nodus_ledger.database.database import Database
from nodus_ledger.database.redis_store import RedisStore
from nodus_ledger.errors import DatabaseUnavailable
from nodus_ledger.jobs.heartbeats import FORGOTTEN_AFTER_MS, Workers


def test_a_worker_is_there_for_half_a_minute_after_its_last_sign() -> None:
    """Then it is told for how long none has been seen."""
    assert worker_check(1_000_000, 1_029_999) == "ok"
    assert worker_check(1_000_000, 1_042_000) == "none seen for 42 s"
    assert worker_check(None, 1_042_000) == "none seen yet"


def test_a_missing_worker_makes_nothing_unready() -> None:
    """What requests need does."""
    assert is_ready({"database": "ok", "worker": "none seen for 42 s"})
    assert is_ready({"database": "ok", "redis": "ok", "worker": "ok"})
    assert not is_ready({"database": "unavailable", "worker": "ok"})
    assert not is_ready({"database": "ok", "redis": "unavailable", "worker": "ok"})


@pytest.mark.both_engines
def test_signs_of_life_are_kept_for_a_day(kept_database_url: str) -> None:
    """The latest of any worker counts."""
    database = Database(kept_database_url)
    workers = Workers(database)
    before = workers.last_seen()
    workers.give_sign("a", host="here", version="1", real_now=1000)
    workers.give_sign("b", host="there", version="1", real_now=3000)
    workers.give_sign("a", host="here", version="1", real_now=2000)
    seen = workers.last_seen()
    workers.give_sign("a", host="here", version="1", real_now=3001 + FORGOTTEN_AFTER_MS)
    with database.read() as connection:
        left = connection.exec_driver_sql("SELECT id, started_at FROM workers").all()
    database.close()

    assert (before, seen) == (None, 3000)
    assert [tuple(row) for row in left] == [("a", 1000)]


def test_the_database_is_asked_once_a_second() -> None:
    """However often anybody without a key asks."""
    asked: list[int] = []
    now = [100.0]

    class Counting(Workers):
        def last_seen(self) -> int | None:
            asked.append(1)
            if len(asked) == 2:
                raise DatabaseUnavailable("gone")
            return 5_000

    database = Database()
    readiness = Readiness(Counting(database), None, real_time=lambda: 6.0, clock=lambda: now[0])
    first = [readiness.check() for _ in range(50)]
    now[0] += KEPT_SECONDS
    second = readiness.check()
    database.close()

    assert len(asked) == 2
    assert first == [{"database": "ok", "worker": "ok"}] * 50
    assert second == {"database": "unavailable", "worker": "unknown"}


@pytest.mark.anyio
async def test_it_needs_no_key(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says how a worker is, once one has done something."""
    del client.headers["authorization"]
    # Whatever passes in between: the sign is ten seconds older than this at most.
    began = time.time()
    monkeypatch.setattr(control_plane.plane.readiness, "_real_time", lambda: began)
    control_plane.advance(1)
    answer = await client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "checks": {"database": "ok", "worker": "ok"}}
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.anyio
async def test_a_database_that_does_not_answer_is_said(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 503, and without what the database said; the process lives all the same."""

    def refuse() -> Any:
        raise DatabaseUnavailable("password authentication failed for user nodus")

    monkeypatch.setattr(control_plane.plane.readiness._workers, "last_seen", refuse)
    answer = await client.get("/readyz")
    lives = await client.get("/healthz")

    assert (answer.status_code, lives.status_code) == (503, 200)
    assert answer.json() == {"status": "unavailable", "checks": {"database": "unavailable", "worker": "unknown"}}


def test_redis_is_asked_where_there_is_one(redis_url: str) -> None:
    """One that does not answer makes the process unready."""
    answering, silent = RedisStore(redis_url), RedisStore("redis://127.0.0.1:1/0")
    control_plane = ControlPlane(redis=answering)
    ready = control_plane.readiness.check()
    unready = Readiness(Workers(control_plane.database), silent).check()
    control_plane.close()
    silent.close()

    assert ready["redis"] == "ok"
    assert unready["redis"] == "unavailable"
