"""One connection to one server, by httpcore: opened when it is needed, and again when it can be used no more."""

from __future__ import annotations

import ssl
from types import FunctionType

from .._concurrency import AsyncClock
from .._httpx import has_unread_bytes, httpcore, httpx
from .._logs import logger
from .._proxies import BracketedURL, environment_proxy, for_httpcore, may_be_of_proxy, needs_brackets, through_proxy
from .._requests import Request, address_of
from .._tls import tls_context, unused_context
from .._transport_errors import DEAD_CONNECTION, means
from .network import AsyncDeadlineBackend, Attempt

KEEPALIVE_SECONDS = 30.0

Origin = tuple[str, str, "int | None"]


def origin_of(url: httpx.URL) -> Origin:
    """What two URLs have in common that the same connection serves."""
    return url.scheme, url.host, url.port


class _Instrumentation:
    """Whether somebody has put something around httpx or httpcore.

    Tracers and mocks replace the methods of their classes, before or after this module is loaded. What they replace is
    not on the way of a request here, which is shorter; but once they have, it is.
    """

    def __init__(self) -> None:
        self._methods: tuple[object, object] = (None, None)
        self._is_there = False

    def is_there(self) -> bool:
        of_httpx = httpx.AsyncHTTPTransport.handle_async_request
        of_httpcore = httpcore.AsyncConnectionPool.handle_async_request
        if of_httpx is not self._methods[0] or of_httpcore is not self._methods[1]:
            self._methods = of_httpx, of_httpcore
            self._is_there = not (
                _is_original(of_httpx, httpx.AsyncHTTPTransport.__aenter__)
                and _is_original(of_httpcore, httpcore.AsyncConnectionPool.__aenter__)
            )
        return self._is_there


def _is_original(method: object, neighbour: object) -> bool:
    """Whether a method was defined where another of its class was."""
    # A proxy of wrapt is an instance of what it wraps, and has its globals; but it is of another type.
    return type(method) is FunctionType and method.__globals__ is getattr(neighbour, "__globals__", None)


_instrumentation = _Instrumentation()


