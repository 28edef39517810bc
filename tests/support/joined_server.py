"""The base of every stub that serves: when it is left, nothing of it runs any more.

The server of the standard library leaves the threads of its connections to themselves, and prints what went wrong in
them: a client that hangs up in the middle, as those of these tests do all the time, then fails whichever test happens
to run. Here every connection is ended and every thread joined; a cut connection is expected, and what else goes wrong
in a handler fails the test that started the server.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, TCPServer, ThreadingMixIn
from types import TracebackType
from typing import Any

from typing_extensions import Self


class QuietHandler(BaseHTTPRequestHandler):
    """A handler that prints nothing, and answers every method in one place."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Answer a request whose head has been read."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer a request."""
        self.answer()

    def do_POST(self) -> None:
        """Answer a request."""
        self.answer()

    def do_DELETE(self) -> None:
        """Answer a request."""
        self.answer()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class LineHandler(StreamRequestHandler):
    """A handler of connections on each of which one line is said, and nothing answered."""

    def handle(self) -> None:
        """Hear it."""
        if line := self.rfile.readline():
            self.hear(line.decode().rstrip("\r\n"))

    def hear(self, line: str) -> None:
        """Take a line."""
        raise NotImplementedError


class _Joined(ThreadingMixIn, TCPServer):
    """Serves inside `with`, each connection in a thread of its own, and is over when that is left."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 64

    def __init__(self, address: Any, handler: type[StreamRequestHandler]) -> None:
        super().__init__(address, handler)
        self._connections: set[socket.socket] = set()
        self._mutex = threading.Lock()
        self._errors: list[BaseException] = []
        self._accepting = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take note of a connection, and begin to serve it."""
        with self._mutex:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Take note that a connection is over."""
        with self._mutex:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep what is the handler's own fault: a connection that breaks is not."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self._errors.append(error)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()
        self._accepting.join()
        with self._mutex:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    # Not as TLS does it, which would take what it reads with away from the connection's own thread.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self.server_close()
        if self._errors and exc is None:
            raise self._errors[0]


class JoinedServer(_Joined, HTTPServer):
    """Serves on a free port of loopback, inside `with`.

    Args:
        handler: what answers.
        tls: the context to speak TLS with.

    Attributes:
        port: where it listens.
    """

    def __init__(self, handler: type[StreamRequestHandler], *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        if tls is not None:
            # The handshake is left to the connection's own thread: one that stalls must hold up nobody else.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self.server_address[1]


class JoinedUnixServer(_Joined):
    """Serves on a socket of this machine, inside `with`.

    Args:
        path: where it listens; nothing is there yet.
        handler: what answers.
    """

    address_family = socket.AF_UNIX

    def __init__(self, path: Path, handler: type[StreamRequestHandler]) -> None:
        super().__init__(str(path), handler)
