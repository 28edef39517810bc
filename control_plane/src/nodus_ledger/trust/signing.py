"""The Ed25519 key that signs checkpoints, of each log under the log's own name.

The private key is `NODUS_LEDGER_SIGNING_KEY` (its 32 bytes in base64 or hex, or `file:PATH` of a file with these), else
one that is made once and kept sealed in the database. The public key is in the database either way: clients pin it, so
it never changes.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Connection, bindparam, select, text

from nodus_core import notes
from nodus_core.notes import Checkpoint, VerifierKey

from ..database.database import Database
from ..database.schema import settings
from ..database.sealing import Sealer, UnusableKey, key_of_setting

SIGNING_KEY_VARIABLE = "NODUS_LEDGER_SIGNING_KEY"
SEED_BYTES = 32

_PRIVATE = "ledger signing key"
_PUBLIC = "ledger public key"
_GET = select(settings.c.value).where(settings.c.name == bindparam("of_name"))
# Of two processes that start on a new database, one is first; the other takes what it finds.
_PUT_FIRST = text("INSERT INTO settings (name, value) VALUES (:of_name, :value) ON CONFLICT DO NOTHING")


@dataclass(frozen=True, slots=True)
class LedgerSigner:
    """Signs checkpoints of any customer's log."""

    public_key: bytes
    _private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> LedgerSigner:
        """Make the signer of a private key, given by its 32 bytes."""
        private = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(private.public_key().public_bytes_raw(), private)

    def note(self, checkpoint: Checkpoint) -> str:
        """Return a checkpoint as a signed note, under its origin as the key's name."""
        key = VerifierKey(checkpoint.origin, self.public_key)
        return notes.sign_note(notes.encode_checkpoint(checkpoint), key, self._private.sign)


def open_checkpoint(note: str, origin: str, public_key: bytes) -> Checkpoint:
    """Read the signed checkpoint of the log that has this name.

    Raises:
        ValueError: it is malformed, of another log, or not signed with this key.
    """
    key = VerifierKey(origin, public_key)
    checkpoint = notes.decode_checkpoint(notes.open_note(note, key, _verifier(public_key)))
    if checkpoint.origin != key.name:
        raise ValueError("the checkpoint is of another log")
    return checkpoint


def signer_for(database: Database, sealer: Sealer, environment: str | None = None) -> LedgerSigner:
    """Return the signer of a database; a new database stores the public key, and the private one if it was made here.

    Args:
        database: where the keys are kept.
        sealer: what a private key that was made here is sealed with.
        environment: the value of `NODUS_LEDGER_SIGNING_KEY`; None or empty where it is not set.

    Raises:
        UnusableKey: the key is malformed, sealed under another key, or not the one that this database began with.
    """
    with database.write() as connection:
        seed = key_of_setting(environment, SIGNING_KEY_VARIABLE) if environment else _kept_seed(connection, sealer)
        signer = LedgerSigner.from_seed(seed)
        connection.execute(_PUT_FIRST, {"of_name": _PUBLIC, "value": signer.public_key.hex()})
        if public_key(connection) != signer.public_key:
            raise UnusableKey(
                f"the ledger's checkpoints are signed with another key: set {SIGNING_KEY_VARIABLE} to that one"
            )
    return signer


def public_key(connection: Connection) -> bytes | None:
    """Read the public key that checkpoints are signed with; None where none was ever needed, or it is damaged."""
    kept = connection.execute(_GET, {"of_name": _PUBLIC}).scalar()
    try:
        return None if kept is None else bytes.fromhex(kept)
    except (TypeError, ValueError):
        return None


def _kept_seed(connection: Connection, sealer: Sealer) -> bytes:
    kept = connection.execute(_GET, {"of_name": _PRIVATE}).scalar()
    if kept is None:
        if public_key(connection) is not None:
            raise UnusableKey(f"the ledger's signing key is not in the database: set {SIGNING_KEY_VARIABLE}")
        sealed = sealer.seal(secrets.token_bytes(SEED_BYTES), _PRIVATE)
        connection.execute(_PUT_FIRST, {"of_name": _PRIVATE, "value": sealed.hex()})
        kept = connection.execute(_GET, {"of_name": _PRIVATE}).scalar_one()
    return sealer.open(bytes.fromhex(kept), _PRIVATE)


def _verifier(public: bytes) -> notes.Verify:
    def verify(message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    return verify
