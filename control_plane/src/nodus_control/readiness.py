"""Whether a process can answer requests: whether the database and Redis answer it, and when a worker was last seen.

A process whose suppliers are not the accepted ones is not ready either.

A worker that is missing is told, and makes no API unready: requests are answered all the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from nodus_ledger.database.redis_store import RedisStore, RedisUnavailable
from nodus_ledger.errors import DatabaseUnavailable
from nodus_ledger.jobs.heartbeats import SILENT_AFTER_MS, Workers

OK = "ok"
WORKER_SECONDS = SILENT_AFTER_MS // 1000
"""How long no worker may have given a sign of life."""

KEPT_SECONDS = 1.0
"""How long an answer holds: whoever asks needs no key, and must not keep the database busy."""


def is_ready(checks: Mapping[str, str]) -> bool:
    """Say whether what requests need answers."""
    return all(said == OK for name, said in checks.items() if name != "worker")


def worker_check(last_seen: int | None, real_now: int) -> str:
    """Say when a worker was last seen; both in Unix milliseconds, `last_seen` None for never."""
    if last_seen is None:
        return "none seen yet"
    silence = (real_now - last_seen) // 1000
    return OK if silence < WORKER_SECONDS else f"none seen for {silence} s"


class Readiness:
    """Asks what a control plane needs, at most once a second.

    Args:
        workers: where they give signs of life; asking that asks the database.
        redis: None where none is used.
        more: what else to ask, by name; each gives `ok`, or says what is wrong, and asks nobody.
        real_time: gives Unix seconds.
        clock: gives seconds; from one moment to another is all that counts.
    """

    def __init__(
        self,
        workers: Workers,
        redis: RedisStore | None,
        more: Mapping[str, Callable[[], str]] | None = None,
        *,
        real_time: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = workers
        self._redis = redis
        self._more = more or {}
        self._real_time = real_time
        self._clock = clock
        self._lock = threading.Lock()
        self._checks: dict[str, str] = {}
        self._asked_at: float | None = None

    def check(self) -> dict[str, str]:
        """Return what each of them says: `ok`, or what is wrong. Blocks."""
        with self._lock:
            if self._asked_at is None or self._clock() - self._asked_at >= KEPT_SECONDS:
                self._checks = self._ask()
                self._asked_at = self._clock()
            return dict(self._checks)

    def _ask(self) -> dict[str, str]:
        checks: dict[str, str] = {}
        try:
            worker = worker_check(self._workers.last_seen(), int(self._real_time() * 1000))
            checks["database"] = OK
        except DatabaseUnavailable:
            # What exactly, the log says; whoever asks here has shown no key.
            worker = "unknown"
            checks["database"] = "unavailable"
        if self._redis is not None:
            checks["redis"] = self._ask_redis(self._redis)
        checks.update({name: check() for name, check in self._more.items()})
        checks["worker"] = worker
        return checks

    def _ask_redis(self, redis: RedisStore) -> str:
        try:
            redis.ping()
        except RedisUnavailable:
            return "unavailable"
        return OK
