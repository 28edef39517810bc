"""Small facts stored in a database: its clock's offset, a proof of its sealing key, and its names."""

from __future__ import annotations

import json
import secrets

from sqlalchemy import Connection, bindparam, delete, func, select, text, update

from nodus_core.times import milliseconds

from . import key_entries, ledger_origin, schema, trust_ledger, trust_schema, webhook_schema
from .admission import forget_sole_customer
from .database import Database
from .sealing import KEY_PROOF, Sealer, UnusableKey

_CLOCK_OFFSET = "clock offset ms"
_DATABASE_ID = "database id"
_EPOCH = "epoch"
_ACCEPTED_CLOCK = "accepted clock"
RECORDS_SECRET = "secret of process records"
"""The setting that holds, sealed, what the records of running processes are authenticated with."""

_GET = select(schema.settings.c.value).where(schema.settings.c.name == bindparam("name"))
_PUT_FIRST = text("INSERT INTO settings (name, value) VALUES (:name, :value) ON CONFLICT DO NOTHING")
_REPLACE = text(
    "INSERT INTO settings (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)

_LAST_ROWS = select(func.max(trust_schema.ledger.c.at)).where(
    trust_schema.ledger.c.customer_id == trust_schema.heads.c.customer_id,
    trust_schema.ledger.c.seq == trust_schema.newest_size(trust_schema.heads.c.customer_id),
)

CLOCK_ACCEPTED = "operator.clock_accepted"


class Settings:
    """What a control plane finds again when it starts on the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def require_key(self, sealer: Sealer) -> None:
        """Check that this key is the one that the database was created with; a new database remembers it.

        Raises:
            UnusableKey: it is another.
        """
        proof = self._get(KEY_PROOF)
        if proof is None:
            # Of two processes that start on a new database, one is first; the other is held to what that one put.
            proof = self.put(KEY_PROOF, sealer.seal(b"proof", KEY_PROOF).hex(), replace=False)
        if sealer.open(bytes.fromhex(proof), KEY_PROOF) != b"proof":
            raise UnusableKey("the proof of the sealing key is damaged")

    def secret(self, sealer: Sealer, name: str) -> bytes:
        """Return a secret of this database's own, which every process that opens it shares; made at first use."""
        sealed = self._get(name) or self.put(name, sealer.seal(secrets.token_bytes(32), name).hex(), replace=False)
        return sealer.open(bytes.fromhex(sealed), name)

    def clock_offset_ms(self) -> int:
        """Return how far the clock was ahead of real time when it was last stored."""
        return int(self._get(_CLOCK_OFFSET) or 0)

    def store_clock_offset_ms(self, offset: int) -> None:
        """Remember how far the clock is ahead of real time."""
        self.put(_CLOCK_OFFSET, str(offset))

    def database_id(self) -> str:
        """Return the database's own name, whatever address it is reached under."""
        return self._get(_DATABASE_ID) or self.put(_DATABASE_ID, secrets.token_hex(8), replace=False)

    def epoch(self) -> str:
        """Return the name of the current history, which changes with every reset."""
        return self._get(_EPOCH) or self.put(_EPOCH, secrets.token_hex(8), replace=False)

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
            connection.execute(_REPLACE, {"name": _ACCEPTED_CLOCK, "value": stored})
            payload = {"process": process, "newest_row_at": newest, "host_ahead_ms": difference_ms}
            trust_ledger.append(connection, trust_ledger.OPERATOR, kind=CLOCK_ACCEPTED, at=now, payload=payload)

    def reset(self) -> None:
        """Remove everything but the keys, whose budgets start over."""
        self.put(_EPOCH, secrets.token_hex(8))
        with self._database.write() as connection:
            for table in (schema.jobs, schema.attempts, schema.events, schema.outages, schema.monthly_spend):
                connection.execute(delete(table))
            connection.execute(update(schema.reservations).values(in_flight=0))
            forget_sole_customer(connection)
            trust_schema.empty(connection)
            ledger_origin.rename_emptied(connection)
            webhook_schema.empty(connection)
            key_entries.record_all_again(connection)

    def _get(self, name: str) -> str | None:
        with self._database.read() as connection:
            return connection.execute(_GET, {"name": name}).scalar()

    def put(self, name: str, value: str, *, replace: bool = True) -> str:
        """Store a value, or keep the one that is there (`replace=False`); return what is stored afterwards."""
        with self._database.write() as connection:
            connection.execute(_REPLACE if replace else _PUT_FIRST, {"name": name, "value": value})
            stored: str = connection.execute(_GET, {"name": name}).scalar_one()
            return stored


def _accepted(connection: Connection) -> tuple[int, int]:
    """Return what an operator accepted last: events up to this id, and rows up to this time, no longer count."""
    stored = connection.execute(_GET, {"name": _ACCEPTED_CLOCK}).scalar()
    if stored is None:
        return 0, 0
    last_id, until = json.loads(stored)
    return last_id, until


def _latest_event(connection: Connection, after: int) -> int | None:
    recent = select(schema.events.c.at).where(schema.events.c.id > after).order_by(schema.events.c.id.desc())
    last = recent.limit(256).subquery()
    return connection.execute(select(func.max(last.c.at))).scalar()
