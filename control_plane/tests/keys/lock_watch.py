"""Looks at a database of PostgreSQL from outside: how many transactions there were, and who waited for locks."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import TracebackType

from patience import eventually
from servers.engines import open_bare
from sqlalchemy import text
from typing_extensions import Self

_LOOK_SECONDS = 0.05
_COUNTS = text("SELECT xact_commit, xact_rollback, deadlocks FROM pg_stat_database WHERE datname = current_database()")
_WAITING = text(
    "SELECT count(*), coalesce(extract(epoch FROM max(clock_timestamp() - waitstart)), 0) FROM pg_locks "
    "WHERE NOT granted"
)
_OTHERS = text(
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


@dataclass
class Counts:
    """What a database has seen while it was watched.

    Attributes:
        commits: transactions that were committed, and `rollbacks` those that were not.
        deadlocks: how many circles of locks it had to break.
        looks: how often it was looked whether somebody waits for a lock.
        waits: how often somebody did, and `longest_seconds` the longest wait that was seen.
    """

    commits: int = 0
    rollbacks: int = 0
    deadlocks: int = 0
    looks: int = 0
    waits: int = 0
    longest_seconds: float = 0.0


class LockWatch:
    """Watches a database, inside `with`; afterwards `counts` is whole, once nobody else is connected any more."""

    def __init__(self, database_url: str) -> None:
        self.counts = Counts()
        self._engine = open_bare(database_url)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._before = self._read()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        try:
            if exc is None:
                # A session tells what it counted at its end at the latest.
                eventually(lambda: self._others() == 0, lambda: "somebody is still connected")
                after = self._read()
                self.counts.commits, self.counts.rollbacks, self.counts.deadlocks = (
                    now - then for now, then in zip(after, self._before, strict=True)
                )
        finally:
            self._engine.dispose()

    def _look(self) -> None:
        with self._engine.connect() as connection:
            while not self._over.wait(_LOOK_SECONDS):
                waiting, seconds = connection.execute(_WAITING).one()
                self.counts.looks += 1
                self.counts.waits += waiting > 0
                self.counts.longest_seconds = max(self.counts.longest_seconds, float(seconds))

    def _read(self) -> tuple[int, int, int]:
        with self._engine.connect() as connection:
            commits, rollbacks, deadlocks = connection.execute(_COUNTS).one()
        return commits, rollbacks, deadlocks

    def _others(self) -> int:
        self._engine.dispose()
        with self._engine.connect() as connection:
            return int(connection.execute(_OTHERS).scalar_one())
