"""Fingerprints: they tell whether two things are equal, and nothing about what is in them.

They are HMACs under a key of their own, which is kept sealed in the database. A plain hash would not do: a short
command can be found from its hash by trying. The key does not change when the sealing key does, because what was
fingerprinted once must be recognised later. A database from before there was such a key keeps the one that was derived
from its sealing key until then, so that a retry of an earlier submission is still recognised.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select, text

from nodus_core.canonical_json import canonical_json

from .database import Database
from .schema import jobs, settings
from .sealing import KEY_BYTES, Sealer
from .webhook_schema import endpoints

_NAME = "fingerprint key"
_COMMAND = b"nodus command v1\0"

_GET = select(settings.c.value).where(settings.c.name == bindparam("of_name"))
# Of two processes that start on a new database, one is first; the other takes what it finds.
_PUT_FIRST = text("INSERT INTO settings (name, value) VALUES (:of_name, :value) ON CONFLICT DO NOTHING")


class Fingerprints:
    """Makes the fingerprints of one database."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, canonical: bytes) -> bytes:
        """Return the fingerprint of a canonical spec."""
        return hmac.digest(self._key, canonical, "sha256")

    def of_command(self, customer_id: str, command: Sequence[str] | None) -> str | None:
        """Return the fingerprint of a customer's command, in hexadecimal; None for the image's own command."""
        if command is None:
            return None
        # No spec begins like this, so that neither can pass for the other.
        return self.of(_COMMAND + canonical_json([customer_id, command]).encode()).hex()

    def __repr__(self) -> str:
        return "Fingerprints(…)"


def fingerprints_for(database: Database, sealer: Sealer) -> Fingerprints:
    """Return the fingerprints of a database whose sealing key was proved (`Settings.require_key`).

    Raises:
        UnusableKey: the key was sealed under another key.
    """
    with database.read() as connection:
        kept = _kept(connection)
    if kept is None:
        with database.write() as connection:
            sealed = sealer.seal(_first_key(connection, sealer), _NAME)
            connection.execute(_PUT_FIRST, {"of_name": _NAME, "value": sealed.hex()})
            kept = _kept(connection)
            assert kept is not None
    return Fingerprints(sealer.open(bytes.fromhex(kept), _NAME))


def _first_key(connection: Connection, sealer: Sealer) -> bytes:
    """Choose the key of a database that has none: what was fingerprinted before, with the derived one, stays known."""
    is_used = any(connection.execute(select(table.c.seq).limit(1)).first() is not None for table in (jobs, endpoints))
    return sealer.derived_fingerprint_key() if is_used else secrets.token_bytes(KEY_BYTES)


def _kept(connection: Connection) -> str | None:
    kept: str | None = connection.execute(_GET, {"of_name": _NAME}).scalar()
    return kept
