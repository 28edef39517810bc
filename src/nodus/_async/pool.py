"""A transport that keeps its idle connections on a stack: single-connection httpx transports behind a limiter.

httpx's own pool loses connections when a task is cancelled in its queue (encode/httpcore#1093), and stops reusing them
above twenty. Here, a request takes a place from the limiter, then the most recently used connection, and gives both
back once its response is read. Whatever goes wrong on the way costs that connection, but never the place.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

import httpx

from .. import _bodies
from .._concurrency import AsyncClock, AsyncLimiter, AsyncRunGuard
from .._errors import APITimeoutError, ConfigurationError
from .._failures import chain_of
from .lane import KEEPALIVE_SECONDS, AsyncLane, Origin, close_all
from .stream import AsyncStreamedAnswer
from .stream_places import AsyncStreamPlaces

DEADLINE = "nodus_deadline"
"""Request extension: the clock reading at which the attempt must be over, waiting for a connection included."""

REPEATABLE = "nodus_repeatable"
"""Request extension: whether the request may be sent again if a reused connection turns out to be dead."""

MAX_BYTES = "nodus_max_bytes"
"""Request extension: how many bytes the body of a response may have."""


def closed_error() -> ConfigurationError:
    """The error of every call after `aclose()`."""
    return ConfigurationError("This client is closed: create a new one.", code="client_closed")


def wrong_event_loop() -> ConfigurationError:
    """The error of a call on another event loop than the one in which the connections live."""
    return ConfigurationError(
        "This client belongs to another event loop, which is still running: create one client for each event loop, and "
        "close it there.",
        code="wrong_event_loop",
    )


class Answer(NamedTuple):
    """A whole response; its parts have the names that httpx uses."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes


