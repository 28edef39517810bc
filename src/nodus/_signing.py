"""The v1 signature scheme, for requests and webhooks alike. Standard library only.

signed_string   = f"{ts}.{METHOD}.{path}.{sha256_hex(body)}"
Nodus-Signature = f"v1={HMAC-SHA256(secret, signed_string).hexdigest()},ts={ts}"
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from ._errors import ValidationError

SIGNATURE_HEADER = "Nodus-Signature"
TOLERANCE_SECONDS = 300

_MAX_HEADER_LENGTH = 1024
_MAX_PARTS = 16
_MAX_MACS = 5
_PATH = re.compile(r"/[!-\"$->@-~]*\Z")
_USUAL = re.compile(r"v1=([0-9a-f]{64}),ts=([0-9]{1,12})\Z")
_PART = re.compile(r" *(?:v1=([0-9a-f]{64})|ts=([0-9]{1,12})|(?!v1=|ts=)[a-z][a-z0-9_-]*=.*) *\Z", re.DOTALL)

_SHA256_BLOCK = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


class Signer:
    """HMAC-SHA256 under one secret, with both key blocks hashed ahead (RFC 2104, section 4)."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, signing_secret: str) -> None:
        if not isinstance(signing_secret, str):
            raise TypeError(f"`signing_secret` must be a str, not {type(signing_secret).__name__}")
        if not signing_secret:
            raise ValidationError("`signing_secret` must not be empty.", code="invalid_signing_secret")
        key = signing_secret.encode()
        if len(key) > _SHA256_BLOCK:
            key = hashlib.sha256(key).digest()
        block = key.ljust(_SHA256_BLOCK, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER))
        self._outer = hashlib.sha256(block.translate(_OUTER))

    def mac(self, timestamp: str, method: str, path: str, body: bytes) -> str:
        """Sign one request; `method` in upper case, `path` as it goes on the wire."""
        inner = self._inner.copy()
        inner.update(f"{timestamp}.{method}.{path}.{hashlib.sha256(body).hexdigest()}".encode())
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()

    def header(self, method: str, path: str, body: bytes, now: float) -> str:
        """Return the value of `Nodus-Signature`; `now` in Unix seconds."""
        timestamp = str(int(now))
        return f"v1={self.mac(timestamp, method, path, body)},ts={timestamp}"

    def __repr__(self) -> str:
        return "Signer(…)"


_signer = lru_cache(maxsize=32)(Signer)
_is_path = lru_cache(maxsize=128)(_PATH.match)


def sign_request(
    *, signing_secret: str, method: str, path: str, body: bytes = b"", now: float | None = None
) -> dict[str, str]:
    """Sign a request; return the headers to merge into it.

    Sign the exact bytes that go on the wire. Sign once, send once.

    Args:
        signing_secret: the key's `sgn_…` secret, whole as printed.
        method: the HTTP method, in any case; it is signed in upper case.
        path: the path of the API request, percent-encoded as sent, starting with `/v1/`: no query, and no mount prefix
            of the base URL.
        body: the request's body; empty for none.
        now: the time to sign at, in Unix seconds; the current time by default.

    Raises:
        ValidationError: (`invalid_path`) `path` does not start with `/`, or has a query, a fragment, a space, a
            control or a non-ASCII character; (`invalid_signing_secret`) the secret is empty.
        TypeError: `body` is not bytes, or `method` not a string.

    >>> sign_request(signing_secret="sgn_0", method="GET", path="/v1/jobs", now=1767225600)["Nodus-Signature"][-13:]
    'ts=1767225600'
    """
    if not isinstance(method, str):
        raise TypeError(f"`method` must be a str, not {type(method).__name__}")
    _require_bytes(body)
    if not _is_signable_path(path):
        raise ValidationError(
            f"{path!r} cannot be signed: give the path alone, percent-encoded, such as '/v1/jobs'.", code="invalid_path"
        )
    return {
        SIGNATURE_HEADER: _signer(signing_secret).header(
            method.upper(), path, body, time.time() if now is None else now
        )
    }


def verify_webhook(
    *,
    signing_secret: str | Iterable[str],
    method: str,
    path: str,
    body: bytes,
    signature_header: str | None,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> bool:
    """Check that a delivery was signed with the secret, over exactly these bytes, within the tolerance.

    Nothing that a sender controls raises: a missing or malformed header makes this return False.

    Args:
        signing_secret: the endpoint's `whsec_…` secret; several while one is being rotated.
        method: the HTTP method of the delivery.
        path: the path of the URL that was registered, percent-encoded and without a query. Undo what a reverse proxy
            does to it: add a prefix that it strips, strip one that it adds.
        body: the raw request body.
        signature_header: the value of the `Nodus-Signature` header, or None if there is none.
        tolerance_seconds: how far the signature's time may lie from now, in seconds, in either direction.
        now: the time to verify at, in Unix seconds; the current time by default.

    Raises:
        TypeError: `body` is not bytes (the signature covers the raw body, not what was parsed from it), or
            `signing_secret` is None.
        ValidationError: (`invalid_signing_secret`) a secret is empty.
    """
    _require_bytes(body)
    signature = parse_signature(signature_header)
    if signature is None or not is_signable(method, path):
        return False
    if not mac_matches(signature, signing_secret, method, path, body):
        return False
    return abs((time.time() if now is None else now) - int(signature.timestamp)) <= tolerance_seconds


def is_signable(method: object, path: object) -> bool:
    """Say whether these can have been signed at all; they come from the sender, and must not make encoding fail."""
    return isinstance(method, str) and method.isascii() and _is_signable_path(path)


def _is_signable_path(path: object) -> bool:
    return isinstance(path, str) and _is_path(path) is not None


class Signature(NamedTuple):
    """A well-formed `Nodus-Signature` header: nothing in it is verified yet."""

    timestamp: str
    macs: list[str]


def parse_signature(header: str | None) -> Signature | None:
    """Read a `Nodus-Signature` header, or give None for a malformed one."""
    if not isinstance(header, str) or not header or len(header) > _MAX_HEADER_LENGTH:
        return None
    usual = _USUAL.match(header)
    if usual is not None:
        mac, timestamp = usual.groups()
        return Signature(timestamp, [mac])
    return _parse_parts(header)


def _parse_parts(header: str) -> Signature | None:
    parts = header.split(",")
    if len(parts) > _MAX_PARTS:
        return None
    timestamp: str | None = None
    macs: list[str] = []
    for part in parts:
        found = _PART.match(part)
        if found is None:
            return None
        mac, ts = found.groups()
        if mac is not None:
            macs.append(mac)
        elif ts is not None:
            if timestamp is not None:
                return None
            timestamp = ts
    if timestamp is None or not 1 <= len(macs) <= _MAX_MACS:
        return None
    return Signature(timestamp, macs)


def mac_matches(signature: Signature, signing_secret: str | Iterable[str], method: str, path: str, body: bytes) -> bool:
    """Compare every MAC with that of every secret, in constant time, so that timing does not tell which one matched."""
    matched = False
    if signing_secret is None:
        raise TypeError("`signing_secret` must be a str or several, not None: is its environment variable set?")
    for secret in (signing_secret,) if isinstance(signing_secret, str) else signing_secret:
        expected = _signer(secret).mac(signature.timestamp, method.upper(), path, body)
        for mac in signature.macs:
            matched |= hmac.compare_digest(mac, expected)
    return matched


def _require_bytes(body: object) -> None:
    if not isinstance(body, (bytes, bytearray, memoryview)):
        raise TypeError(f"pass the raw request body as bytes, not {type(body).__name__}")
