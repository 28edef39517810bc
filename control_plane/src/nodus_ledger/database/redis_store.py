"""What the control plane needs of Redis: named texts that may expire, and writing one only if there is none.

Only this module knows the client, which the extra `redis` installs.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .url_files import UnreadableUrl, url_of

REDIS_VARIABLE = "NODUS_REDIS_URL"
"""The environment variable that names the Redis of operators' commands."""

TIMEOUT_SECONDS = 2.0
"""How long Redis may take to be reached, and again to answer: a request waits for it."""
PAUSE_SECONDS = 1.0
"""How long Redis is left alone after a timeout; otherwise requests that need it would occupy every thread."""


_TAKE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local full_at = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0')) + tonumber(ARGV[1])
local wait = full_at - now - tonumber(ARGV[2])
if wait > 0.000001 then return string.format('%.6f', wait) end
redis.call('SET', KEYS[1], string.format('%.6f', full_at), 'PX', math.max(1, math.ceil((full_at - now) * 1000)))
return '0'
"""

_KEEPS_ALL = "noeviction"


def evicts(limit: int, policy: str) -> bool:
    """Say whether a Redis with this `maxmemory` (bytes, 0 for none) and `maxmemory-policy` may remove what it holds."""
    return limit > 0 and policy != _KEEPS_ALL


class UnusableRedis(Exception):
    """A Redis that cannot be used as it was named; the message says why and what to do."""


class RedisUnavailable(Exception):
    """Redis does not answer right now, or answers with an error."""


class RedisStore:
    """One Redis, used by any number of threads. It connects when it is first asked for something."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare to connect; nothing is sent yet.

        Args:
            url: `redis://`, `rediss://` or `unix://`, as the client takes it, or `file:PATH` of a file that holds it.
            clock: gives seconds; from one moment to another is all that counts.

        Raises:
            UnusableRedis: this is not the URL of a Redis, or the client is not installed.
        """
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as exc:
            raise UnusableRedis("Redis needs the package redis, which is not installed: pip install redis") from exc
        try:
            url = url_of(url)
        except UnreadableUrl as exc:
            raise UnusableRedis(f"cannot read the URL of Redis: {exc}") from exc
        self._failures = (redis.RedisError, OSError)
        self._refusal: type[Exception] = redis.ResponseError
        self._timed_out = (redis.TimeoutError, TimeoutError)
        self._clock = clock
        self._paused_until = -math.inf
        try:
            # A command that may have been carried out is not sent again: the caller gets the error, and decides.
            self._client: Any = redis.Redis.from_url(
                url,
                decode_responses=True,
                encoding_errors="replace",  # somebody else may have put anything there
                socket_timeout=TIMEOUT_SECONDS,
                socket_connect_timeout=TIMEOUT_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            # Not chained: the message holds what was given, which may be a password.
            pass
        else:
            place = self._client.connection_pool.connection_kwargs
            self._place = place.get("path") or f"{place.get('host', 'localhost')}:{place.get('port', 6379)}"
            return
        raise UnusableRedis("Redis must be given as a URL, such as redis://127.0.0.1:6379/0")

    def require(self) -> None:
        """Check that it answers, and that it keeps what it is given.

        Raises:
            UnusableRedis: it does not, or may remove something when its memory is full: a used signature could then be
                used again, and a key whose secret is gone could not sign.
        """
        try:
            self.ping()
            limit, policy = self._memory_policy()
        except RedisUnavailable as exc:
            raise UnusableRedis(str(exc)) from exc
        if evicts(limit, policy):
            raise UnusableRedis(
                f"Redis at {self._place} removes what it was given when its memory is full (maxmemory {limit}, "
                f"maxmemory-policy {policy}): set maxmemory-policy to {_KEEPS_ALL}, or use another Redis"
            )

    def ping(self) -> None:
        """Check that it answers.

        Raises:
            RedisUnavailable: it does not.
        """
        with self._translated():
            self._client.ping()

    def get(self, name: str) -> str | None:
        """Read a text; None for one that is not there.

        Raises:
            RedisUnavailable: it does not answer; so for every method here.
        """
        with self._translated():
            found: str | None = self._client.get(name)
        return found

    def put(self, name: str, text: str) -> None:
        """Write a text."""
        with self._translated():
            self._client.set(name, text)

    def put_first(self, name: str, text: str, *, kept_ms: int) -> str | None:
        """Write a text that expires, unless there is one already; then return that one."""
        with self._translated():
            if self._client.set(name, text, nx=True, px=kept_ms):
                return None
            # One that expired in between was there all the same.
            found: str | None = self._client.get(name)
        return "" if found is None else found

    def forget(self, name: str) -> None:
        """Remove a text."""
        with self._translated():
            self._client.delete(name)

    def forget_after(self, name: str, *, kept_ms: int) -> None:
        """Let a text expire."""
        with self._translated():
            self._client.pexpire(name, kept_ms)

    def take_tokens(self, name: str, per_second: float, burst: float, tokens: int) -> float:
        """Take tokens from a bucket, all or none; return 0, or the seconds until there are so many.

        The bucket is a text that says when it will be full again, and is gone once it is; Redis's clock counts.
        """
        with self._translated():
            wait = self._client.eval(_TAKE, 1, name, repr(tokens / per_second), repr(burst / per_second))
        return float(wait)

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def _memory_policy(self) -> tuple[int, str]:
        """Ask how much it may hold, in bytes (0 for no limit), and what it does then."""
        with self._translated():
            for command in (("config_get", "maxmemory*"), ("info", "memory")):
                # Services that are managed forbid the one, an access list perhaps both.
                with contextlib.suppress(self._refusal):
                    answer: dict[str, Any] = getattr(self._client, command[0])(command[1])
                    told = {name.replace("-", "_"): value for name, value in answer.items()}
                    return int(told.get("maxmemory", 0)), str(told.get("maxmemory_policy", _KEEPS_ALL))
        return 0, _KEEPS_ALL

    @contextmanager
    def _translated(self) -> Iterator[None]:
        if self._clock() < self._paused_until:
            raise RedisUnavailable(f"Redis at {self._place} did not answer a moment ago")
        try:
            yield
        except self._failures as exc:
            if isinstance(exc, self._timed_out):
                self._paused_until = self._clock() + PAUSE_SECONDS
            # The client's own message may quote the command, and so a secret.
            raise RedisUnavailable(f"Redis at {self._place} does not answer ({type(exc).__name__})") from None

    def __repr__(self) -> str:
        return "RedisStore(…)"