class AsyncPool(httpx.AsyncBaseTransport):
    """A transport that opens at most `max_connections` connections, and reuses the most recently used one.

    Args:
        max_connections: how many requests may be under way at once; more wait their turn.
        clock: the clock that deadlines are read on.
    """

    def __init__(self, *, max_connections: int, clock: AsyncClock) -> None:
        self._clock = clock
        self._stack = AsyncLaneStack(max_connections, clock)
        self._inherited: dict[int, AsyncLaneStack] = {}
        self._mutex = threading.Lock()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; return the response, to be read and closed: until then it holds its connection."""
        stack, lane, response = await self._send(request)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=AsyncLaneStream(response, stack, lane),
            extensions=response.extensions,
        )

    async def fetch(self, request: httpx.Request) -> Answer:
        """Send a request and read its whole response. Cheaper than reading that of `handle_async_request`.

        Raises:
            APIError: (`invalid_response`) the body cannot be used: it is too large, or packed in an unknown way. That
                of an error reads as empty instead.
        """
        stack, lane, response = await self._send(request)
        limit = request.extensions.get(MAX_BYTES, _bodies.MAX_JSON_BYTES)
        is_error = response.status_code >= 400
        body = _bodies.BodyReader(response.headers, min(limit, _bodies.MAX_ERROR_BYTES) if is_error else limit)
        try:
            content = await self._read(response, lane, body)
            if body.problem is not None and not is_error:
                request_id = response.headers.get("x-request-id")
                raise _bodies.unusable(response.status_code, body.problem, request_id)
        except BaseException:
            await stack.discard(lane)
            raise
        if lane.attempt.abandoned:
            await stack.discard(lane)
        else:
            await stack.give_back(lane)
        return Answer(response.status_code, response.headers, content)

    async def _read(self, response: httpx.Response, lane: AsyncLane, body: _bodies.BodyReader) -> bytes:
        """Read a body to its end; not beyond what has arrived already once it cannot be used."""
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        attempt = lane.attempt
        attempt.abandoned = body.problem is not None
        try:
            async for chunk in stream:
                body.feed(chunk)
                if body.problem is not None:
                    attempt.abandoned = True
            await stream.aclose()
        except httpx.TransportError:
            if body.problem is None:
                raise
            return b""
        return body.finish()

    async def _send(self, request: httpx.Request) -> tuple[AsyncLaneStack, AsyncLane, httpx.Response]:
        self.check_usable()
        stack = self._stack
        deadline = request.extensions.get(DEADLINE)
        await stack.enter(math.inf if deadline is None else deadline - self._clock.now())
        lane: AsyncLane | None = None
        try:
            url = request.url
            lane = await stack.take((url.scheme, url.host, url.port))
            repeatable = request.extensions.get(REPEATABLE, False)
            response = await lane.send(request, deadline=deadline, repeatable=repeatable)
        except BaseException:
            await stack.discard(lane)
            raise
        return stack, lane, response

    def check_usable(self) -> None:
        """Check that a request may start here.

        Raises:
            ConfigurationError: `client_closed`, or `wrong_event_loop`.
        """
        stack = self._start_afresh_if_need_be()
        if stack.closed:
            raise closed_error()
        if not stack.run.is_home():
            raise wrong_event_loop()

    def _start_afresh_if_need_be(self) -> AsyncLaneStack:
        """Return the connections; new ones in a new process, or if their event loop has ended."""
        stack = self._stack
        pid = os.getpid()
        if stack.pid != pid:
            # After a fork the connections are the parent's: using one would mix up the responses of two processes, and
            # closing one could end it for both. Several threads may notice at once; `setdefault` lets one win.
            self._inherited[stack.pid] = stack
            fresh = AsyncLaneStack(stack.limit, self._clock, closed=stack.closed)
            self._stack = self._inherited.setdefault(pid, fresh)
        elif not stack.run.is_home() and stack.run.has_ended():
            with self._mutex:
                if self._stack is stack:
                    self._stack = AsyncLaneStack(stack.limit, self._clock, closed=stack.closed)
            stack.close_without_loop()
        return self._stack

    async def aclose(self) -> None:
        """Close the idle connections now, and the busy ones as they come back.

        Raises:
            ConfigurationError: (`wrong_event_loop`) there are open connections, and they live in another event loop
                that has not ended.
        """
        stack = self._stack
        stack.closed = True
        if stack.pid != os.getpid() or not (stack.lanes or stack.answers):
            return
        if stack.run.is_home():
            await stack.clear()
        elif stack.run.has_ended():
            stack.close_without_loop()
        else:
            raise wrong_event_loop()

    async def stream_places(self) -> AsyncStreamPlaces:
        """Return the places for streams, once those of abandoned streams are free."""
        stack = self._start_afresh_if_need_be()
        await stack.close_forgotten()
        return stack.streams

    @property
    def is_stream_place_wanted(self) -> bool:
        """Whether a stream that holds a place should give way to another."""
        return self._stack.streams.is_wanted

    @property
    def answers(self) -> set[AsyncStreamedAnswer]:
        """The long responses that are open."""
        return self._stack.answers

    def forget(self, answer: AsyncStreamedAnswer) -> None:
        """Take over a response that nobody reads any more: it is closed with the next request, or with the pool."""
        self._stack.forgotten.append(answer)

    @property
    def was_used(self) -> bool:
        """Whether there is, or was, a connection to close."""
        return self._stack.pid == os.getpid() and self._stack.lanes > 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._stack.describe()}>"


class AsyncLaneStack:
    """The lanes of a pool in one process: idle ones, most recently used on top, and the places of busy ones.

    Attributes:
        limit: how many lanes there may be.
        lanes: how many there are now, busy or idle.
        closed: whether lanes are closed when they come back.
        pid: the process that they belong to.
        run: the event loop that they belong to.
        streams: places for responses that last as long as a job does.
        answers: the long responses that are open.
        forgotten: responses that nobody reads any more, to be closed by the next request.
    """

    def __init__(self, limit: int, clock: AsyncClock, *, closed: bool = False) -> None:
        self.limit = limit
        self.lanes = 0
        self.closed = closed
        self.pid = os.getpid()
        self.run = AsyncRunGuard()
        self._clock = clock
        self.streams = AsyncStreamPlaces(limit)
        self.answers: set[AsyncStreamedAnswer] = set()
        self.forgotten: deque[AsyncStreamedAnswer] = deque()
        self._idle: list[AsyncLane] = []
        self._made: weakref.WeakSet[AsyncLane] = weakref.WeakSet()
        self._limiter = AsyncLimiter(limit)
        self._mutex = threading.Lock()

    async def enter(self, timeout: float) -> None:
        """Take a place, which `discard` or `give_back` frees again.

        Raises:
            APITimeoutError: none became free within `timeout` seconds.
        """
        await self.close_forgotten()
        if not await self._limiter.acquire(timeout):
            raise APITimeoutError(f"All {self.limit} connections stayed busy; the request was not sent.")

    async def take(self, origin: Origin) -> AsyncLane:
        """Return a lane to `origin`; at the limit, the lane that has been idle longest is closed for it.

        Raises:
            ConfigurationError: (`client_closed`) the pool was closed while the request waited for its place.
        """
        if self.closed:
            raise closed_error()
        with self._mutex:
            for index in range(len(self._idle) - 1, -1, -1):
                if self._idle[index].origin == origin:
                    return self._idle.pop(index)
        lane = AsyncLane(origin, self._clock)
        self._made.add(lane)
        with self._mutex:
            evicted = self._idle.pop(0) if self._idle and self.lanes >= self.limit else None
            self.lanes += evicted is None
        if evicted is not None:
            try:
                await evicted.aclose()
            except BaseException:
                self._forget(1)
                raise
        return lane

    async def give_back(self, lane: AsyncLane) -> None:
        """Take back a lane whose response was read, and free its place; close those that have been idle too long."""
        if self.pid != os.getpid():
            return
        if lane.has_more_than_the_answer():
            await self.discard(lane)
            return
        now = lane.idle_since = self._clock.now()
        surplus: list[AsyncLane] = []
        with self._mutex:
            self._idle.append(lane)
            while self._idle and (self.closed or self._idle[0].idle_since < now - KEEPALIVE_SECONDS):
                surplus.append(self._idle.pop(0))
        if not surplus:
            self._limiter.release()
            return
        try:
            await close_all(surplus)
        finally:
            self._forget(len(surplus))
            self._limiter.release()

    async def discard(self, lane: AsyncLane | None) -> None:
        """Close a lane that cannot be used again, if there is one, and free its place."""
        if self.pid != os.getpid():
            return
        try:
            if lane is not None:
                await lane.aclose()
        finally:
            if lane is not None:
                self._forget(1)
            self._limiter.release()

    async def close_forgotten(self) -> None:
        """Close the responses that were abandoned without being closed."""
        while self.forgotten:
            try:
                answer = self.forgotten.popleft()
            except IndexError:  # another thread was quicker
                return
            await answer.aclose()

    async def clear(self) -> None:
        """Close the idle lanes, and the long responses that nobody is reading right now."""
        await self.close_forgotten()
        for answer in list(self.answers):
            if not answer.is_reading:
                await answer.aclose()
        with self._mutex:
            idle, self._idle = self._idle, []
        try:
            await close_all(idle)
        finally:
            self._forget(len(idle))

    def close_without_loop(self) -> None:
        """Close all connections although their event loop has ended, idle or not."""
        for answer in (*self.answers, *self.forgotten):
            answer.abandon()
        self.forgotten.clear()
        for lane in list(self._made):
            lane.close_without_loop()
        with self._mutex:
            self._idle.clear()
            self.lanes = 0

    def describe(self) -> str:
        return f"{self.limit - self._limiter.free} busy, {len(self._idle)} idle, limit {self.limit}"

    def _forget(self, count: int) -> None:
        with self._mutex:
            self.lanes -= count


class AsyncLaneStream(httpx.AsyncByteStream):
    """The body of a response, read as it arrives; holds its lane until closed."""

    def __init__(self, response: httpx.Response, stack: AsyncLaneStack, lane: AsyncLane) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._stream = response.stream
        self._stack = stack
        self._lane = lane
        self._chunks: AsyncIterator[bytes] | None = None
        self._open = True

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self._chunks is None:
            self._chunks = self._stream.__aiter__()
        return self._chunks

    def extend(self, deadline: float) -> None:
        """Move the deadline for reading the body to another clock reading."""
        self._lane.attempt.deadline = deadline

    async def aclose(self) -> None:
        """Give the lane back; its connection is kept if the whole response had arrived."""
        if not self._open:
            return
        self._open = False
        try:
            await self._abandon()
            await self._stream.aclose()
        except BaseException:
            await self._stack.discard(self._lane)
            raise
        await self._stack.give_back(self._lane)

    async def _abandon(self) -> None:
        """Finish the generators that httpx and httpcore read with; otherwise the event loop would have to finish them.

        They run on over what has already arrived; the first read of the socket then fails, which ends them all.
        """
        attempt = self._lane.attempt
        if self._chunks is None or not attempt.sent:
            return
        attempt.abandoned = True
        try:
            async for _ in self._chunks:
                pass
        except httpx.TransportError as exc:
            # Frames and errors that refer to each other would keep the caller's objects alive until garbage collection.
            for link in chain_of(exc):
                link.__traceback__ = None
