"""Signs of life of workers: a row for each, so that others can tell whether any is there, and whom they reach."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, delete, func, select, text

from ..database.database import Database
from ..database.schema import workers

FORGOTTEN_AFTER_MS = 24 * 3_600_000
"""How long the row of a worker that has stopped stays."""

SILENT_AFTER_MS = 30_000
"""How long a worker counts as being there after a sign of life; each gives one every ten seconds."""

_SEEN = text(
    "INSERT INTO workers (id, host, version, started_at, seen_at, unreachable) "
    "VALUES (:id, :host, :version, :now, :now, :unreachable) "
    "ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, unreachable = excluded.unreachable"
)
_THERE = select(workers.c.unreachable).where(workers.c.seen_at > bindparam("silent_since"))


class Workers:
    """The workers of a database. All times are real, in Unix milliseconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def give_sign(
        self, worker_id: str, *, host: str, version: str, real_now: int, unreachable: Collection[str] = ()
    ) -> None:
        """Note that a worker lives, and which suppliers it does not reach; forget those that were silent for a day."""
        row = {"id": worker_id, "host": host, "version": version, "now": real_now}
        with self._database.write() as connection:
            connection.execute(_SEEN, {**row, "unreachable": ",".join(sorted(unreachable))})
            connection.execute(delete(workers).where(workers.c.seen_at < real_now - FORGOTTEN_AFTER_MS))

    def last_seen(self) -> int | None:
        """Return when any worker last gave a sign of life; None for never, as far as anybody remembers."""
        with self._database.read() as connection:
            return connection.execute(select(func.max(workers.c.seen_at))).scalar()


def unreachable_now(connection: Connection, real_now: int) -> frozenset[str]:
    """Return the suppliers that no worker reaches: each that is there has said so. None where there is no worker."""
    said = connection.execute(_THERE, {"silent_since": real_now - SILENT_AFTER_MS}).scalars().all()
    each = [frozenset(names.split(",")) if names else frozenset() for names in said]
    return frozenset.intersection(*each) if each else frozenset()
