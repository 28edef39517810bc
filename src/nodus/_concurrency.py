"""Every real difference between the asynchronous and the synchronous library, in pairs.

Those of connecting are in `_resolver.py`, `_happy_eyeballs.py` and `_sockets.py`. The code in `_async/` is written
against the first of each pair; `tools/unasync_build.py` puts the second in its place.
"""

from __future__ import annotations

import inspect
import threading
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
import anyio.lowlevel

AsyncText = Coroutine[object, object, str]
"""The result of a call that returns text, for methods that only sometimes return something to await."""

Text = str


class AsyncClock:
    """The time, and waiting for it to pass."""

    def now(self) -> float:
        """Seconds on a monotonic clock."""
        return time.monotonic()

    def unix_time(self) -> float:
        """Seconds since 1970, for signatures."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class Clock:
    """The time, and waiting for it to pass."""

    def now(self) -> float:
        """Seconds on a monotonic clock."""
        return time.monotonic()

    def unix_time(self) -> float:
        """Seconds since 1970, for signatures."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class AsyncLimiter:
    """Lets `total` tasks in at once; the others queue, first come, first served."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._queue: deque[anyio.Event] = deque()

    async def acquire(self, timeout: float) -> bool:
        """Take a place; False if none came free within `timeout` seconds."""
        if self._free:
            self._free -= 1
            return True
        turn = anyio.Event()
        self._queue.append(turn)
        try:
            with anyio.move_on_after(max(timeout, 0.0)):
                await turn.wait()
        except BaseException:
            # The place may have been handed over at the very moment of the cancellation.
            if turn.is_set():
                self.release()
            else:
                self._queue.remove(turn)
            raise
        if not turn.is_set():
            self._queue.remove(turn)
        return turn.is_set()

    def release(self) -> None:
        """Give a place back; the first in the queue gets it at once."""
        if self._queue:
            self._queue.popleft().set()
        else:
            self._free += 1

    @property
    def free(self) -> int:
        return self._free

    @property
    def waiting(self) -> int:
        return len(self._queue)


class Limiter:
    """Lets `total` threads in at once; the others queue, first come, first served."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._queue: deque[threading.Lock] = deque()
        self._mutex = threading.Lock()

    def acquire(self, timeout: float) -> bool:
        """Take a place; False if none came free within `timeout` seconds."""
        with self._mutex:
            if self._free:
                self._free -= 1
                return True
            turn = threading.Lock()
            turn.acquire()
            self._queue.append(turn)
        try:
            if turn.acquire(timeout=min(max(timeout, 0.0), threading.TIMEOUT_MAX)):
                return True
        except BaseException:
            if not self._withdraw(turn):
                self.release()
            raise
        # The place may have been handed over at the very moment that the time ran out.
        return not self._withdraw(turn)

    def release(self) -> None:
        """Give a place back; the first in the queue gets it at once."""
        with self._mutex:
            if self._queue:
                self._queue.popleft().release()
            else:
                self._free += 1

    @property
    def free(self) -> int:
        return self._free

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def _withdraw(self, turn: threading.Lock) -> bool:
        """Leave the queue; False if the turn had come already."""
        with self._mutex:
            if turn not in self._queue:
                return False
            self._queue.remove(turn)
            return True


_run_identity: anyio.lowlevel.RunVar[object] = anyio.lowlevel.RunVar("nodus_run_identity")


class AsyncRunGuard:
    """Keeps a client on the event loop that first used it: its connections live there."""

    def __init__(self) -> None:
        self._home: object = None
        self._loop: Callable[[], Any] = object  # a weak reference, once there is a loop

    def is_home(self) -> bool:
        """Whether this is the event loop of the first use (which this call may be)."""
        try:
            here = _run_identity.get()
        except LookupError:
            here = object()
            _run_identity.set(here)
        if self._home is None:
            self._loop = weakref.ref(anyio.lowlevel.current_token().native_token)
            self._home = here
        return self._home is here

    def has_ended(self) -> bool:
        """Whether the event loop of the first use is over, so that nothing can happen on it any more."""
        loop = self._loop()
        if loop is None:
            return True
        if hasattr(loop, "is_closed"):  # of asyncio
            return bool(loop.is_closed())
        try:
            loop.run_sync_soon(_nothing)  # of trio
        except RuntimeError:
            return True
        except AttributeError:
            return False
        return False


class RunGuard:
    """Threads may share a synchronous client, so every place is home."""

    def is_home(self) -> bool:
        return True

    def has_ended(self) -> bool:
        return False


def _nothing() -> None: ...


async def async_shielded(work: Callable[[], Awaitable[object]], seconds: float) -> None:
    """Run a last piece of work even where the task is being cancelled, for `seconds` at most."""
    with anyio.move_on_after(seconds, shield=True):
        await work()


def shielded(work: Callable[[], object], seconds: float) -> None:
    """Run a last piece of work; it bounds itself, since a thread cannot be interrupted from outside."""
    work()


async def async_settled(given: object) -> None:
    """Await what a callback returned, if it is awaitable."""
    if inspect.isawaitable(given):
        await given


def settled(given: object) -> None:
    """Do nothing: a synchronous callback is done once it has returned."""


def async_misfit(http_client: object) -> str:
    """Say what an injected client should be instead, if it cannot send here; an empty string if it can.

    What a `send` returns is known only afterwards, so of clients of the other kind only httpx's own is recognised.
    """
    kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(http_client).__mro__}
    if _has_send(http_client) and kinds.isdisjoint(("httpx.Client", "httpx2.Client")):
        return ""
    return "an object with httpx's `send`, to be awaited, such as an `httpx.AsyncClient`"


def misfit(http_client: object) -> str:
    """Say what an injected client should be instead, if it cannot send here; an empty string if it can."""
    if _has_send(http_client) and not inspect.iscoroutinefunction(getattr(http_client, "send", None)):
        return ""
    return "an object with httpx's `send`, not to be awaited, such as an `httpx.Client`"


def _has_send(http_client: object) -> bool:
    return callable(getattr(http_client, "send", None)) and not isinstance(http_client, type)
