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
from collections.abc import Sequence
from typing import Any

import anyio

from . import _sockets
from ._concurrency import Clock

ATTEMPT_DELAY_SECONDS = 0.25
"""How long one attempt has before the next begins beside it: RFC 8305's "Connection Attempt Delay"."""

_UNDER_WAY = frozenset((errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN))


async def async_connect(addresses: Sequence[str], port: int, timeout: float | None) -> socket.socket:
    """Connect to whichever of the addresses answers first; return the socket, which does not block.

    Args:
        addresses: one or more, in the order in which to try them.
        port: the port.
        timeout: how many seconds all attempts together may take, or None.

    Raises:
        TimeoutError: the time is over.
        OSError: every attempt failed.
    """
    connected: list[socket.socket] = []
    errors: list[OSError] = []

    async def attempt(address: str) -> None:
        try:
            connected.append(await _async_connect_to(address, port))
        except OSError as exc:
            errors.append(exc)

    async def attempt_beside_others(address: str, over: anyio.Event) -> None:
        try:
            await attempt(address)
            if connected:
                attempts.cancel_scope.cancel()
        finally:
            over.set()

    try:
        with anyio.move_on_after(timeout):
            if len(addresses) == 1:
                await attempt(addresses[0])
            else:
                async with anyio.create_task_group() as attempts:
                    for address in addresses:
                        over = anyio.Event()
                        attempts.start_soon(attempt_beside_others, address, over)
                        with anyio.move_on_after(ATTEMPT_DELAY_SECONDS):
                            await over.wait()
            if not connected:
                raise _worst(errors)
        if not connected:
            raise TimeoutError("no address answered in time")
        return connected.pop(0)
    finally:
        errors.clear()  # their frames refer to the list, and would keep everything alive until garbage collection
        # Two may succeed at the same moment, or one just as the whole call is cancelled.
        for loser in connected:
            loser.close()


async def _async_connect_to(address: str, port: int) -> socket.socket:
    connecting = begin_to_connect(address, port)
    try:
        await _sockets.async_connected(connecting)
    except BaseException:
        _sockets.async_close(connecting)
        raise
    return connecting


def connect(addresses: Sequence[str], port: int, timeout: float | None) -> socket.socket:
    """Connect to whichever of the addresses answers first; see `async_connect`."""
    race = _Race(port)
    try:
        return race.run(addresses, timeout)
    finally:
        race.close()


def begin_to_connect(address: str, port: int) -> socket.socket:
    """Return a socket that does not block and is connecting, or connected; small writes are sent at once.

    Raises:
        OSError: it cannot be.
    """
    connecting = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        problem = connecting.connect_ex(_socket_address(address, port))
        if problem and problem not in _UNDER_WAY:
            raise OSError(problem, os.strerror(problem))
    except BaseException:
        connecting.close()
        raise
    return connecting


class _Race:
    """Several sockets that connect side by side, without threads."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._clock = Clock()
        self._selector = selectors.DefaultSelector()
        self._errors: list[OSError] = []

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
                try:
                    _sockets.raise_failure_of(attempt)
                except OSError as exc:
                    attempt.close()
                    self._errors.append(exc)
                    turn = now()
                else:
                    return attempt
        else:
            raise _worst(self._errors)
        raise TimeoutError("no address answered in time")

    def close(self) -> None:
        """Give up the attempts that are still under way."""
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
        self._errors.clear()

    def _begin(self, address: str) -> bool:
        """Begin to connect; False if that has failed already."""
        try:
            attempt = begin_to_connect(address, self._port)
        except OSError as exc:
            self._errors.append(exc)
            return False
        try:
            self._selector.register(attempt, selectors.EVENT_WRITE)
        except BaseException:
            attempt.close()
            raise
        return True


def _socket_address(address: str, port: int) -> tuple[Any, ...]:
    """What the socket module takes; a link-local address has its network interface after a `%` (RFC 4007)."""
    zone = getattr(ipaddress.ip_address(address), "scope_id", None)
    if zone is None:
        return address, port
    return address, port, 0, int(zone) if zone.isdigit() else socket.if_nametoindex(zone)


def _worst(errors: Sequence[OSError]) -> OSError:
    """The error that says most about why no address answered: that time ran out, else that of the preferred one."""
    late = (error for error in errors if isinstance(error, TimeoutError))
    return next(late, errors[0])
