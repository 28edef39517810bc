"""Sockets under a deadline: every connect, TLS handshake, write and read gets what is left of the attempt's time.

httpx's timeouts are per operation, so a server that sends a byte now and then could hold a call for ever.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

from .._concurrency import AsyncClock, async_close_without_loop
from .._happy_eyeballs import async_connect
from .._resolver import async_resolve

WRITE_BYTES = 65536
"""How much is written under one timeout, so that the deadline also ends a peer that reads a large body slowly."""


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

    def __init__(self, clock: AsyncClock) -> None:
        self.clock = clock
        self.begin(None)

    def begin(self, deadline: float | None) -> None:
        self.deadline = deadline
        self.connected = self.sent = self.answered = self.abandoned = False
        self.handshakes = 0

    def clip(self, timeout: float | None, late: type[httpcore.TimeoutException]) -> float | None:
        """Cut an operation's timeout down to the time that is left.

        Raises:
            httpcore.TimeoutException: of the type `late`, if none is left.
        """
        if self.deadline is None:
            return timeout
        remaining = self.deadline - self.clock.now()
        if remaining <= 0:
            raise late("the attempt's time is over")
        return remaining if timeout is None or remaining < timeout else timeout


class AsyncDeadlineStream(httpcore.AsyncNetworkStream):
    """A socket whose every operation ends by the attempt's deadline."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, attempt: Attempt) -> None:
        self._stream = stream
        self._attempt = attempt

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        attempt = self._attempt
        if attempt.abandoned:
            raise httpcore.ReadError("the rest of the response is not wanted")
        data = await self._stream.read(max_bytes, attempt.clip(timeout, httpcore.ReadTimeout))
        if data:
            attempt.answered = True
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        attempt = self._attempt
        attempt.sent = True
        for start in range(0, len(buffer), WRITE_BYTES):
            clipped = attempt.clip(timeout, httpcore.WriteTimeout)
            await self._stream.write(buffer[start : start + WRITE_BYTES], clipped)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        clipped = self._attempt.clip(timeout, httpcore.ConnectTimeout)
        if server_hostname is not None:
            # A proxy is given an IPv6 address in the brackets of a URL; a certificate has it without.
            server_hostname = server_hostname.strip("[]")
        try:
            stream = await self._stream.start_tls(ssl_context, server_hostname, clipped)
        except ssl.SSLError as exc:
            # Older versions of httpcore let it through on one of the event loops; nothing was sent yet.
            raise httpcore.ConnectError(str(exc)) from exc
        self._attempt.handshakes += 1
        return AsyncDeadlineStream(stream, self._attempt)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class AsyncDeadlineBackend(httpcore.AsyncNetworkBackend):
    """Opens sockets that obey the attempt's deadline, one after the other, and can close the last one by force."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend, attempt: Attempt) -> None:
        self._backend = backend
        self._attempt = attempt
        self._opened: httpcore.AsyncNetworkStream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        attempt = self._attempt
        clipped = attempt.clip(timeout, httpcore.ConnectTimeout)
        try:
            addresses = await async_resolve(host, port, clipped)
        except TimeoutError as exc:
            raise httpcore.ConnectTimeout(str(exc)) from exc
        except (OSError, UnicodeError) as exc:
            raise httpcore.ConnectError(f"the name {host} cannot be resolved: {exc}") from exc
        clipped = attempt.clip(timeout, httpcore.ConnectTimeout)
        try:
            stream = await async_connect(self._backend, addresses, port, clipped, local_address, socket_options)
        except BaseException as exc:
            interrupt = _interrupt_in(exc)
            if interrupt is None:
                raise
            raise interrupt from None
        self._opened = stream
        attempt.connected = True
        return AsyncDeadlineStream(stream, attempt)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        clipped = self._attempt.clip(timeout, httpcore.ConnectTimeout)
        stream = self._opened = await self._backend.connect_unix_socket(path, clipped, socket_options)
        self._attempt.connected = True
        return AsyncDeadlineStream(stream, self._attempt)

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)

    def close_without_loop(self) -> None:
        """Close the last socket although its event loop has ended."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            async_close_without_loop(opened)

    async def aclose(self) -> None:
        """Close the last socket, if need be again: httpcore forgets one whose TLS handshake was cancelled."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            await opened.aclose()


def _interrupt_in(exc: BaseException) -> KeyboardInterrupt | None:
    """The Ctrl-C in an exception group of one, or None: trio tries the addresses of a name in tasks of their own."""
    members: tuple[BaseException, ...] = getattr(exc, "exceptions", ())
    if len(members) != 1:
        return None
    return members[0] if isinstance(members[0], KeyboardInterrupt) else _interrupt_in(members[0])