class _AsyncInstrumentedTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over our own sockets.

    Args:
        pool: httpcore's, to be used instead of one of its own. Should httpx give its attribute another name one day,
            it will use its own: whatever is put around it goes on working, only without our deadlines.
        context: for https.
    """

    def __init__(self, pool: httpcore.AsyncConnectionPool, context: ssl.SSLContext) -> None:
        super().__init__(verify=context, trust_env=False)
        self._pool = pool


class AsyncConnection:
    """A connection to one origin, for one request at a time.

    Attributes:
        origin: scheme, host and port.
        attempt: what its sockets know of the request under way.
        idle_since: the clock reading at which it was last given back.
    """

    __slots__ = (
        "__weakref__",
        "_backend",
        "_connection",
        "_factory",
        "_is_new",
        "_proxy",
        "_transport",
        "_url",
        "attempt",
        "idle_since",
        "origin",
    )

    def __init__(self, url: httpx.URL, clock: AsyncClock) -> None:
        self.origin: Origin = origin_of(url)
        self._url = url
        self.attempt: Attempt = Attempt(clock)
        self.idle_since: float = 0.0
        self._transport: _AsyncInstrumentedTransport | None = None
        self._open()

    async def send(self, request: Request) -> httpcore.Response:
        """Send a request; return the response, its body still to be read.

        The server may have closed the connection while it was idle. That says nothing about this request, so it is sent
        again at once on a fresh connection, if it is repeatable and not a byte of a response has arrived.

        A failure on the way through a proxy names it.
        """
        if not (self._is_new or self._is_usable()):
            self.close()
            self._open()
        proxy = self._proxy
        if proxy is None:
            return await self._send_again_if_dead(request)
        try:
            return await self._send_again_if_dead(request)
        except Exception as exc:
            if not may_be_of_proxy(exc):
                raise
            attempt, url = self.attempt, request.url
            # A connection that was used before is open; over a new one, https begins with a handshake with the server.
            handshakes = (url.scheme == "https") * (1 + (proxy.url.scheme == "https"))
            is_open = attempt.sent and not (attempt.connected and attempt.handshakes < handshakes)
            is_connected = attempt.connected or attempt.sent
            raise through_proxy(exc, proxy, url, is_connected=is_connected, is_open=is_open) from exc

    async def _send_again_if_dead(self, request: Request) -> httpcore.Response:
        attempt = self.attempt
        attempt.begin(request.deadline)
        try:
            return await self._send(request)
        except Exception as exc:
            is_stale = attempt.sent and not (attempt.connected or attempt.answered)
            if not (is_stale and request.repeatable and means(exc, DEAD_CONNECTION)):
                raise
        logger.debug("the server had closed an idle connection, sending again on a new one")
        self.close()
        self._open()
        attempt.begin(request.deadline)
        return await self._send(request)

    async def _send(self, request: Request) -> httpcore.Response:
        self._is_new = False
        url = self._as_sent(request.url)
        if _instrumentation.is_there():
            return await self._send_instrumented(request, url)
        address = request.address if url is request.url else address_of(url)
        return await self._connection.handle_async_request(
            httpcore.Request(request.method, address, headers=request.headers, content=request.body)
        )

    async def _send_instrumented(self, request: Request, url: httpx.URL) -> httpcore.Response:
        """Send through httpx's transport: somebody has put something around it, such as a tracer or a mock."""
        if self._transport is None:
            self._transport = _AsyncInstrumentedTransport(self._factory, self._context())
        deadline, now = request.deadline, self.attempt.clock.now()
        seconds = None if deadline is None else max(deadline - now, 0.0)
        response = await self._transport.handle_async_request(
            httpx.Request(
                request.method,
                url,
                headers=request.headers,
                stream=request.body,
                extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), seconds)},
            )
        )
        return httpcore.Response(response.status_code, headers=response.headers.raw, content=response.stream)

    def has_more_than_the_response(self) -> bool:
        """Whether the server sent more than one response; the next request would mistake the rest for its own.

        Where that cannot be told, it is assumed, so that the connection is closed after each response.
        """
        return has_unread_bytes(self._used())

    def close(self) -> None:
        """Close the socket, whatever the state of what is above it."""
        self._backend.close()

    def close_without_loop(self) -> None:
        """Close the socket although its event loop has ended; this connection cannot be used again."""
        self._backend.close_without_loop()

    def _open(self) -> None:
        scheme, host, port = self.origin
        proxy = self._proxy = environment_proxy(scheme, host, port)
        self._backend = AsyncDeadlineBackend(self.attempt)
        # As a factory only: httpcore's own pool loses connections of tasks that are cancelled (encode/httpcore#1093).
        self._factory = httpcore.AsyncConnectionPool(
            ssl_context=self._context(),
            proxy=None if proxy is None else for_httpcore(proxy),
            max_connections=1,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=self._backend,
        )
        self._connection = self._factory.create_connection(address_of(self._as_sent(self._url)).origin)
        self._transport = None
        self._is_new = True

    def _is_usable(self) -> bool:
        """Whether another request can go by this connection."""
        used = self._used()
        is_right_way = (self._transport is not None) == _instrumentation.is_there()
        return is_right_way and used.is_idle() and not used.has_expired()

    def _used(self) -> httpcore.AsyncConnectionInterface:
        """The connection by which the last request went."""
        connections = [] if self._transport is None else self._factory.connections
        return connections[0] if connections else self._connection

    def _context(self) -> ssl.SSLContext:
        return tls_context() if self.origin[0] == "https" else unused_context()

    def _as_sent(self, url: httpx.URL) -> httpx.URL:
        return BracketedURL(url) if self._proxy is not None and needs_brackets(self._proxy, url.host) else url

    def __repr__(self) -> str:
        scheme, host, port = self.origin
        return f"<{type(self).__name__} {scheme}://{host}{'' if port is None else f':{port}'}>"
