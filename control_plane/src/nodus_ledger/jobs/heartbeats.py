"""Signs of life of workers: a row for each, so that others can tell whether any is there."""

from __future__ import annotations

from sqlalchemy import delete, func, select, text

from ..database.database import Database
from ..database.schema import workers

FORGOTTEN_AFTER_MS = 24 * 3_600_000
"""How long the row of a worker that has stopped stays."""

_SEEN = text(
    "INSERT INTO workers (id, host, version, started_at, seen_at) VALUES (:id, :host, :version, :now, :now) "
    "ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at"
)


class Workers:
    """The workers of a database. All times are real, in Unix milliseconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def give_sign(self, worker_id: str, *, host: str, version: str, real_now: int) -> None:
        """Note that a worker lives, and forget those of whom nothing was heard for a day."""
        with self._database.write() as connection:
            connection.execute(_SEEN, {"id": worker_id, "host": host, "version": version, "now": real_now})
            connection.execute(delete(workers).where(workers.c.seen_at < real_now - FORGOTTEN_AFTER_MS))

    def last_seen(self) -> int | None:
        """Return when any worker last gave a sign of life; None for never, as far as anybody remembers."""
        with self._database.read() as connection:
            return connection.execute(select(func.max(workers.c.seen_at))).scalar()
