"""Sockets under a deadline: connecting, the TLS handshake, every write and every read end with the attempt's time.

httpcore's timeouts are per operation, so a server that sends a byte now and then could hold a call for ever. They are
not used: what counts is `Attempt.deadline`.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from typing import Any

from .._concurrency import AsyncClock
from .._happy_eyeballs import async_connect
from .._httpx import httpcore
from .._resolver import async_resolve
from .._sockets import async_close, async_receive, async_send, is_readable
from .tls import AsyncTLS


class Attempt:
    """What one connection's sockets know of the request that they are carrying.

    Attributes:
        deadline: the clock reading at which it must be over, or None.
        connected: whether the connection was opened for this request.
        handshakes: how many TLS handshakes were made for it.
        sent: whether anything was written.
        answered: whether a byte of a response has arrived.
        abandoned: whether nobody wants the rest of the response.
    """

    __slots__ = ("abandoned", "answered", "clock", "connected", "deadline", "handshakes", "sent")

    deadline: float | None
    connected: bool
    handshakes: int
    sent: bool
    answered: bool
    abandoned: bool

    def __init__(self, clock: AsyncClock) -> None:
        self.clock: AsyncClock = clock
        self.begin(None)

    def begin(self, deadline: float | None) -> None:
        self.deadline = deadline
        self.connected = self.sent = self.answered = self.abandoned = False
        self.handshakes = 0

    def remaining(self) -> float | None:
        """Return how many seconds are left; None without a deadline.

        Raises:
            TimeoutError: none are.
        """
        if self.deadline is None:
            return None
        seconds = self.deadline - self.clock.now()
        if seconds <= 0:
            raise TimeoutError("the attempt's time is over")
        return seconds


class AsyncSocket:
    """A connected socket whose reads and writes end by the attempt's deadline."""

    ssl_object: ssl.SSLObject | None = None

    def __init__(self, connection: socket.socket, attempt: Attempt) -> None:
        self.connection = connection
        self.attempt = attempt

    async def receive(self, max_bytes: int) -> bytes:
        """Return the next bytes; none at the end."""
        return await async_receive(self.connection, max_bytes, self.attempt.remaining())

    async def send(self, data: bytes) -> None:
        """Write all bytes."""
        await async_send(self.connection, data, self.attempt.remaining())

    @property
    def is_readable(self) -> bool:
        """Whether something has come that was not read: bytes, or the end."""
        return is_readable(self.connection)


class AsyncDeadlineStream(httpcore.AsyncNetworkStream):
    """What httpcore reads and writes: a socket, with any TLS over it, under the attempt's deadline."""

    def __init__(self, channel: AsyncSocket | AsyncTLS, connection: socket.socket, attempt: Attempt) -> None:
        self._channel = channel
        self._connection = connection
        self._attempt = attempt

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        attempt = self._attempt
        if attempt.abandoned:
            raise httpcore.ReadError("the rest of the response is not wanted")
        try:
            data = await self._channel.receive(max_bytes)
        except TimeoutError as exc:
            raise httpcore.ReadTimeout(str(exc)) from exc
        except OSError as exc:
            raise httpcore.ReadError(str(exc)) from exc
        if data:
            attempt.answered = True
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._attempt.sent = True
        if not buffer:
            return
        try:
            await self._channel.send(buffer)
        except TimeoutError as exc:
            raise httpcore.WriteTimeout(str(exc)) from exc
        except OSError as exc:
            raise httpcore.WriteError(str(exc)) from exc

    async def aclose(self) -> None:
        async_close(self._connection)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        if server_hostname is not None:
            # A proxy is given an IPv6 address in the brackets of a URL; a certificate has it without.
            server_hostname = server_hostname.strip("[]")
        try:
            tls = AsyncTLS(self._channel, ssl_context, server_hostname)
            await tls.handshake()
        except TimeoutError as exc:
            async_close(self._connection)
            raise httpcore.ConnectTimeout(str(exc)) from exc
        except (OSError, ValueError) as exc:
            async_close(self._connection)
            raise httpcore.ConnectError(str(exc)) from exc
        self._attempt.handshakes += 1
        return AsyncDeadlineStream(tls, self._connection, self._attempt)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._channel.is_readable
        if info == "ssl_object":
            return self._channel.ssl_object
        if info == "socket":
            return self._connection
        if info == "client_addr":
            return self._connection.getsockname()
        if info == "server_addr":
            return self._connection.getpeername()
        return None


class AsyncDeadlineBackend(httpcore.AsyncNetworkBackend):
    """Opens sockets that obey the attempt's deadline, one after the other, and can close the last one by force."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._opened: socket.socket | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host by the resolver's addresses; of the arguments, `host` and `port` count."""
        attempt = self._attempt
        self.close()
        try:
            addresses = await async_resolve(host, port, attempt.remaining())
        except TimeoutError as exc:
            raise httpcore.ConnectTimeout(str(exc)) from exc
        except (OSError, UnicodeError) as exc:
            raise httpcore.ConnectError(f"the name {host} cannot be resolved: {exc}") from exc
        try:
            opened = await async_connect(addresses, port, attempt.remaining())
        except TimeoutError as exc:
            raise httpcore.ConnectTimeout(str(exc)) from exc
        except OSError as exc:
            raise httpcore.ConnectError(str(exc)) from exc
        except BaseException as exc:
            interrupt = _interrupt_in(exc)
            if interrupt is None:
                raise
            raise interrupt from None
        self._opened = opened
        attempt.connected = True
        return AsyncDeadlineStream(AsyncSocket(opened, attempt), opened, attempt)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: no setting leads here."""
        raise httpcore.ConnectError(f"the SDK does not connect to Unix sockets, such as {path}")

    def close_without_loop(self) -> None:
        """Close the last socket although its event loop has ended."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            opened.close()

    def close(self) -> None:
        """Close the last socket, if need be again: httpcore forgets one whose TLS handshake was cancelled."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            async_close(opened)


def _interrupt_in(exc: BaseException) -> KeyboardInterrupt | None:
    """The Ctrl-C in an exception group, or None: the addresses of a name are tried in tasks of their own."""
    if isinstance(exc, KeyboardInterrupt):
        return exc
    members: tuple[BaseException, ...] = getattr(exc, "exceptions", ())
    return next(filter(None, map(_interrupt_in, members)), None)
