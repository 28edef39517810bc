"""A lane leads to one server: an httpx transport that never holds more than one connection, and never queues."""

from __future__ import annotations

import httpx

from .._concurrency import AsyncClock
from .._logs import logger
from .._proxies import BracketedURL, environment_proxy, needs_brackets, through_proxy
from .._tls import tls_context, unused_context
from .network import AsyncDeadlineBackend, Attempt

KEEPALIVE_SECONDS = 30.0

_DEAD_CONNECTION = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.CloseError)

Origin = tuple[str, str, "int | None"]


class AsyncLane:
    """A transport to one origin, with one connection at most.

    Attributes:
        origin: scheme, host and port.
        attempt: what its sockets know of the request under way.
        idle_since: the clock reading at which it was last given back.
    """

    __slots__ = ("__weakref__", "_backend", "_proxy", "_transport", "attempt", "idle_since", "origin")

    def __init__(self, origin: Origin, clock: AsyncClock) -> None:
        self.origin = origin
        self.attempt = Attempt(clock)
        self.idle_since = 0.0
        self._open()

    async def send(self, request: httpx.Request, *, deadline: float | None, repeatable: bool) -> httpx.Response:
        """Send a request; return the response, its body still to be read.

        The server may have closed the connection while it was idle. That says nothing about this request, so it is sent
        again at once on a fresh connection, if it is repeatable and not a byte of a response has arrived.
        """
        attempt = self.attempt
        attempt.begin(deadline)
        if self._proxy is not None:
            return await self._send_through(self._proxy, request, deadline=deadline, repeatable=repeatable)
        try:
            return await self._transport.handle_async_request(request)
        except _DEAD_CONNECTION:
            if not self._may_send_again(repeatable):
                raise
        return await self._send_again(request, deadline)

    async def _send_through(
        self, proxy: httpx.Proxy, request: httpx.Request, *, deadline: float | None, repeatable: bool
    ) -> httpx.Response:
        """Do as `send` does; a failure names the proxy."""
        url = request.url
        if needs_brackets(proxy, url.host):
            request.url = BracketedURL(url)
        try:
            try:
                return await self._transport.handle_async_request(request)
            except _DEAD_CONNECTION:
                if not self._may_send_again(repeatable):
                    raise
            return await self._send_again(request, deadline)
        except Exception as exc:
            attempt = self.attempt
            # A connection that was used before is open; over a new one, https begins with a handshake with the server.
            handshakes = (url.scheme == "https") * (1 + (proxy.url.scheme == "https"))
            is_open = attempt.sent and not (attempt.connected and attempt.handshakes < handshakes)
            named = through_proxy(exc, proxy, url, is_connected=attempt.connected or attempt.sent, is_open=is_open)
            if named is exc:
                raise
            raise named from exc

    def _may_send_again(self, repeatable: bool) -> bool:
        attempt = self.attempt
        return repeatable and attempt.sent and not attempt.connected and not attempt.answered

    async def _send_again(self, request: httpx.Request, deadline: float | None) -> httpx.Response:
        logger.debug("the server had closed an idle connection, sending again on a new one")
        await self.aclose()
        self._open()
        self.attempt.begin(deadline)
        return await self._transport.handle_async_request(request)

    def has_more_than_the_answer(self) -> bool:
        """Whether the server sent more than one response; the next request would mistake the rest for its own."""
        for connection in self._transport._pool.connections:
            inner: object = connection
            while (deeper := getattr(inner, "_connection", None)) is not None:
                inner = deeper
            parser = getattr(inner, "_h11_state", None)
            if parser is not None and parser.trailing_data[0]:
                return True
        return False

    async def aclose(self) -> None:
        """Close the connection, whatever its state. If that fails, it is gone all the same."""
        try:
            await self._transport.aclose()
        except Exception as exc:
            logger.debug("closing a connection: %r", exc)
        finally:
            await self._backend.aclose()

    def close_without_loop(self) -> None:
        """Close the connection although its event loop has ended; this transport cannot be used again."""
        self._backend.close_without_loop()

    def _open(self) -> None:
        scheme, host, port = self.origin
        self._proxy = environment_proxy(scheme, host, port)
        self._transport = httpx.AsyncHTTPTransport(
            verify=tls_context() if scheme == "https" else unused_context(),
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE_SECONDS),
            proxy=self._proxy,
        )
        # httpx takes no network backend, but httpcore's pool behind it does; only through it can every read be bounded.
        pool = self._transport._pool
        self._backend = pool._network_backend = AsyncDeadlineBackend(pool._network_backend, self.attempt)

    def __repr__(self) -> str:
        scheme, host, port = self.origin
        return f"<{type(self).__name__} {scheme}://{host}{'' if port is None else f':{port}'}>"


async def close_all(lanes: list[AsyncLane]) -> None:
    """Close every lane, even if a cancellation comes in between; that is raised once all are closed."""
    interruption: BaseException | None = None
    for lane in lanes:
        try:
            await lane.aclose()
        except BaseException as exc:
            interruption = exc
    if interruption is not None:
        raise interruption
