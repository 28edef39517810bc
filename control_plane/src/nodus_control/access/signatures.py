"""Verifies the signatures of requests, with the SDK's own helpers, and by real time."""

from __future__ import annotations

import hashlib
import re

import nodus

TOLERANCE_SECONDS = 300

_TIMESTAMP = re.compile(r"(?:^|,) *ts=([0-9]{1,12}) *(?:,|\Z)")


class Unsigned(Exception):
    """The signature is missing, or not made with these secrets over these bytes."""


class Stale(Exception):
    """The signature is right, but its time is off by `skew_seconds`: positive for one from the past."""

    def __init__(self, skew_seconds: int) -> None:
        super().__init__(skew_seconds)
        self.skew_seconds = skew_seconds


def verify(secrets: list[str], method: str, path: str, body: bytes, header: str | None, real_now: float) -> str:
    """Verify a request's signature with any of the key's secrets; return what identifies it, to detect a second use.

    Raises:
        Unsigned: it is missing, malformed or wrong.
        Stale: its MAC is right, but it is more than 300 s old or ahead.
    """
    found = _TIMESTAMP.search(header) if header is not None else None
    if found is None:
        raise Unsigned
    timestamp = int(found.group(1))
    # At its own time first: only a correct signature may be called stale.
    if not nodus.verify_webhook(
        signing_secret=secrets, method=method, path=path, body=body, signature_header=header, now=timestamp
    ):
        raise Unsigned
    skew = real_now - timestamp
    if abs(skew) > TOLERANCE_SECONDS:
        raise Stale(round(skew))
    # What was signed, rather than the header, which can be written in many ways.
    return f"{found.group(1)}.{method}.{path}.{hashlib.sha256(body).hexdigest()}"
