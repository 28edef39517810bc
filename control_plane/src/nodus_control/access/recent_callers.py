"""Who has called lately, so that a request's customer is known before anything is spent on it.

Nothing here lets anybody in: that is for `auth`, which reads the database every time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from nodus_core.rate_limits import RateLimit
from nodus_ledger.keys.keys import KeyRecord

_MOST = 8192


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key it was when it was last seen, what it may send (None: without limit), and whether it must sign."""

    key_id: str
    customer_id: str
    limit: RateLimit | None
    signs: bool


class Callers:
    """The latest valid keys, by their hash; used by any number of threads."""

    def __init__(self) -> None:
        self._by_hash: dict[bytes, Caller] = {}

    def get(self, api_key: str) -> Caller | None:
        """Return whose key it was."""
        return self._by_hash.get(_hash(api_key))

    def remember(self, api_key: str, key: KeyRecord, limit: RateLimit | None, known: Caller | None = None) -> Caller:
        """Note a valid key; `known` is what was known of it a moment ago."""
        caller = Caller(key.id, key.customer_id, limit, key.signing_required)
        if caller != known:
            if len(self._by_hash) >= _MOST:
                # Whoever still calls is looked up once more.
                self._by_hash = {}
            self._by_hash[_hash(api_key)] = caller
        return caller

    def forget(self, api_key: str) -> None:
        """Note that a key is not valid, or no longer."""
        self._by_hash.pop(_hash(api_key), None)


def bearer_key(authorization: str | None) -> str | None:
    """Return the key in an `Authorization` header; None if it has none."""
    scheme, _, api_key = (authorization or "").partition(" ")
    return api_key.strip() or None if scheme.lower() == "bearer" else None


def _hash(api_key: str) -> bytes:
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).digest()
