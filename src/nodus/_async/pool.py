"""A transport that keeps its idle connections on a stack: single-connection httpx transports behind a limiter.

httpx's own pool loses connections when a task is cancelled in its queue, and stops reusing them above twenty. Here no
httpx transport ever holds more than one connection, nor queues: a request takes a place from the limiter, then the
connection that was used last, and gives both back once its answer is read.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import AsyncIterator

import httpx

from .._concurrency import AsyncClock, AsyncLimiter, AsyncRunGuard
from .._errors import APITimeoutError, ConfigurationError
from .._proxies import environment_proxy
from .._tls import tls_context, unused_context
from .network import AsyncDeadlineBackend, Attempt

DEADLINE = "nodus_deadline"
"""Request extension: the clock reading at which the attempt must be over, waiting for a connection included."""

REPEATABLE = "nodus_repeatable"
"""Request extension: whether the request may be sent again where a reused connection turns out to be dead."""

KEEPALIVE_SECONDS = 30.0

_DEAD_CONNECTION = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.CloseError)

logger = logging.getLogger("nodus")

Origin = tuple[str, str, "int | None"]


def closed_error() -> ConfigurationError:
    """The error of whatever comes after `aclose()`."""
    return ConfigurationError("This client is closed: make a new one.", code="client_closed")


class AsyncLane:
    """A transport to one origin, with one connection at most."""

    __slots__ = ("attempt", "idle_since", "origin", "transport")

    def __init__(self, origin: Origin, clock: AsyncClock) -> None:
        self.origin = origin
        self.attempt = Attempt(clock)
        self.idle_since = 0.0
        self.transport = self._open()

    async def renew(self) -> None:
        """Put a transport without a connection in the place of this one."""
        await self.transport.aclose()
        self.transport = self._open()

    def _open(self) -> httpx.AsyncHTTPTransport:
        scheme, host, _ = self.origin
        transport = httpx.AsyncHTTPTransport(
            verify=tls_context() if scheme == "https" else unused_context(),
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE_SECONDS),
            proxy=environment_proxy(scheme, host),
        )
        # httpx takes no network backend, httpcore's pool behind it does; only through it can every read be bounded.
        pool = transport._pool
        pool._network_backend = AsyncDeadlineBackend(pool._network_backend, self.attempt)
        return transport


class AsyncPool(httpx.AsyncBaseTransport):
    """A transport that opens `max_connections` connections at most, and reuses the one used last.

    Args:
        max_connections: how many requests are on the way at once; more wait their turn.
        clock: what deadlines are read on.
    """

    def __init__(self, *, max_connections: int, clock: AsyncClock) -> None:
        self._max_connections = max_connections
        self._clock = clock
        self._closed = False
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._run = AsyncRunGuard()
        self._limiter = AsyncLimiter(self._max_connections)
        self._mutex = threading.Lock()
        self._idle: list[AsyncLane] = []
        self._lanes = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.check_usable()
        deadline = request.extensions.get(DEADLINE)
        limiter = self._limiter
        if not await limiter.acquire(math.inf if deadline is None else deadline - self._clock.now()):
            raise APITimeoutError(f"All {self._max_connections} connections stayed busy; the request was not sent.")
        lane: AsyncLane | None = None
        try:
            self.check_usable()
            lane, evicted = self._take((request.url.scheme, request.url.host, request.url.port))
            if evicted is not None:
                await evicted.transport.aclose()
            response = await self._exchange(lane, request, deadline)
        except BaseException:
            try:
                if lane is not None:
                    await self._drop(lane)
            finally:
                limiter.release()
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=AsyncLaneStream(response.stream, self, lane, limiter),
            extensions=response.extensions,
        )

    async def _exchange(self, lane: AsyncLane, request: httpx.Request, deadline: float | None) -> httpx.Response:
        lane.attempt.begin(deadline)
        try:
            return await lane.transport.handle_async_request(request)
        except _DEAD_CONNECTION:
            if lane.attempt.connected or lane.attempt.answered or not request.extensions.get(REPEATABLE, False):
                raise
        # The server closed the connection while it was idle; that says nothing about this request.
        logger.debug("an idle connection had been closed: sending again on a new one")
        await lane.renew()
        lane.attempt.begin(deadline)
        return await lane.transport.handle_async_request(request)

    def _take(self, origin: Origin) -> tuple[AsyncLane, AsyncLane | None]:
        """Give a lane to `origin`, and an idle one that must be closed to keep within the limit."""
        with self._mutex:
            for index in range(len(self._idle) - 1, -1, -1):
                if self._idle[index].origin == origin:
                    return self._idle.pop(index), None
        lane = AsyncLane(origin, self._clock)
        with self._mutex:
            if self._lanes >= self._max_connections:
                return lane, self._idle.pop(0)
            self._lanes += 1
        return lane, None

    async def give_back(self, lane: AsyncLane, limiter: AsyncLimiter) -> None:
        """Take back a lane whose answer was read, or abandoned; httpcore has closed the connection if need be."""
        now = lane.idle_since = self._clock.now()
        surplus: list[AsyncLane] = []
        with self._mutex:
            if limiter is self._limiter:
                self._idle.append(lane)
                while self._idle and (self._closed or self._idle[0].idle_since < now - KEEPALIVE_SECONDS):
                    surplus.append(self._idle.pop(0))
                    self._lanes -= 1
        limiter.release()
        for idle in surplus:
            await idle.transport.aclose()

    async def _drop(self, lane: AsyncLane) -> None:
        with self._mutex:
            self._lanes -= 1
        await lane.transport.aclose()

    def check_usable(self) -> None:
        """Make sure that a request may start here.

        Raises:
            ConfigurationError: `client_closed`, or `wrong_event_loop`.
        """
        if self._pid != os.getpid():
            # After a fork the connections are the parent's: using one would mix up two processes' answers.
            self._inherited = self._idle
            self._start()
        if self._closed:
            raise closed_error()
        if not self._run.is_home():
            raise ConfigurationError(
                "This client belongs to another event loop: make one client for each `run()` of a loop.",
                code="wrong_event_loop",
            )

    async def aclose(self) -> None:
        """Close the idle connections now, and the busy ones as they come back."""
        self._closed = True
        if self._pid != os.getpid():
            return
        with self._mutex:
            idle, self._idle = self._idle, []
            self._lanes -= len(idle)
        for lane in idle:
            await lane.transport.aclose()

    @property
    def was_used(self) -> bool:
        """Whether there is, or was, a connection to close."""
        return self._lanes > 0

    def __repr__(self) -> str:
        busy = self._max_connections - self._limiter.free
        return f"<{type(self).__name__} {busy} busy, {len(self._idle)} idle, limit {self._max_connections}>"


class AsyncLaneStream(httpx.AsyncByteStream):
    """The body of an answer; gives its lane back when closed."""

    def __init__(self, stream: httpx.AsyncByteStream, pool: AsyncPool, lane: AsyncLane, limiter: AsyncLimiter) -> None:
        self._stream = stream
        self._pool = pool
        self._lane = lane
        self._limiter = limiter
        self._open = True

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        if not self._open:
            return
        self._open = False
        try:
            await self._stream.aclose()
        finally:
            await self._pool.give_back(self._lane, self._limiter)
