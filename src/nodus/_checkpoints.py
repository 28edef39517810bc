"""Signed checkpoints, in the text forms of C2SP (signed-note, tlog-checkpoint): read, and verified under a pinned key.

Ed25519 comes from the package cryptography, which is loaded only where there is a signature to verify.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ._errors import ConfigurationError, LedgerError, ValidationError

if TYPE_CHECKING:
    from ._resources import LedgerCheckpoint, LedgerKey

_ED25519 = b"\x01"
_PUBLIC_KEY_LENGTH = 32
_ROOT_LENGTH = 32
_VKEY = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)\Z")
_SIGNATURE = re.compile("\u2014 ([^\\s+]+) ([A-Za-z0-9+/]+=*)\\Z")
_SIZE = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z")


class PublicKey(NamedTuple):
    """A pinned key: its 32 bytes, and the log that it signs for, or None if only the bytes were pinned."""

    origin: str | None
    public_key: bytes


class Checkpoint(NamedTuple):
    """What a checkpoint says, and whether its signature was verified."""

    origin: str
    size: int
    root: bytes
    is_verified: bool


def read_key(key: LedgerKey | Mapping[str, object] | str | bytes) -> PublicKey:
    """Read a pinned key: 32 bytes, their base64, a vkey, or what the server answered.

    Raises:
        ValidationError: (`invalid_public_key`) it is none of these.
    """
    if isinstance(key, bytes):
        return PublicKey(None, _require_key(key))
    if isinstance(key, str):
        found = _VKEY.match(key)
        return PublicKey(None, _require_key(_decoded(key))) if found is None else _read_vkey(*found.groups())
    fields = fields_of(key)
    algorithm, origin, encoded = (fields.get(name) for name in ("algorithm", "origin", "public_key"))
    if algorithm not in (None, "ed25519") or not isinstance(origin, str) or not isinstance(encoded, str):
        raise _unusable_key()
    return PublicKey(origin, _require_key(_decoded(encoded)))


def open_checkpoint(
    checkpoint: LedgerCheckpoint | Mapping[str, object] | str, key: PublicKey | None, origin: str | None = None
) -> Checkpoint:
    """Read a checkpoint, as the server answered it or as its note alone; verify its signature if there is a key.

    Raises:
        LedgerError: `ledger_malformed`; `ledger_origin_mismatch`: it belongs to another log than the key or `origin`;
            `ledger_signature_invalid`: the key did not sign it.
        ConfigurationError: (`missing_extra`) there is a signature to verify, but cryptography is not installed.
    """
    opened = _open(checkpoint, key)
    if origin not in (None, opened.origin):
        raise LedgerError(
            f"The checkpoint belongs to the log {opened.origin!r}, not to {origin!r}.", code="ledger_origin_mismatch"
        )
    return opened


def _open(checkpoint: LedgerCheckpoint | Mapping[str, object] | str, key: PublicKey | None) -> Checkpoint:
    if isinstance(checkpoint, str):
        return _open_note(checkpoint, key)
    fields = fields_of(checkpoint)
    note = fields.get("note")
    if not isinstance(note, str):
        raise LedgerError("The checkpoint has no signed note.")
    opened = _open_note(note, key)
    beside = {"origin": opened.origin, "size": opened.size, "root_hash": opened.root.hex()}
    for name, noted in beside.items():
        said = fields.get(name, noted)
        if said != noted:
            raise LedgerError(f"The checkpoint says that its {name} is {said!r}, but its note says {noted!r}.")
    return opened


def fields_of(record: object) -> Mapping[str, Any]:
    """Return what a record or a mapping holds; nothing if it is neither."""
    return record if isinstance(record, Mapping) else getattr(record, "__dict__", {})


def _open_note(note: str, key: PublicKey | None) -> Checkpoint:
    text, separator, signatures = note.rpartition("\n\n")
    lines = text.split("\n")
    root = _decoded(lines[2]) if len(lines) >= 3 else None
    if (
        not separator
        or not all(lines)
        or not _SIZE.match(lines[1])
        or root is None
        or len(root) != _ROOT_LENGTH
        or not signatures.endswith("\n")
    ):
        raise LedgerError("The checkpoint is not a signed note of origin, size and root.")
    if key is not None:
        _verify_signature(text + "\n", lines[0], signatures[:-1].split("\n"), key)
    return Checkpoint(lines[0], int(lines[1]), root, is_verified=key is not None)


def _verify_signature(text: str, origin: str, lines: list[str], key: PublicKey) -> None:
    if key.origin not in (None, origin):
        raise LedgerError(
            f"The checkpoint belongs to the log {origin!r}, but the key signs for {key.origin!r}.",
            code="ledger_origin_mismatch",
        )
    key_id = _key_id(origin, key.public_key)
    # Every line is read, because witnesses sign too, before or after the log itself.
    for line in lines:
        found = _SIGNATURE.match(line)
        signature = None if found is None else _decoded(found[2])
        if found is None or signature is None:
            raise LedgerError("The checkpoint is not a signed note: a line after the empty one is not a signature.")
        if found[1] == origin and signature[:4] == key_id and _is_signed(text, signature[4:], key.public_key):
            return
    raise LedgerError(
        f"The checkpoint of {origin!r} is not signed by the pinned key: it was forged or changed, or the log has "
        "another key now.",
        code="ledger_signature_invalid",
    )


def _is_signed(text: str, signature: bytes, public_key: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as exc:
        raise ConfigurationError(
            "Verifying the signature of a checkpoint needs the package cryptography: pip install cryptography",
            code="missing_extra",
        ) from exc
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, text.encode())
    except (InvalidSignature, ValueError):  # ValueError: the key is not a point of the curve, or the text not UTF-8
        return False
    return True


def _key_id(name: str, public_key: bytes) -> bytes:
    return hashlib.sha256(name.encode(errors="replace") + b"\n" + _ED25519 + public_key).digest()[:4]


def _read_vkey(name: str, key_id: str, encoded: str) -> PublicKey:
    key = _decoded(encoded)
    if key is None or key[:1] != _ED25519 or _key_id(name, key[1:]).hex() != key_id:
        raise _unusable_key()
    return PublicKey(name, _require_key(key[1:]))


def _require_key(key: bytes | None) -> bytes:
    if key is None or len(key) != _PUBLIC_KEY_LENGTH:
        raise _unusable_key()
    return key


def _unusable_key() -> ValidationError:
    return ValidationError(
        "`public_key` must be an Ed25519 key: its 32 bytes, their base64, a vkey, or what `client.ledger.key()` "
        "returned.",
        code="invalid_public_key",
    )


def _decoded(text: str) -> bytes | None:
    """Decode canonical base64, or return None."""
    try:
        data = base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return data if base64.b64encode(data).decode() == text else None
