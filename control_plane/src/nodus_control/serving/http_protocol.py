"""uvicorn's HTTP protocol, with bounds: how large a request's head is, how long it takes to come, who gives way.

uvicorn has none of these: it holds what is unfinished for ever, whatever its size.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ..api.envelope import new_request_id
from ..api.faults import DROP
from ..errors import ApiError
from .connections import BODY_SECONDS, HEAD_SECONDS, Connections

MAX_HEAD_BYTES = 32 * 1024
MAX_FIELDS = 100
SWEEP_SECONDS = 0.5

_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}

_logger = logging.getLogger("nodus_control.http")
# Whoever sends garbage does not fill the log with it.
_logger.addFilter(lambda record: record.levelno >= logging.ERROR)


class _Refused(Exception):
    """The request is answered for, and the connection ends."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection; `connections` is set by a subclass, for each server."""

    connections_kept: Connections[BoundedProtocol]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _logger
        self._head_bytes = 0
        self._completed = 0
        self._in_head = True
        self._is_whole = False
        self._names_key = False
        self._refusal: ApiError | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)

        def drop(is_orderly: bool) -> None:
            # Aborting discards what is still to be written; closing sends it first.
            transport.close() if is_orderly else transport.abort()

        self.app_state: dict[str, Any] = {**self.app_state, DROP: drop}
        address = self.client[0] if self.client else ""
        _abort(self.connections_kept.opened(self, address, time.monotonic() + HEAD_SECONDS))

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections_kept.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_whole = self._is_whole
        if was_whole:
            # Something after a request: the next one, even if no more than an empty line has come of it.
            self._is_whole, self._in_head, self._head_bytes = False, True, 0
        before, completed = self._head_bytes, self._completed
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            if completed == self._completed:
                # A field that goes on and on is not shown to `on_header` before its end.
                self._head_bytes = max(self._head_bytes, before + len(data))
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refusal = _head_too_large()
                self.send_400_response("")
        if self._is_whole:
            if self._is_answering:
                self.connections_kept.busy(self)
        elif was_whole:
            _abort(self.connections_kept.expects(self, time.monotonic() + HEAD_SECONDS))

    def on_message_begin(self) -> None:
        self._is_whole, self._in_head, self._head_bytes, self._names_key = False, True, 0, False
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        if len(self.headers) >= MAX_FIELDS:
            self._refuse(_head_too_large())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        names = [name for name, _ in self.headers]
        parser: Any = self.parser  # gone only when the connection is
        if parser.get_http_version() == "1.1" and names.count(b"host") != 1:
            # RFC 9112, section 3.2.
            self._refuse(ApiError(400, "invalid_http", "An HTTP/1.1 request has exactly one Host header."))
        self._names_key = b"authorization" in names
        super().on_headers_complete()
        if b"content-length" in names or b"transfer-encoding" in names:
            seconds = BODY_SECONDS if self._names_key else HEAD_SECONDS
            _abort(self.connections_kept.expects(self, time.monotonic() + seconds))

    def on_message_complete(self) -> None:
        self._is_whole = True
        self._completed += 1
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.cycle.response_complete:
            return  # that was one of several, which came together
        if self._is_whole:
            self.connections_kept.idle(self)
        elif self._in_head:
            _abort(self.connections_kept.expects(self, time.monotonic() + HEAD_SECONDS))

    def give_up(self) -> None:
        """End a connection whose request did not come in time."""
        is_answering = self._is_answering
        if self._in_head and is_answering:
            # The next request has begun to come while this one is answered: it starts again afterwards.
            self.connections_kept.busy(self)
        elif self._in_head or not self._names_key or not is_answering or self.cycle.response_started:
            self.transport.abort()
        else:
            self._refusal = ApiError(
                408, "request_timeout", f"The body did not come whole within {BODY_SECONDS:.0f} s: send it again."
            )
            self.send_400_response("")

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be handed to an application in the same form as every other error; `msg` adds nothing."""
        if not (self._is_answering and self.cycle.response_started):
            self.transport.write(_written(self._refusal or _not_http()))
        self.transport.close()

    @property
    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request, whatever its type says
        return cycle is not None and not cycle.response_complete

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_head_too_large())

    def _refuse(self, error: ApiError) -> None:
        """Stop reading: the parser hands this to `data_received` as its own error."""
        self._refusal = error
        raise _Refused


def watch(connections: Connections[BoundedProtocol]) -> None:
    """End, from now on, the connections of this event loop whose requests do not come in time."""
    loop = asyncio.get_running_loop()

    def sweep() -> None:
        for connection in connections.overdue(time.monotonic()):
            connections.closed(connection) if connection.transport.is_closing() else connection.give_up()
        loop.call_later(SWEEP_SECONDS, sweep)

    sweep()


def _abort(connections: Iterable[BoundedProtocol]) -> None:
    for connection in connections:
        connection.transport.abort()


def _head_too_large() -> ApiError:
    return ApiError(
        431,
        "headers_too_large",
        f"The request's head has more than {MAX_HEAD_BYTES} bytes or {MAX_FIELDS} fields: send less.",
    )


def _not_http() -> ApiError:
    return ApiError(400, "invalid_http", "This is not an HTTP request: its first line or a header cannot be read.")


def _written(error: ApiError) -> bytes:
    response = error.response(request_id := new_request_id())
    headers = [*response.raw_headers, (b"x-request-id", request_id.encode()), (b"connection", b"close")]
    status = b"HTTP/1.1 %d %s" % (error.status, _REASONS[error.status])
    lines = [status, *(name + b": " + value for name, value in headers), b"", bytes(response.body)]
    return b"\r\n".join(lines)
