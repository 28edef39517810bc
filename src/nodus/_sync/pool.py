# Generated from src/nodus/_async/pool.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Keeps idle connections on a stack, behind a limiter.

The pools of httpx and httpcore lose connections when a task is cancelled in their queue (encode/httpcore#1093), and
stop reusing them above twenty. Here, a request takes a place from the limiter, then the most recently used connection,
and gives both back once its response is read. Whatever goes wrong on the way costs that connection, but never the
place.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from .. import _bodies
from .._concurrency import Clock, Limiter, RunGuard
from .._errors import APITimeoutError, ConfigurationError
from .._failures import chain_of
from .._http import Response
from .._httpx import httpcore, httpx
from .._requests import Request
from .._transport_errors import is_of_transport
from .connection import KEEPALIVE_SECONDS, Connection, origin_of
from .stream import StreamedResponse
from .stream_places import StreamPlaces


def closed_error() -> ConfigurationError:
    """The error of every call after `close()`."""
    return ConfigurationError("This client is closed: create a new one.", code="client_closed")


def wrong_event_loop() -> ConfigurationError:
    """The error of a call on another event loop than the one in which the connections live."""
    return ConfigurationError(
        "This client belongs to another event loop, which is still running: create one client for each event loop, and "
        "close it there.",
        code="wrong_event_loop",
    )


class Pool:
    """Opens at most `max_connections` connections, and reuses the most recently used one.

    Args:
        max_connections: how many requests may be under way at once; more wait their turn.
        clock: the clock that deadlines are read on.
    """

    def __init__(self, *, max_connections: int, clock: Clock) -> None:
        self._clock = clock
        self._stack = ConnectionStack(max_connections, clock)
        self._inherited: dict[int, ConnectionStack] = {}
        self._mutex = threading.Lock()

    def open(self, request: Request) -> OpenResponse:
        """Send a request; return the response, to be read and closed: until then it holds its connection."""
        stack, connection, response = self._send(request)
        return OpenResponse(response, stack, connection)

    def fetch(self, request: Request) -> Response:
        """Send a request and read its whole response. Cheaper than reading that of `open`.

        Raises:
            APIError: (`invalid_response`) the body cannot be used: it is too large, or packed in an unknown way. That
                of an error reads as empty instead.
        """
        stack, connection, response = self._send(request)
        is_error = response.status >= 400
        limit = min(request.max_bytes, _bodies.MAX_ERROR_BYTES) if is_error else request.max_bytes
        try:
            headers = httpx.Headers(response.headers)
            body = _bodies.BodyReader(headers, limit)
            content = self._read(response, connection, body)
            if body.problem is not None and not is_error:
                raise _bodies.unusable(response.status, body.problem, headers.get("x-request-id"))
        except BaseException:
            stack.discard(connection)
            raise
        if connection.attempt.abandoned:
            stack.discard(connection)
        else:
            stack.give_back(connection)
        return Response(response.status, headers, content, request.number, request.secrets)

    def _read(self, response: httpcore.Response, connection: Connection, body: _bodies.BodyReader) -> bytes:
        """Read a body to its end; not beyond what has arrived already once it cannot be used."""
        stream: Any = response.stream
        attempt = connection.attempt
        attempt.abandoned = body.problem is not None
        try:
            for chunk in stream:
                body.feed(chunk)
                if body.problem is not None:
                    attempt.abandoned = True
            response.close()
        except Exception as exc:
            if body.problem is None or not is_of_transport(exc):
                raise
            return b""
        return body.finish()

    def _send(self, request: Request) -> tuple[ConnectionStack, Connection, httpcore.Response]:
        self.check_usable()
        stack = self._stack
        deadline = request.deadline
        stack.enter(math.inf if deadline is None else deadline - self._clock.now())
        connection: Connection | None = None
        try:
            connection = stack.take(request.url)
            response = connection.send(request)
        except BaseException:
            stack.discard(connection)
            raise
        return stack, connection, response

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

    def _start_afresh_if_need_be(self) -> ConnectionStack:
        """Return the connections; new ones in a new process, or if their event loop has ended."""
        stack = self._stack
        pid = os.getpid()
        if stack.pid != pid:
            # After a fork the connections are the parent's: using one would mix up the responses of two processes, and
            # closing one could end it for both. Several threads may notice at once; `setdefault` lets one win.
            self._inherited[stack.pid] = stack
            fresh = ConnectionStack(stack.limit, self._clock, closed=stack.closed)
            self._stack = self._inherited.setdefault(pid, fresh)
        elif not stack.run.is_home() and stack.run.has_ended():
            with self._mutex:
                if self._stack is stack:
                    self._stack = ConnectionStack(stack.limit, self._clock, closed=stack.closed)
            stack.close_without_loop()
        return self._stack

    def close(self) -> None:
        """Close the idle connections now, and the busy ones as they come back.

        Raises:
            ConfigurationError: (`wrong_event_loop`) there are open connections, and they live in another event loop
                that has not ended.
        """
        stack = self._stack
        stack.closed = True
        if stack.pid != os.getpid() or not (stack.connections or stack.responses):
            return
        if stack.run.is_home():
            stack.clear()
        elif stack.run.has_ended():
            stack.close_without_loop()
        else:
            raise wrong_event_loop()

    def stream_places(self) -> StreamPlaces:
        """Return the places for streams, once those of abandoned streams are free."""
        stack = self._start_afresh_if_need_be()
        stack.close_forgotten()
        return stack.streams

    @property
    def is_stream_place_wanted(self) -> bool:
        """Whether a stream that holds a place should give way to another."""
        return self._stack.streams.is_wanted

    @property
    def responses(self) -> set[StreamedResponse]:
        """The long responses that are open."""
        return self._stack.responses

    def forget(self, response: StreamedResponse) -> None:
        """Take over a response that nobody reads any more: it is closed with the next request, or with the pool."""
        self._stack.forgotten.append(response)

    @property
    def was_used(self) -> bool:
        """Whether there is, or was, a connection to close."""
        return self._stack.pid == os.getpid() and self._stack.connections > 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._stack.describe()}>"


