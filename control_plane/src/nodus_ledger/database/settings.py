"""Small facts stored in a database: its clock's offset, a proof of its sealing key, and its names."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, bindparam, delete, select, text

from . import schema
from .database import Database
from .sealing import KEY_PROOF, Sealer, UnusableKey

_CLOCK_OFFSET = "clock offset ms"
_DATABASE_ID = "database id"
_EPOCH = "epoch"
_ENGINE = "engine of "
_INCARNATION = "incarnation"
RECORDS_SECRET = "secret of process records"
"""The setting that holds, sealed, what the records of running processes are authenticated with."""

_GET = select(schema.settings.c.value).where(schema.settings.c.name == bindparam("name"))
_PUT_FIRST = text("INSERT INTO settings (name, value) VALUES (:name, :value) ON CONFLICT DO NOTHING")
_REPLACE = text(
    "INSERT INTO settings (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)


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

    def recorded_engine(self, supplier: str) -> str | None:
        """Return the identity that is on record of a supplier's engine; None before it has been reached."""
        return self._get(_ENGINE + supplier)

    def engine_of(self, supplier: str, identity: str) -> str:
        """Return the identity of a supplier's engine; the first that is given for it is that for ever."""
        return self._get(_ENGINE + supplier) or self.put(_ENGINE + supplier, identity, replace=False)

    def incarnation(self) -> str:
        """Return the name of the database's present life, which engines know its jobs by beside its own name."""
        return self._get(_INCARNATION) or self.put(_INCARNATION, secrets.token_hex(8), replace=False)

    def epoch(self) -> str:
        """Return the name of the current history, which changes with every reset."""
        return self._get(_EPOCH) or self.put(_EPOCH, secrets.token_hex(8), replace=False)

    def begin_epoch(self) -> None:
        """Give the history that begins now a name of its own."""
        self.put(_EPOCH, secrets.token_hex(8))

    def _get(self, name: str) -> str | None:
        with self._database.read() as connection:
            return get(connection, name)

    def put(self, name: str, value: str, *, replace: bool = True) -> str:
        """Store a value, or keep the one that is there (`replace=False`); return what is stored afterwards."""
        with self._database.write() as connection:
            return put(connection, name, value, replace=replace)


def forget_engine(connection: Connection, supplier: str) -> None:
    """Forget the identity of a supplier's engine, inside the caller's transaction."""
    connection.execute(delete(schema.settings).where(schema.settings.c.name == _ENGINE + supplier))


def begin_incarnation(connection: Connection) -> None:
    """Give the database's life after a restore a name of its own, inside the caller's transaction.

    What engines still hold from before is not this life's any more, and is left to the operator.
    """
    put(connection, _INCARNATION, secrets.token_hex(8))


def get(connection: Connection, name: str) -> str | None:
    """Read a value, inside the caller's transaction; None if there is none."""
    stored: str | None = connection.execute(_GET, {"name": name}).scalar()
    return stored


def put(connection: Connection, name: str, value: str, *, replace: bool = True) -> str:
    """Store a value, or keep the one that is there (`replace=False`); return what is stored afterwards."""
    connection.execute(_REPLACE if replace else _PUT_FIRST, {"name": name, "value": value})
    stored: str = connection.execute(_GET, {"name": name}).scalar_one()
    return stored
