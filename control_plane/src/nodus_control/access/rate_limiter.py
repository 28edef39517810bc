"""How much one caller may ask for: token buckets, kept here or in Redis. Deciding is pure; the time is passed in.

A key has a bucket of its own. What fails before a key is known to have sent it counts in the bucket of the client's
address instead, so that nobody can spend a key's tokens without the key.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from nodus_core.rate_limits import ADDRESS_LIMIT, RateLimit
from nodus_ledger.database.redis_store import RedisStore, RedisUnavailable
from nodus_ledger.keys.keys import KeyRecord

from ..errors import ApiError
from .client_address import Networks

_MOST_BUCKETS = 16_384
_ALONE_SECONDS = 5.0
"""How long, in real seconds, a process counts alone after Redis failed, before it asks again."""

_REFUSALS_PER_SECOND = 50
_LONGEST_HOLD_SECONDS = 1.0

_NAME = re.compile(r"[a-z]+")


class Buckets(Protocol):
    """Counts what is taken from named buckets."""

    def take(self, name: str, limit: RateLimit, tokens: int = 1) -> float:
        """Take tokens, all or none; return 0, or the seconds until there are so many."""
        ...


class LocalBuckets:
    """The buckets of one process, each as the time at which it will be full again (GCRA): nothing refills by itself."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, name: str, limit: RateLimit, tokens: int = 1) -> float:
        """Take tokens, all or none; return 0, or the seconds until there are so many."""
        with self._lock:
            now = self._clock()
            full_at = max(now, self._full_at.get(name, now)) + tokens / limit.per_second
            wait = full_at - now - limit.burst / limit.per_second
            # What is left of a rounding error is no reason to refuse.
            if wait > 1e-9:
                return wait
            self._full_at[name] = full_at
            if len(self._full_at) > _MOST_BUCKETS:
                self._forget(now)
            return 0.0

    def _forget(self, now: float) -> None:
        """Drop the buckets that are full; of others, so many that at most half are left, the fullest first."""
        left = sorted(((at, name) for name, at in self._full_at.items() if at > now), reverse=True)
        self._full_at = {name: at for at, name in left[: _MOST_BUCKETS // 2]}


class SharedBuckets:
    """The buckets of all processes, in Redis. While it does not answer, this process counts alone.

    Args:
        redis: where they are.
        alone: counts meanwhile.
        clock: monotonic seconds.
    """

    def __init__(self, redis: RedisStore, alone: Buckets, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._alone = alone
        self._clock = clock
        self._alone_until: float | None = None
        self._lock = threading.Lock()

    def take(self, name: str, limit: RateLimit, tokens: int = 1) -> float:
        """Take tokens, all or none; return 0, or the seconds until there are so many."""
        if self._may_ask():
            try:
                wait = self._redis.take_tokens(f"nodus:rate:{name}", limit.per_second, limit.burst, tokens)
            except RedisUnavailable:
                self._alone_until = self._clock() + _ALONE_SECONDS
            else:
                self._alone_until = None
                return wait
        return self._alone.take(name, limit, tokens)

    def _may_ask(self) -> bool:
        """Whether to ask Redis: always while it answers; afterwards one asks in a while, and the others do not wait."""
        with self._lock:
            now = self._clock()
            if self._alone_until is None:
                return True
            if now < self._alone_until:
                return False
            self._alone_until = now + _ALONE_SECONDS
            return True


@dataclass(frozen=True)
class RateLimitOptions:
    """What an operator decides.

    Attributes:
        rate: of every key that has no limit of its own; None for no limit.
        parts: between how many processes the limits are divided, where nothing is shared.
        trusted_proxies: whose `X-Forwarded-For` is believed.
    """

    rate: RateLimit | None = None
    parts: int = 1
    trusted_proxies: Networks = field(default_factory=tuple)


class RateLimiter:
    """The rate limits of one control plane."""

    def __init__(
        self,
        options: RateLimitOptions | None = None,
        redis: RedisStore | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = options or RateLimitOptions()
        local = LocalBuckets(clock)
        self._buckets: Buckets = local if redis is None else SharedBuckets(redis, local, clock)
        self._parts = self.options.parts if redis is None else 1
        self._pace = Pace(clock)

    def of_key(self, key: KeyRecord) -> RateLimit | None:
        """Return the limit of a key: its own, or else the control plane's; None for none."""
        return key.rate_limit.value if key.rate_limit is not None else self.options.rate

    def admit(self, key: KeyRecord, tokens: int = 1) -> None:
        """Take tokens from a key's bucket, all or none.

        Raises:
            ApiError: 429 `rate_limited`; 422 `batch_too_large`, where the bucket never holds so many.
        """
        limit = self.of_key(key)
        if limit is None:
            return
        burst = math.floor(limit.divided(self._parts).burst)
        if tokens > max(1, burst):
            raise ApiError(
                422,
                "batch_too_large",
                f"A batch takes a token of the key's rate limit for each job, and the limit never has more than "
                f"{burst}: send at most {burst} jobs at once.",
                extra={"burst": burst},
            )
        self._take("key", key.id, limit, tokens)

    def refuse_early(self, key_id: str, limit: RateLimit | None, *, only_in_flood: bool) -> None:
        """Refuse a request whose key has nothing left, before anything is spent on it; takes nothing.

        Args:
            key_id: the key that the request is believed to have.
            limit: that key's.
            only_in_flood: only while refusals are already being held back.

        Raises:
            ApiError: 429 `rate_limited`.
        """
        name = f"key {key_id}"
        if limit is None or not self._pace.is_refused(name) or (only_in_flood and not self._pace.is_flooded(name)):
            return
        raise rate_limited("key", limit, self._pace.wait(name), hold_seconds=self._pace.hold(name))

    def count_failure(self, address: str) -> None:
        """Count a request that failed at its key or signature.

        Raises:
            ApiError: 429 `rate_limited`, in place of that failure.
        """
        self._take("address", address, ADDRESS_LIMIT, 1)

    def _take(self, kind: str, whose: str, limit: RateLimit, tokens: int) -> None:
        name = f"{kind} {whose}"
        wait = self._buckets.take(name, limit.divided(self._parts), tokens)
        if wait > 0:
            # A bucket that has too few for a batch may have enough for a request.
            if tokens == 1:
                self._pace.refused(name, wait)
            raise rate_limited(kind, limit, wait, hold_seconds=self._pace.hold(name))


class Pace:
    """Holds refusals back, so that asking again at once, on any number of connections, costs the asker and nobody else.

    The first of them go out at once. A client that waits as it was told never notices.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refused_until: dict[str, float] = {}
        self._next_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def refused(self, name: str, wait: float) -> None:
        """Note that a bucket has nothing for so many seconds."""
        with self._lock:
            if len(self._refused_until) > _MOST_BUCKETS:
                now = self._clock()
                self._refused_until = {each: until for each, until in self._refused_until.items() if until > now}
            self._refused_until[name] = self._clock() + wait

    def is_refused(self, name: str) -> bool:
        """Whether the bucket still has nothing."""
        return self.wait(name) > 0

    def wait(self, name: str) -> float:
        """Return for how many seconds it has nothing."""
        until = self._refused_until.get(name)
        return 0.0 if until is None else max(0.0, until - self._clock())

    def is_flooded(self, name: str) -> bool:
        """Whether refusals are being held back."""
        return self._next_at.get(name, -math.inf) > self._clock()

    def hold(self, name: str) -> float:
        """Return how many seconds the next refusal is held back."""
        with self._lock:
            now = self._clock()
            if len(self._next_at) > _MOST_BUCKETS:
                self._next_at = {each: at for each, at in self._next_at.items() if at > now}
            # A second's worth goes out at once; then the rate holds.
            next_at = max(self._next_at.get(name, -math.inf), now - 1.0) + 1 / _REFUSALS_PER_SECOND
            self._next_at[name] = min(next_at, now + _LONGEST_HOLD_SECONDS)
            return max(0.0, min(next_at - now, _LONGEST_HOLD_SECONDS))


def rate_limited(kind: str, limit: RateLimit, wait: float, *, hold_seconds: float = 0.0) -> ApiError:
    """Return the refusal of a request, with the fields of draft-ietf-httpapi-ratelimit-headers-10.

    Args:
        kind: whose bucket it is, `key` or `address`.
        limit: of the bucket.
        wait: seconds until it has enough.
        hold_seconds: how long to hold the answer back.
    """
    if not _NAME.fullmatch(kind):
        raise ValueError("`kind` must be lower-case letters")
    seconds = max(1, math.ceil(wait))
    whose = "This key" if kind == "key" else "This address, for requests without a valid key or signature,"
    return ApiError(
        429,
        "rate_limited",
        f"{whose} may send {limit.per_second:g} requests a second, and {limit.burst:g} at once: "
        f"try again in {seconds} s.",
        headers={
            "Retry-After": str(seconds),
            "RateLimit": f'"{kind}";r=0;t={seconds}',
            "RateLimit-Policy": f'"{kind}";q={limit.per_second:g};w=1',
        },
        hold_seconds=hold_seconds,
    )