class ConnectionStack:
    """The connections of a pool in one process: idle ones, most recently used on top, and the places of busy ones.

    Attributes:
        limit: how many connections there may be.
        connections: how many there are now, busy or idle.
        closed: whether connections are closed when they come back.
        pid: the process that they belong to.
        run: the event loop that they belong to.
        streams: places for responses that last as long as a job does.
        responses: the long responses that are open.
        forgotten: responses that nobody reads any more, to be closed by the next request.
    """

    def __init__(self, limit: int, clock: Clock, *, closed: bool = False) -> None:
        self.limit: int = limit
        self.connections: int = 0
        self.closed: bool = closed
        self.pid: int = os.getpid()
        self.run: RunGuard = RunGuard()
        self._clock = clock
        self.streams: StreamPlaces = StreamPlaces(limit)
        self.responses: set[StreamedResponse] = set()
        self.forgotten: deque[StreamedResponse] = deque()
        self._idle: list[Connection] = []
        self._made: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._limiter = Limiter(limit)
        self._mutex = threading.Lock()

    def enter(self, timeout: float) -> None:
        """Take a place, which `discard` or `give_back` frees again.

        Raises:
            APITimeoutError: none became free within `timeout` seconds.
        """
        if self.forgotten:
            self.close_forgotten()
        if not self._limiter.acquire(timeout):
            raise APITimeoutError(f"All {self.limit} connections stayed busy; the request was not sent.")

    def take(self, url: httpx.URL) -> Connection:
        """Return a connection to the origin of a URL; at the limit, the one that was idle longest is closed for it.

        Raises:
            ConfigurationError: (`client_closed`) the pool was closed while the request waited for its place.
        """
        if self.closed:
            raise closed_error()
        origin = origin_of(url)
        with self._mutex:
            for index in range(len(self._idle) - 1, -1, -1):
                if self._idle[index].origin == origin:
                    return self._idle.pop(index)
        connection = Connection(url, self._clock)
        self._made.add(connection)
        with self._mutex:
            evicted = self._idle.pop(0) if self._idle and self.connections >= self.limit else None
            self.connections += evicted is None
        if evicted is not None:
            evicted.close()
        return connection

    def give_back(self, connection: Connection) -> None:
        """Take back a connection whose response was read, and free its place; close those idle for too long."""
        if self.pid != os.getpid():
            return
        if connection.has_more_than_the_response():
            self.discard(connection)
            return
        now = connection.idle_since = self._clock.now()
        surplus: list[Connection] = []
        with self._mutex:
            self._idle.append(connection)
            while self._idle and (self.closed or self._idle[0].idle_since < now - KEEPALIVE_SECONDS):
                surplus.append(self._idle.pop(0))
        self._close(surplus)
        self._limiter.release()

    def discard(self, connection: Connection | None) -> None:
        """Close a connection that cannot be used again, if there is one, and free its place."""
        if self.pid != os.getpid():
            return
        if connection is not None:
            self._close([connection])
        self._limiter.release()

    def close_forgotten(self) -> None:
        """Close the responses that were abandoned without being closed."""
        while self.forgotten:
            try:
                response = self.forgotten.popleft()
            except IndexError:  # another thread was quicker
                return
            response.close()

    def clear(self) -> None:
        """Close the idle connections, and the long responses that nobody is reading right now."""
        self.close_forgotten()
        for response in list(self.responses):
            if not response.is_reading:
                response.close()
        with self._mutex:
            idle, self._idle = self._idle, []
        self._close(idle)

    def close_without_loop(self) -> None:
        """Close all connections although their event loop has ended, idle or not."""
        for response in (*self.responses, *self.forgotten):
            response.abandon()
        self.forgotten.clear()
        for connection in list(self._made):
            connection.close_without_loop()
        with self._mutex:
            self._idle.clear()
            self.connections = 0

    def describe(self) -> str:
        return f"{self.limit - self._limiter.free} busy, {len(self._idle)} idle, limit {self.limit}"

    def _close(self, connections: list[Connection]) -> None:
        for connection in connections:
            connection.close()
        if connections:
            with self._mutex:
                self.connections -= len(connections)


