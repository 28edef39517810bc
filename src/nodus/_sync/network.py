# Generated from src/nodus/_async/network.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Sockets under a deadline: every connect, TLS handshake, write and read gets what is left of the attempt's time.

httpx's timeouts are per operation, so a server that drips a byte now and then could hold a call for ever.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

from .._concurrency import Clock


class Attempt:
    """What one connection's sockets know of the request that they carry now.

    Attributes:
        deadline: the clock reading at which it must be over, or None.
        connected: whether the connection was opened for this request.
        answered: whether a byte of an answer has arrived.
    """

    __slots__ = ("answered", "clock", "connected", "deadline")

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.begin(None)

    def begin(self, deadline: float | None) -> None:
        self.deadline = deadline
        self.connected = False
        self.answered = False

    def clip(self, timeout: float | None) -> float | None:
        """Cut an operation's timeout down to the time that is left; a hair above zero, as 0 would mean non-blocking."""
        if self.deadline is None:
            return timeout
        remaining = max(self.deadline - self.clock.now(), 1e-6)
        return remaining if timeout is None else min(timeout, remaining)


class DeadlineStream(httpcore.NetworkStream):
    """A socket whose every operation ends with the attempt."""

    def __init__(self, stream: httpcore.NetworkStream, attempt: Attempt) -> None:
        self._stream = stream
        self._attempt = attempt

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._stream.read(max_bytes, self._attempt.clip(timeout))
        if data:
            self._attempt.answered = True
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._attempt.clip(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._attempt.clip(timeout))
        return DeadlineStream(stream, self._attempt)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class DeadlineBackend(httpcore.NetworkBackend):
    """Opens sockets that end with the attempt."""

    def __init__(self, backend: httpcore.NetworkBackend, attempt: Attempt) -> None:
        self._backend = backend
        self._attempt = attempt

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        clipped = self._attempt.clip(timeout)
        stream = self._backend.connect_tcp(host, port, clipped, local_address, socket_options)
        self._attempt.connected = True
        return DeadlineStream(stream, self._attempt)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        stream = self._backend.connect_unix_socket(path, self._attempt.clip(timeout), socket_options)
        self._attempt.connected = True
        return DeadlineStream(stream, self._attempt)

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)
