"""Reading and writing sockets within a time limit, in both worlds: on any event loop, and in a thread.

The sockets are the library's own from `connect` to `close`. So they can also be closed where no event loop is left to
close them, and without one knowing of the other's kind of stream.
"""

from __future__ import annotations

import errno
import os
import socket

import anyio

_NOT_YET = (BlockingIOError, InterruptedError)


async def async_receive(connection: socket.socket, max_bytes: int, timeout: float | None) -> bytes:
    """Return the next bytes from a non-blocking socket; none at its end.

    Args:
        connection: the socket.
        max_bytes: how many bytes to return at most.
        timeout: how many seconds to wait, or None.

    Raises:
        TimeoutError: nothing came in time.
        OSError: the connection is broken, or was closed meanwhile.
    """
    try:
        # It mostly takes a while until a response comes, so waiting first saves a read that finds nothing.
        with anyio.move_on_after(timeout):
            while True:
                await anyio.wait_readable(connection)
                try:
                    return connection.recv(max_bytes)
                except _NOT_YET:
                    continue
    except anyio.ClosedResourceError:
        raise _closed() from None
    raise TimeoutError("the read operation timed out")


def receive(connection: socket.socket, max_bytes: int, timeout: float | None) -> bytes:
    """Return the next bytes; none at the end. See `async_receive`."""
    connection.settimeout(timeout)
    return connection.recv(max_bytes)


async def async_send(connection: socket.socket, data: bytes, timeout: float | None) -> None:
    """Write all bytes to a non-blocking socket.

    Args:
        connection: the socket.
        data: what to write.
        timeout: how many seconds it may take altogether, or None.

    Raises:
        TimeoutError: the peer did not take them in time.
        OSError: the connection is broken, or was closed meanwhile.
    """
    sent = _send_some(connection, data)
    if sent == len(data):
        return
    rest = memoryview(data)[sent:]
    try:
        with anyio.move_on_after(timeout):
            while rest:
                await anyio.wait_writable(connection)
                rest = rest[_send_some(connection, rest) :]
            return
    except anyio.ClosedResourceError:
        raise _closed() from None
    raise TimeoutError("the write operation timed out")


def send(connection: socket.socket, data: bytes, timeout: float | None) -> None:
    """Write all bytes. See `async_send`."""
    connection.settimeout(timeout)
    connection.sendall(data)


async def async_connected(connecting: socket.socket) -> None:
    """Wait until a socket that `begin_to_connect` returned is connected.

    Raises:
        OSError: it cannot be.
    """
    try:
        await anyio.wait_writable(connecting)
    except anyio.ClosedResourceError:
        raise _closed() from None
    raise_failure_of(connecting)


def raise_failure_of(connecting: socket.socket) -> None:
    """Raise what became of connecting, if it failed."""
    problem = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if problem:
        raise OSError(problem, os.strerror(problem))


def async_close(connection: socket.socket) -> None:
    """Close a socket; whoever waits for it on this event loop is woken."""
    if connection.fileno() >= 0:
        anyio.notify_closing(connection)
        connection.close()


def close(connection: socket.socket) -> None:
    """Close a socket."""
    connection.close()


def is_readable(connection: socket.socket) -> bool:
    """Whether a read would return at once: because bytes have come, or the peer has closed, or it is broken."""
    try:
        connection.setblocking(False)
        connection.recv(1, socket.MSG_PEEK)
    except _NOT_YET:
        return False
    except OSError:
        return True
    return True


def _send_some(connection: socket.socket, data: bytes | memoryview) -> int:
    try:
        return connection.send(data)
    except _NOT_YET:
        return 0


def _closed() -> OSError:
    return OSError(errno.EBADF, "the connection was closed")
