"""Which suppliers are out."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from ..database.database import Database
from ..database.prepared import Prepared
from ..database.schema import jobs, outages

_SUPPLIERS = Prepared(select(outages.c.supplier))


def outages_now(connection: Connection) -> frozenset[str]:
    """Read the names of the suppliers that are out, inside a transaction."""
    return frozenset(row[0] for row in _SUPPLIERS.all(connection, {}))


class Outages:
    """Switches suppliers off and on."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def names(self) -> frozenset[str]:
        """Return the names of the suppliers that are out."""
        with self._database.read() as connection:
            return outages_now(connection)

    def set(self, supplier: str, *, on: bool, now: int) -> None:
        """Begin or end an outage. Jobs that are there fall due at once, to be found lost."""
        with self._database.write() as connection:
            self._database.lock_name(connection, "outages")
            is_out = supplier in outages_now(connection)
            if on and not is_out:
                connection.execute(insert(outages).values(supplier=supplier, since=now))
                hit = (jobs.c.supplier == supplier, jobs.c.due_at.is_not(None))
                connection.execute(select(jobs.c.seq).where(*hit).order_by(jobs.c.seq).with_for_update())
                connection.execute(update(jobs).where(*hit).values(due_at=now))
            elif is_out and not on:
                connection.execute(delete(outages).where(outages.c.supplier == supplier))
