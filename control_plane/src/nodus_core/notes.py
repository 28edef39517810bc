"""Signed notes and checkpoints of a log, in the text forms of C2SP (signed-note, tlog-checkpoint).

Nothing here signs: Ed25519 is a function that the caller passes in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from typing import NamedTuple

Sign = Callable[[bytes], bytes]
"""Signs a message with Ed25519; gives 64 bytes."""

Verify = Callable[[bytes, bytes], bool]
"""Says whether a signature (second) is that of the message (first)."""

_ED25519 = b"\x01"
_PUBLIC_KEY_LENGTH = 32
_SIGNATURE_LENGTH = 64
_KEY_ID_LENGTH = 4
_SIGNATURE_MARK = "\u2014 "
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]+\Z")
_SIZE = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z")


class VerifierKey(NamedTuple):
    """The public key of a log, with the name that goes onto its signatures."""

    name: str
    public_key: bytes


class Checkpoint(NamedTuple):
    """How large a log is, and the root of its tree. Its text is what is signed."""

    origin: str
    size: int
    root: bytes


def key_id(name: str, public_key: bytes) -> bytes:
    """Return the four bytes that tell a key from others: the start of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key)."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:_KEY_ID_LENGTH]


def encode_verifier_key(name: str, public_key: bytes) -> str:
    """Write a key as a vkey: `<name>+<key id in hex>+<base64 of 0x01 ‖ key>`.

    Raises:
        ValueError: the name is empty or has a space or a plus sign, or the key has not 32 bytes.
    """
    _require_name(name)
    if len(public_key) != _PUBLIC_KEY_LENGTH:
        raise ValueError(f"an Ed25519 public key has {_PUBLIC_KEY_LENGTH} bytes, not {len(public_key)}")
    return f"{name}+{key_id(name, public_key).hex()}+{_base64(_ED25519 + public_key)}"


def encode_checkpoint(checkpoint: Checkpoint) -> str:
    """Write the text of a checkpoint: origin, size, base64 of the root, a line each.

    Raises:
        ValueError: the origin is empty or holds a line break, the size is negative or the root has not 32 bytes.
    """
    if not checkpoint.origin or not checkpoint.origin.isprintable():
        raise ValueError("an origin must be printable text")
    if checkpoint.size < 0 or len(checkpoint.root) != hashlib.sha256().digest_size:
        raise ValueError("a checkpoint needs a size of at least 0, and a root of 32 bytes")
    return f"{checkpoint.origin}\n{checkpoint.size}\n{_base64(checkpoint.root)}\n"


def decode_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint; lines after the third are extensions, and passed over.

    Raises:
        ValueError: it is malformed.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]) or not _SIZE.match(lines[1]):
        raise ValueError("the text is not a checkpoint: origin, size and root, a line each")
    root = _from_base64(lines[2], "a checkpoint's root")
    if len(root) != hashlib.sha256().digest_size:
        raise ValueError("a checkpoint's root must have 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), root)


def sign_note(text: str, key: VerifierKey, sign: Sign) -> str:
    """Return the signed note: the text, an empty line, and one line of signature.

    Args:
        text: what to sign; it ends in a line break, and no line of it is like a signature.
        key: the name to sign under, and the public half of the key that `sign` uses.
        sign: Ed25519 over the UTF-8 of the text.

    Raises:
        ValueError: the text or the name cannot stand in a note.
    """
    _require_name(key.name)
    if not text.endswith("\n") or "\r" in text or "\n\n" in text or text.startswith("\n"):
        raise ValueError("the text of a note is of whole lines, none of them empty")
    signature = key_id(key.name, key.public_key) + sign(text.encode())
    return f"{text}\n{_SIGNATURE_MARK}{key.name} {_base64(signature)}\n"


def open_note(note: str, key: VerifierKey, verify: Verify) -> str:
    """Return the text of a note that this key signed; signatures of other keys are passed over.

    Raises:
        ValueError: the note is malformed, has no signature of this key, or has one that is wrong.
    """
    text, separator, lines = note.rpartition("\n\n")
    text += "\n"
    if not separator or not lines.endswith("\n"):
        raise ValueError("the note is malformed: no signature stands after an empty line")
    wanted = key_id(key.name, key.public_key)
    found = False
    for line in lines[:-1].split("\n"):
        mark, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        if mark != _SIGNATURE_MARK.strip() or not _NAME.match(name):
            raise ValueError("the note is malformed: a line after the empty one is not a signature")
        signature = _from_base64(encoded, "a signature")
        if name != key.name or signature[:_KEY_ID_LENGTH] != wanted:
            continue
        if len(signature) != _KEY_ID_LENGTH + _SIGNATURE_LENGTH:
            raise ValueError("the signature of the key is of the wrong length")
        if not verify(text.encode(), signature[_KEY_ID_LENGTH:]):
            raise ValueError(f"the signature of {key.name} is wrong")
        found = True
    if not found:
        raise ValueError(f"the note has no signature of {key.name}")
    return text


def _require_name(name: str) -> None:
    if not _NAME.match(name):
        raise ValueError(f"{name!r} cannot be a key's name: it must not be empty or have a space or a plus sign")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_base64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError(f"{what} is not base64") from None
    if _base64(data) != text:
        raise ValueError(f"{what} is not base64 in its one form")
    return data
