"""Servers that fall silent, and clients for which the time of a read is over then, and not before.

A timeout is real time: one that a test can sit out may be over, on a busy machine, before a good answer has come, or
before a request is on its way. So no time decides here: a read with a time limit is given up as soon as the server has
fallen silent and all that it had sent was read. One without a limit waits for ever.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

from nodus._sockets import async_receive, is_readable, receive
from tests.support.server import Peer

_LOOK_SECONDS = 0.01

AsyncReceive = Callable[[socket.socket, int, "float | None"], Awaitable[bytes]]
Receive = Callable[[socket.socket, int, "float | None"], bytes]


class Silence:
    """Where a server has fallen silent: on single connections, or on all, such as those of a proxy before it.

    Args:
        everywhere: whether silence on one connection is silence on all.
    """

    def __init__(self, *, everywhere: bool = False) -> None:
        self._everywhere = everywhere
        self._addresses: set[object] = set()

    def keep(self, peer: Peer) -> bool:
        """As what a server performs: say nothing more on this connection."""
        self._addresses.add(peer.socket.getpeername())
        peer.closing.wait()
        return False

    def has_fallen(self, connection: socket.socket) -> bool:
        """Whether nothing more will come on a client's connection, and all that came was read."""
        is_silent = bool(self._addresses) if self._everywhere else connection.getsockname() in self._addresses
        return is_silent and not is_readable(connection)


def async_until_silent(silence: Silence) -> AsyncReceive:
    """What to put in place of `async_receive`."""

    async def read(connection: socket.socket, max_bytes: int, timeout: float | None) -> bytes:
        while True:
            try:
                return await async_receive(connection, max_bytes, _LOOK_SECONDS)
            except TimeoutError:
                if timeout is not None and silence.has_fallen(connection):
                    raise

    return read


def until_silent(silence: Silence) -> Receive:
    """What to put in place of `receive`."""

    def read(connection: socket.socket, max_bytes: int, timeout: float | None) -> bytes:
        while True:
            try:
                return receive(connection, max_bytes, _LOOK_SECONDS)
            except TimeoutError:
                if timeout is not None and silence.has_fallen(connection):
                    raise

    return read
