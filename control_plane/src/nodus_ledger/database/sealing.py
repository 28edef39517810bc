"""Seals secrets that must be usable later: AES-256-GCM under one key, which is kept apart from the database.

The key is `NODUS_KEY_ENCRYPTION_KEY` (32 bytes in base64 or hex, or `file:PATH` of a file with these). Without it, a
SQLite file gets a key file beside it, `<db>.key`, and a database in memory a key that ends with the process. With
PostgreSQL nothing starts without it: if each process made a key for itself, it could not open what another sealed.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import select

from .database import Database
from .private_files import give_to_owner, keep_private
from .schema import settings
from .url_files import UnreadableFile, text_of

KEY_VARIABLE = "NODUS_KEY_ENCRYPTION_KEY"
KEY_PROOF = "sealing key proof"
"""The setting that proves which key a database is sealed with; it is written first."""

KEY_BYTES = 32

_VERSION = b"\x01"
_NONCE_BYTES = 12


class UnusableKey(Exception):
    """The sealing key is missing, malformed, or not the one that sealed this."""


class Sealer:
    """Seals and opens secrets, under a subkey of one key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise UnusableKey(f"the key must have {KEY_BYTES} bytes")
        self._cipher = AESGCM(_subkey(key, b"nodus sealing v1"))
        self._key = key

    def seal(self, secret: bytes, context: str) -> bytes:
        """Encrypt a secret, bound to the row that it belongs to: it cannot be opened under another context."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Decrypt what `seal` made.

        Raises:
            UnusableKey: it was sealed under another key or context, or altered.
        """
        nonce = sealed[1 : 1 + _NONCE_BYTES]
        try:
            if sealed[:1] != _VERSION:
                raise InvalidTag
            return self._cipher.decrypt(nonce, sealed[1 + _NONCE_BYTES :], context.encode())
        except (InvalidTag, ValueError):
            raise UnusableKey(f"what the database holds was sealed under another key than {KEY_VARIABLE}") from None

    def derived_fingerprint_key(self) -> bytes:
        """Return the key of fingerprints from before they had one of their own; see `fingerprints`."""
        return _subkey(self._key, b"nodus fingerprint v1")

    def __repr__(self) -> str:
        return "Sealer(…)"


def sealer_for(database: Database, environment: str | None = None) -> Sealer:
    """Return the sealer of a database: under the environment's key, else the key file's, else a new one for memory.

    Args:
        database: where what is sealed is kept; beside a file there may be a key file.
        environment: the value of `NODUS_KEY_ENCRYPTION_KEY`; None or empty where it is not set.

    Raises:
        UnusableKey: the key is malformed, its file is unreadable or lost, or it is missing with a database server.
    """
    if environment:
        return Sealer(key_of_setting(environment, KEY_VARIABLE))
    if database.is_server:
        raise UnusableKey(
            f"a database on PostgreSQL needs a key that is not in it: set {KEY_VARIABLE} to {KEY_BYTES} random bytes "
            "in base64 or hex (openssl rand -base64 32), the same for every process that uses the database"
        )
    if database.path is None:
        return Sealer(secrets.token_bytes(KEY_BYTES))
    path = database.path.with_name(database.path.name + ".key")
    # In this order: of two processes on a new database, one makes the file before the other can see the proof.
    if _holds_what_was_sealed(database) and not path.exists():
        # A new key could open nothing, and would occupy the place of the right one.
        raise UnusableKey(
            f"the key file {path.name} is missing, but the database holds secrets sealed with it: put it back, "
            f"or set {KEY_VARIABLE}"
        )
    return Sealer(_key_file(path))


def _holds_what_was_sealed(database: Database) -> bool:
    with database.read() as connection:
        return connection.execute(select(settings.c.value).where(settings.c.name == KEY_PROOF)).first() is not None


def _key_file(path: Path) -> bytes:
    """Read the key file; create it, readable by its owner only, if there is none. Of two processes, one creates it."""
    key = secrets.token_bytes(KEY_BYTES)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        if not path.exists():
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                give_to_owner(descriptor)
                file.write(base64.b64encode(key) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                # Linked whole, never seen half-written; fails where another process was first.
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        keep_private(path)
        return decode_key(path.read_text(encoding="ascii"), str(path.name))
    except (OSError, UnicodeDecodeError) as exc:
        raise UnusableKey(f"cannot use the key file {path.name}: {exc}") from exc


def key_of_setting(given: str, variable: str) -> bytes:
    """Return the key that a variable holds, or the file that it names as `file:PATH`.

    Raises:
        UnusableKey: it is malformed, or there is no such file.
    """
    try:
        text = text_of(given, f"{KEY_BYTES} bytes in base64 or hex")
    except UnreadableFile as exc:
        raise UnusableKey(f"cannot read {variable}: {exc}") from exc
    return decode_key(text, variable)


def decode_key(text: str, source: str) -> bytes:
    text = text.strip()
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return bytes.fromhex(text)
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise UnusableKey(f"{source} must hold {KEY_BYTES} bytes in base64 or hex")
    return key


def _subkey(key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=purpose).derive(key)