class OpenResponse:
    """A response that is read as it arrives; holds its connection until closed.

    Attributes:
        status_code: the HTTP status; this and the following are named as httpx names them.
        headers: a mapping that ignores case.
        is_closed: whether the connection was given back.
    """

    def __init__(self, response: httpcore.Response, stack: ConnectionStack, connection: Connection) -> None:
        self.status_code: int = response.status
        self.headers: Mapping[str, str] = httpx.Headers(response.headers)
        self.is_closed: bool = False
        self._response = response
        self._stack = stack
        self._connection = connection
        self._chunks: Iterator[bytes] | None = None

    @property
    def stream(self) -> OpenResponse:
        """The body, to be iterated over."""
        return self

    def __iter__(self) -> Iterator[bytes]:
        chunks = self._chunks
        if chunks is None:
            stream: Any = self._response.stream
            chunks = self._chunks = stream.__iter__()
        return chunks

    def extend(self, deadline: float) -> None:
        """Move the deadline for reading the body to another clock reading."""
        self._connection.attempt.deadline = deadline

    def close(self) -> None:
        """Give the connection back; it is kept if the whole response had arrived."""
        if self.is_closed:
            return
        self.is_closed = True
        try:
            self._abandon()
            self._response.close()
        except BaseException:
            self._stack.discard(self._connection)
            raise
        self._stack.give_back(self._connection)

    def _abandon(self) -> None:
        """Finish the generators that httpcore reads with; otherwise the event loop would have to finish them.

        They run on over what has already arrived; the first read of the socket then fails, which ends them all.
        """
        attempt = self._connection.attempt
        if not attempt.sent:
            return
        attempt.abandoned = True
        try:
            for _ in self:
                pass
        except Exception as exc:
            if not is_of_transport(exc):
                raise
            # Frames and errors that refer to each other would keep the caller's objects alive until garbage collection.
            for link in chain_of(exc):
                link.__traceback__ = None
