"""Signatures of requests, as the server sees them: verified with the SDK's own helpers, by real time."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict

import nodus

TOLERANCE_SECONDS = 300
REMEMBERED_SECONDS = 2 * TOLERANCE_SECONDS

_TIMESTAMP = re.compile(r"(?:^|,) *ts=([0-9]{1,12}) *(?:,|\Z)")


class Unsigned(Exception):
    """There is no signature, or none that these secrets made over these bytes."""


class Stale(Exception):
    """The signature is right, but its time is off by `skew_seconds`: positive for one from the past."""

    def __init__(self, skew_seconds: int) -> None:
        super().__init__(skew_seconds)
        self.skew_seconds = skew_seconds


def verify(secrets: list[str], method: str, path: str, body: bytes, header: str | None, real_now: float) -> str:
    """Verify a request's signature; give what identifies it, for the replay memory.

    Raises:
        Unsigned: it is missing, malformed or wrong.
        Stale: its MAC is right, but it is more than 300 s old or ahead.
    """
    found = _TIMESTAMP.search(header) if header is not None else None
    if found is None:
        raise Unsigned
    timestamp = int(found.group(1))
    # At its own time first: only a signature that is right may be called stale.
    for secret in secrets:
        if nodus.verify_webhook(
            signing_secret=secret, method=method, path=path, body=body, signature_header=header, now=timestamp
        ):
            break
    else:
        raise Unsigned
    skew = real_now - timestamp
    if abs(skew) > TOLERANCE_SECONDS:
        raise Stale(round(skew))
    canonical = nodus.sign_request(signing_secret=secret, method=method, path=path, body=body, now=timestamp)
    return canonical["Nodus-Signature"]


class ReplayMemory:
    """The signatures of the last ten minutes' writes, each with the idempotency key that came with it.

    Times are real Unix seconds.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], tuple[float, str | None]] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, key_id: str, signature: str, idempotency_key: str | None, real_now: float) -> bool | str | None:
        """Remember a signature; give True where it is new, else the idempotency key of its first use."""
        with self._lock:
            while self._seen:
                oldest = next(iter(self._seen))
                if self._seen[oldest][0] > real_now - REMEMBERED_SECONDS:
                    break
                del self._seen[oldest]
            earlier = self._seen.get((key_id, signature))
            if earlier is None:
                self._seen[key_id, signature] = (real_now, idempotency_key)
                return True
            return earlier[1]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._seen.clear()
