"""Connecting to the first of several addresses that answers, in both worlds alike (RFC 8305, "Happy Eyeballs").

An attempt that has not succeeded after a quarter of a second goes on, but the next one begins beside it. So a dead
address, such as that of a broken IPv6 network, costs that quarter, not the whole timeout.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import selectors
import socket
from collections.abc import Iterable, Sequence
from typing import Any

import anyio
import httpcore
from httpcore._backends.sync import SyncStream

from ._concurrency import Clock

ATTEMPT_DELAY_SECONDS = 0.25
"""How long one attempt has before the next begins beside it: RFC 8305's "Connection Attempt Delay"."""

_UNDER_WAY = frozenset((errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN))


async def async_connect(
    backend: httpcore.AsyncNetworkBackend,
    addresses: Sequence[str],
    port: int,
    timeout: float | None,
    local_address: str | None = None,
    socket_options: Iterable[Any] | None = None,
) -> httpcore.AsyncNetworkStream:
    """Connect to whichever of the addresses answers first.

    Args:
        backend: opens the connections.
        addresses: one or more, in the order in which to try them.
        port: the port.
        timeout: how many seconds all attempts together may take, or None.
        local_address: the address to connect from, or None.
        socket_options: arguments of `setsockopt`.

    Raises:
        httpcore.ConnectError: every attempt failed.
        httpcore.ConnectTimeout: the time is over.
    """
    if len(addresses) == 1:
        return await backend.connect_tcp(addresses[0], port, timeout, local_address, socket_options)
    now = Clock().now
    deadline = None if timeout is None else now() + timeout
    connected: list[httpcore.AsyncNetworkStream] = []
    errors: list[Exception] = []

    async def attempt(address: str, over: anyio.Event) -> None:
        remaining = None if deadline is None else max(0.0, deadline - now())
        try:
            stream = await backend.connect_tcp(address, port, remaining, local_address, socket_options)
        except Exception as exc:
            errors.append(exc)
        else:
            connected.append(stream)
            attempts.cancel_scope.cancel()
        finally:
            over.set()

    try:
        async with anyio.create_task_group() as attempts:
            for address in addresses:
                over = anyio.Event()
                attempts.start_soon(attempt, address, over)
                with anyio.move_on_after(ATTEMPT_DELAY_SECONDS):
                    await over.wait()
        if not connected:
            raise _worst(errors)
        return connected.pop(0)
    finally:
        errors.clear()  # their frames refer to the list, and would keep everything alive until garbage collection
        # Two may succeed at the same moment, or one just as the whole call is cancelled.
        with anyio.CancelScope(shield=bool(connected)):
            for stream in connected:
                await stream.aclose()


def connect(
    backend: httpcore.NetworkBackend,
    addresses: Sequence[str],
    port: int,
    timeout: float | None,
    local_address: str | None = None,
    socket_options: Iterable[Any] | None = None,
) -> httpcore.NetworkStream:
    """Connect to whichever of the addresses answers first; see `async_connect`."""
    if len(addresses) == 1:
        return backend.connect_tcp(addresses[0], port, timeout, local_address, socket_options)
    race = _Race(port, local_address)
    try:
        winner = race.run(addresses, timeout)
    finally:
        race.close()
    try:
        winner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option in socket_options or ():
            winner.setsockopt(*option)
    except OSError as exc:
        winner.close()
        raise httpcore.ConnectError(str(exc)) from exc
    return SyncStream(winner)


class _Race:
    """Several sockets that connect side by side, without threads."""

    def __init__(self, port: int, local_address: str | None) -> None:
        self._port = port
        self._local_address = local_address
        self._clock = Clock()
        self._selector = selectors.DefaultSelector()
        self._errors: list[Exception] = []

    def run(self, addresses: Sequence[str], timeout: float | None) -> socket.socket:
        """Return the first socket that is connected; the others are still to be closed."""
        now = self._clock.now
        deadline = None if timeout is None else now() + timeout
        untried = list(addresses)
        turn = now()
        while untried or self._selector.get_map():
            if deadline is not None and now() >= deadline:
                break
            if untried and now() >= turn:
                # One that fails at once, as without a route, does not keep the next one waiting.
                turn = now() + ATTEMPT_DELAY_SECONDS if self._begin(untried.pop(0)) else turn
                continue
            limits = [limit for limit in (deadline, turn if untried else None) if limit is not None]
            ready = self._selector.select(max(0.0, min(limits) - now()) if limits else None)
            for key, _ in ready:
                attempt = key.fileobj
                assert isinstance(attempt, socket.socket)
                self._selector.unregister(attempt)
                problem = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not problem:
                    return attempt
                attempt.close()
                self._note(OSError(problem, os.strerror(problem)))
                turn = now()
        else:
            raise _worst(self._errors)
        raise httpcore.ConnectTimeout("no address answered in time")

    def close(self) -> None:
        """Give up the attempts that are still under way."""
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
        self._errors.clear()

    def _begin(self, address: str) -> bool:
        """Begin to connect; False if that has failed already."""
        attempt: socket.socket | None = None
        try:
            attempt = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            attempt.setblocking(False)
            if self._local_address is not None:
                attempt.bind(_socket_address(self._local_address, 0))
            problem = attempt.connect_ex(_socket_address(address, self._port))
            if problem and problem not in _UNDER_WAY:
                raise OSError(problem, os.strerror(problem))
            self._selector.register(attempt, selectors.EVENT_WRITE)
        except BaseException as exc:
            if attempt is not None:
                attempt.close()
            if not isinstance(exc, OSError):
                raise
            self._note(exc)
            return False
        return True

    def _note(self, exc: OSError) -> None:
        error = httpcore.ConnectError(str(exc))
        error.__cause__ = exc
        self._errors.append(error)


def _socket_address(address: str, port: int) -> tuple[Any, ...]:
    """What the socket module takes; a link-local address has its network interface after a `%` (RFC 4007)."""
    zone = getattr(ipaddress.ip_address(address), "scope_id", None)
    if zone is None:
        return address, port
    return address, port, 0, int(zone) if zone.isdigit() else socket.if_nametoindex(zone)


def _worst(errors: Sequence[Exception]) -> Exception:
    """The error that says most about why no address answered: that time ran out, else that of the preferred one."""
    late = (error for error in errors if isinstance(error, httpcore.ConnectTimeout))
    return next(late, errors[0] if errors else httpcore.ConnectTimeout("no address answered in time"))
