"""Keeps signing secrets: in Redis, with only their SHA-256 in the database; or, without Redis, sealed in the database.

In Redis a secret is stored under its key's id and its own hash, so that the key's row, which changes in a transaction,
alone decides which secrets are valid: what a failed change leaves behind in Redis verifies nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from ..database.redis_store import RedisStore
from ..database.sealing import Sealer, UnusableKey


@dataclass(frozen=True, slots=True)
class KeptSecret:
    """A secret as stored in the key's row: sealed, or as the hash of what is in Redis; neither if there is none."""

    sealed: bytes | None = field(repr=False)
    digest: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class UsableSecrets:
    """The secrets that verify a key's signatures; `is_whole` is False if one of them is not available."""

    secrets: list[str] = field(repr=False)
    is_whole: bool


class SigningSecrets:
    """The signing secrets of all keys."""

    def __init__(self, sealer: Sealer, redis: RedisStore | None = None) -> None:
        self._sealer = sealer
        self._redis = redis

    def keep(self, key_id: str, secret: str) -> KeptSecret:
        """Keep a new secret; return what to store of it in the key's row.

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
        # Somebody who can write to Redis must not be able to plant a secret.
        if found is None or not hmac.compare_digest(hash_of(found), kept.digest):
            return None
        return found


def hash_of(secret: str) -> bytes:
    """Return the SHA-256 of a secret; enough, because nobody can try all values of its 256 random bits."""
    return hashlib.sha256(secret.encode()).digest()


def _context(key_id: str) -> str:
    return f"signing secret of {key_id}"


def _name(key_id: str, digest: bytes) -> str:
    return f"nodus:signing-secret:{key_id}:{digest.hex()}"
