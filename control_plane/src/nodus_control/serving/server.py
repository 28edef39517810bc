"""Serves an application on a socket: uvicorn in a thread of its own, started, awaited and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Collection
from importlib.util import find_spec
from typing import Any

import anyio
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from ..api.faults import DROP
from ..api.requests import MOST_THREADS
from ..concurrency.threads import keep_threads, release_threads
from .connections import Connections
from .descriptors import limit_now, most_connections
from .http_protocol import BoundedProtocol, watch

START_SECONDS = 60.0
SHUTDOWN_SECONDS = 1.0
BACKLOG = 2048
ACCEPTED_AT_ONCE = 64
REPEAT_SECONDS = 60.0

_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

_HAS_UVLOOP = find_spec("uvloop") is not None

_logger = logging.getLogger(__name__)


class ServerFailed(Exception):
    """The server could not start; the message says why."""


class _Uvicorn(uvicorn.Server):
    """uvicorn's server, which also keeps its connections within bounds, and its log short."""

    def __init__(self, config: uvicorn.Config, connections: Connections[BoundedProtocol]) -> None:
        super().__init__(config)
        self._kept = connections

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        asyncio.get_running_loop().set_exception_handler(_Complaints())
        await super().startup(sockets=sockets)
        for each in sockets or ():
            # So many wait in the system's queue; asyncio would also accept so many before it does anything else.
            each.listen(BACKLOG)
        watch(self._kept)
        keep_threads(MOST_THREADS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and end what was kept for answering."""
        # uvicorn waits for all connections to close, and would tell a late one, accepted but not yet made, nothing.
        self._kept.take_no_more()
        try:
            await super().shutdown(sockets=sockets)
        finally:
            release_threads()


class _Complaints:
    """Logs what an event loop complains about; that no connection can be accepted, once a minute."""

    def __init__(self) -> None:
        self._said_at = -REPEAT_SECONDS

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle what nobody else handled."""
        exc = context.get("exception")
        if not isinstance(exc, OSError) or exc.errno not in _EXHAUSTED:
            loop.default_exception_handler(context)
        elif loop.time() - self._said_at >= REPEAT_SECONDS:
            self._said_at = loop.time()
            _logger.error("no connection can be accepted right now: %s; raise the limit of open files", exc.strerror)


class _Requests:
    """The requests under way in an event loop, so that stopping can cut those that do not end by themselves."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._is_cutting = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._is_cutting:
                raise
            # The client must not take what it has for the whole response.
            scope["state"][DROP](False)
            while (await receive())["type"] != "http.disconnect":
                pass

    def cut_after(self, seconds: float, tasks: Collection[asyncio.Task[None]]) -> None:
        """End those that are still under way after this many seconds; called from another thread."""
        if self._loop is not None:
            # A loop that is closed by now has nothing left to cut.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._loop.call_later, seconds, self._cut, tasks)

    def _cut(self, tasks: Collection[asyncio.Task[None]]) -> None:
        self._is_cutting = True
        for task in tasks:
            task.cancel()


class Server:
    """Serves an application on one address until it is stopped."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        listening: socket.socket | None = None,
        end_streams: Callable[[], None] = lambda: None,
    ) -> None:
        """Bind the address; port 0 picks a free one.

        Args:
            app: the ASGI application.
            host: an address or name of this machine.
            port: 0 to 65535.
            listening: a socket that is bound already, instead of host and port.
            end_streams: called when it stops, to end responses that would otherwise go on.

        Raises:
            ServerFailed: the address is taken or not this machine's.
        """
        self._socket = bind(host, port) if listening is None else listening
        self.port: int = self._socket.getsockname()[1]
        self.base_url = base_url_of(host, self._socket)
        self._requests = _Requests(app)
        self._end_streams = end_streams
        connections: Connections[BoundedProtocol] = Connections(most_connections(limit_now()))
        config = uvicorn.Config(
            self._requests,
            http=type("_Protocol", (BoundedProtocol,), {"connections_kept": connections}),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=ACCEPTED_AT_ONCE,
            timeout_keep_alive=75,
        )
        self._server = _Uvicorn(config, connections)
        self._thread = threading.Thread(target=self._run, name="nodus-http", daemon=True)
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Serve, in a thread; return once requests are answered.

        Raises:
            ServerFailed: it ended, or did not answer within a minute.
        """
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise ServerFailed(f"the server did not start: {self._failure or 'no answer'}")
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop: end streams at once, and give other requests a second before they are cut."""
        self._server.should_exit = True
        self._end_streams()
        # From here on, so that streams have that second too, however long it took to tell them.
        self._requests.cut_after(SHUTDOWN_SECONDS, self._server.server_state.tasks)
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        try:
            with contextlib.suppress(asyncio.CancelledError):
                # Not uvicorn's own `run`: anyio would then look for the kind of event loop at every call.
                anyio.run(self._server.serve, [self._socket], backend_options={"use_uvloop": _HAS_UVLOOP})
        except BaseException as exc:  # the thread that waits in `start` reports it
            self._failure = exc


def base_url_of(host: str, bound: socket.socket) -> str:
    """Return the base URL of a server that listens on a socket."""
    return f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"


def bind(host: str, port: int) -> socket.socket:
    """Bind a socket; port 0 picks a free one.

    Raises:
        ServerFailed: the address is taken or not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise ServerFailed(
                f"cannot listen on {host} port {port}, because it is in use: is another playground or control plane "
                "running? Stop it, or choose another port; --port 0 picks a free one"
            ) from exc
        raise ServerFailed(f"cannot listen on {host} port {port}: {exc}") from exc
    except OverflowError as exc:
        raise ServerFailed(f"cannot listen on {host} port {port}: {exc}") from exc
    return bound
