"""Protects against replays of signed requests: remembers the signatures of the last ten minutes.

Each is kept with the idempotency key that came with it. That an idempotency key finds its job again is no part of this.

All processes that answer requests must share this memory. A playground, which is one process, keeps it in memory; the
self-hosted form in Redis, or, without Redis, in the database. Times are real, whatever the control plane's clock says.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection, bindparam, delete, select, text, tuple_

from ..database.database import Database
from ..database.redis_store import RedisStore
from ..database.schema import signature_uses

REMEMBERED_MS = 600_000
"""Twice the tolerance: how long a signature can stay valid if its time lies ahead."""

_SWEEP_EVERY_MS = 60_000
_SWEPT_AT_ONCE = 1000

_INSERT = text(
    "INSERT INTO signature_uses (key_id, signature_hash, idempotency_key, forget_at) "
    "VALUES (:key, :signature, :idempotency_key, :forget_at) ON CONFLICT DO NOTHING"
)
_FIND = select(signature_uses.c.idempotency_key).where(
    signature_uses.c.key_id == bindparam("key"), signature_uses.c.signature_hash == bindparam("signature")
)
_PLACE = tuple_(signature_uses.c.key_id, signature_uses.c.signature_hash)
# Two that sweep at the same time pass each other.
_OVER = (
    select(signature_uses.c.key_id, signature_uses.c.signature_hash)
    .where(signature_uses.c.forget_at <= bindparam("real_now"))
    .limit(_SWEPT_AT_ONCE)
    .with_for_update(skip_locked=True)
)
_SWEEP = delete(signature_uses).where(_PLACE.in_(_OVER))


@dataclass(frozen=True, slots=True)
class FirstUse:
    """An earlier use of a signature; `idempotency_key` is the one that came with it, or None."""

    idempotency_key: str | None


class ReplayProtection(Protocol):
    """Remembers the signatures that were used."""

    def admit(self, key_id: str, signature: str, idempotency_key: str | None, real_now: float) -> FirstUse | None:
        """Remember a signature; return its first use, or None if this is it. `real_now` is in Unix seconds.

        Raises:
            RedisUnavailable: it would be remembered in Redis, which does not answer.
        """
        ...

    def clear(self) -> None:
        """Forget everything, where that is possible."""
        ...


class ReplayProtectionInMemory:
    """The memory of one process, lost when it ends."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], tuple[float, FirstUse]] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, key_id: str, signature: str, idempotency_key: str | None, real_now: float) -> FirstUse | None:
        with self._lock:
            while self._seen:
                oldest = next(iter(self._seen))
                if self._seen[oldest][0] > real_now - REMEMBERED_MS / 1000:
                    break
                del self._seen[oldest]
            earlier = self._seen.get((key_id, signature))
            if earlier is None:
                self._seen[key_id, signature] = (real_now, FirstUse(idempotency_key))
                return None
            return earlier[1]

    def clear(self) -> None:
        with self._lock:
            self._seen.clear()


class ReplayProtectionInDatabase:
    """Shared by all processes on one database. A use is on disk before its request is carried out."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._swept_at = 0

    def admit(self, key_id: str, signature: str, idempotency_key: str | None, real_now: float) -> FirstUse | None:
        now_ms = int(real_now * 1000)
        place = {"key": key_id, "signature": _hash(signature)}
        values = {**place, "idempotency_key": idempotency_key, "forget_at": now_ms + REMEMBERED_MS}

        def use(connection: Connection) -> FirstUse | None:
            if now_ms - self._swept_at >= _SWEEP_EVERY_MS:
                connection.execute(_SWEEP, {"real_now": now_ms})
                self._swept_at = now_ms
            if connection.execute(_INSERT, values).rowcount == 1:
                return None
            return FirstUse(connection.execute(_FIND, place).scalar())

        return self._database.run(use)

    def clear(self) -> None:
        return None


class ReplayProtectionInRedis:
    """Shared by all processes that use the same Redis."""

    def __init__(self, redis: RedisStore) -> None:
        self._redis = redis

    def admit(self, key_id: str, signature: str, idempotency_key: str | None, real_now: float) -> FirstUse | None:
        name = f"nodus:signature:{key_id}:{_hash(signature).hex()}"
        # Marked, so that an empty text stays apart from none.
        came_with = "-" if idempotency_key is None else f"={idempotency_key}"
        earlier = self._redis.put_first(name, came_with, kept_ms=REMEMBERED_MS)
        if earlier is None:
            return None
        return FirstUse(earlier[1:] if earlier.startswith("=") else None)

    def clear(self) -> None:
        return None


def _hash(signature: str) -> bytes:
    return hashlib.sha256(signature.encode()).digest()
