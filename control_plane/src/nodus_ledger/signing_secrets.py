"""Where signing secrets are kept: usable ones in Redis, and then of each the database has the SHA-256 alone; or sealed
in the database, where there is no Redis.

In Redis a secret stands under its key's id and its own hash, so that the key's row, which changes in a transaction,
decides alone which secrets count: what is left over there from a change that failed verifies nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from .redis_store import RedisStore
from .sealing import Sealer, UnusableKey


@dataclass(frozen=True, slots=True)
class KeptSecret:
    """A secret as the key's row has it: sealed, or as the hash of what is in Redis, or neither for none."""

    sealed: bytes | None = field(repr=False)
    digest: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class UsableSecrets:
    """The secrets that verify a key's signatures; `is_whole` is False where one of them is not at hand."""

    secrets: list[str] = field(repr=False)
    is_whole: bool


class SigningSecrets:
    """The signing secrets of all keys."""

    def __init__(self, sealer: Sealer, redis: RedisStore | None = None) -> None:
        self._sealer = sealer
        self._redis = redis

    def keep(self, key_id: str, secret: str) -> KeptSecret:
        """Keep a new secret; return what the key's row is to hold of it.

        Raises:
            RedisUnavailable: Redis does not take it.
        """
        if self._redis is None:
            return KeptSecret(self._sealer.seal(secret.encode(), _context(key_id)), None)
        digest = hash_of(secret)
        self._redis.put(_name(key_id, digest), secret)
        return KeptSecret(None, digest)

    def open(self, key_id: str, kept: list[KeptSecret]) -> UsableSecrets:
        """Return secrets in clear, as far as they are still there.

        Raises:
            RedisUnavailable: some are in Redis, and it does not answer.
        """
        usable: list[str] = []
        is_whole = True
        for one in kept:
            secret = self._open_one(key_id, one)
            if secret is not None:
                usable.append(secret)
            elif one.sealed is not None or one.digest is not None:
                is_whole = False
        return UsableSecrets(usable, is_whole)

    def forget(self, key_id: str, kept: KeptSecret, *, after_ms: int = 0) -> None:
        """Let Redis forget a secret that no longer counts, or soon will not.

        Raises:
            RedisUnavailable: it does not answer, and remembers what no row names any more.
        """
        if self._redis is None or kept.digest is None:
            return
        name = _name(key_id, kept.digest)
        if after_ms > 0:
            self._redis.forget_after(name, kept_ms=after_ms)
        else:
            self._redis.forget(name)

    def _open_one(self, key_id: str, kept: KeptSecret) -> str | None:
        if kept.sealed is not None:
            try:
                return self._sealer.open(kept.sealed, _context(key_id)).decode()
            except UnusableKey:
                return None
        if kept.digest is None or self._redis is None:
            return None
        found = self._redis.get(_name(key_id, kept.digest))
        # Who can write to Redis cannot make up a secret.
        if found is None or not hmac.compare_digest(hash_of(found), kept.digest):
            return None
        return found


def hash_of(secret: str) -> bytes:
    """Return the SHA-256 of a secret: enough, because it has 256 random bits, which nobody can run through."""
    return hashlib.sha256(secret.encode()).digest()


def _context(key_id: str) -> str:
    return f"signing secret of {key_id}"


def _name(key_id: str, digest: bytes) -> str:
    return f"nodus:signing-secret:{key_id}:{digest.hex()}"
