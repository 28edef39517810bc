"""How far the clock had got when the newest rows were written, and which rows an operator no longer goes by."""

from __future__ import annotations

import json

from sqlalchemy import Connection, func, select

from nodus_core.times import milliseconds

from ..database import schema, trust_schema
from ..database.database import Database
from ..database.settings import get, put
from . import log

CLOCK_ACCEPTED = "operator.clock_accepted"

_ACCEPTED_CLOCK = "accepted clock"

_LAST_ROWS = select(func.max(trust_schema.ledger.c.at)).where(
    trust_schema.ledger.c.customer_id == trust_schema.heads.c.customer_id,
    trust_schema.ledger.c.seq == trust_schema.newest_size(trust_schema.heads.c.customer_id),
)


class RowTimes:
    """The times of what was written last, by whichever process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def latest_event_ms(self) -> int | None:
        """Return the latest time among the newest events; None if there are none since an operator accepted a clock."""
        with self._database.read() as connection:
            after, _ = _accepted(connection)
            return _latest_event(connection, after)

    def newest_row_ms(self) -> int | None:
        """Return the time of the newest row of the ledger, whoever's log it is in; None if there is none.

        What an operator has accepted as written by a wrong clock does not count.
        """
        with self._database.read() as connection:
            after, until = _accepted(connection)
            last = connection.execute(_LAST_ROWS).scalar()
            row = None if last is None else milliseconds(last)
            times = (_latest_event(connection, after), None if row is None or row <= until else row)
            return max((time for time in times if time is not None), default=None)

    def accept_clock(self, now: int, process: str, difference_ms: int) -> None:
        """Go by a clock that was refused: from here on, rows that are ahead of it no longer count.

        Recorded in the operator's own log.

        Args:
            now: what the clock says.
            process: which command an operator started with it.
            difference_ms: how far the host is from the database server's clock; 0 without one.
        """
        with self._database.write() as connection:
            newest = connection.execute(_LAST_ROWS).scalar()
            last_id = connection.execute(select(func.max(schema.events.c.id))).scalar() or 0
            until = now if newest is None else max(now, milliseconds(newest))
            stored = json.dumps([last_id, until])
            put(connection, _ACCEPTED_CLOCK, stored)
            payload = {"process": process, "newest_row_at": newest, "host_ahead_ms": difference_ms}
            log.append(connection, log.OPERATOR, kind=CLOCK_ACCEPTED, at=now, payload=payload)


def _accepted(connection: Connection) -> tuple[int, int]:
    """Return what an operator accepted last: events up to this id, and rows up to this time, no longer count."""
    stored = get(connection, _ACCEPTED_CLOCK)
    if stored is None:
        return 0, 0
    last_id, until = json.loads(stored)
    return last_id, until


def _latest_event(connection: Connection, after: int) -> int | None:
    recent = select(schema.events.c.at).where(schema.events.c.id > after).order_by(schema.events.c.id.desc())
    last = recent.limit(256).subquery()
    return connection.execute(select(func.max(last.c.at))).scalar()
