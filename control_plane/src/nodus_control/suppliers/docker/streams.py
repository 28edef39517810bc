"""An answer that comes bit by bit, read from the connection itself: all that has come at once.

Docker sends each line of an output as a chunk of its own. A client for HTTP hands these over one by one, which costs
far more than what is done with the line; and none of it can be ended from outside before an answer has begun.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

from ..protocol import EngineUnavailable

READ_BYTES = 256 << 10
BATCH_SECONDS = 0.002
"""How long more is let come before it is read, where somebody waits for it: little, since a socket holds few lines."""

LATE = "the supplier's engine does not answer in time"
BROKEN = "the connection to the supplier's engine broke off"

_LONGEST_HEAD_BYTES = 64 << 10
_LONGEST_SIZE_BYTES = 1 << 10


class Body:
    """Takes apart an answer of HTTP/1.1 to a request that closes its connection. Pure.

    https://www.rfc-editor.org/rfc/rfc9112.html#section-6: the body comes in chunks, or has a length, or goes on until
    the connection ends.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        """Of the answer, once it is there."""
        self.is_over = False
        """Whether all has come."""
        self._held = b""
        self._is_chunked = False
        self._left: int | None = 0
        self._ends_chunk = False

    def feed(self, data: bytes) -> bytes:
        """Return what a part holds of the body.

        Raises:
            ValueError: it is no answer of HTTP.
        """
        if self.status is None:
            data = self._begin(data)
        if self.is_over or not data:
            return b""
        if self._is_chunked:
            return self._chunks(data)
        if self._left is None:
            return data
        found = data[: self._left]
        self._left -= len(found)
        self.is_over = not self._left
        return found

    def end(self) -> None:
        """Say that the connection has ended.

        Raises:
            ValueError: more was to come.
        """
        if self.status is None or not (self.is_over or (self._left is None and not self._is_chunked)):
            raise ValueError("it ends before its end")
        self.is_over = True

    def _begin(self, data: bytes) -> bytes:
        """Read the head; return what came behind it."""
        head, end, rest = (self._held + data).partition(b"\r\n\r\n")
        if not end:
            if len(head) > _LONGEST_HEAD_BYTES:
                raise ValueError("its head does not end")
            self._held = head
            return b""
        self._held = b""
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._is_chunked = fields.get("transfer-encoding", "").lower() == "chunked"
        length = fields.get("content-length")
        self._left = 0 if self._is_chunked else None if length is None else _count(length.encode(), 10)
        self.is_over = not self._is_chunked and self._left == 0
        self.status = int(first.split(" ", 2)[1]) if first.startswith("HTTP/1.") and " " in first else None
        if self.status is None:
            raise ValueError("its first line is none")
        return rest

    def _chunks(self, data: bytes) -> bytes:
        data = self._held + data
        at, size, left = 0, len(data), self._left or 0
        found = []
        while True:
            if left:
                part = data[at : at + left]
                found.append(part)
                at += len(part)
                left -= len(part)
                if left:
                    break
                self._ends_chunk = True
            begin = at + 2 if self._ends_chunk else at
            end = data.find(b"\r\n", begin)
            if end < 0:
                break
            left = _count(data[begin:end].partition(b";")[0], 16)
            at = end + 2
            self._ends_chunk = False
            if not left:
                self.is_over = True  # Trailers say nothing of an output.
                break
        self._left = left
        self._held = b"" if self.is_over else data[at:size]
        if len(self._held) > _LONGEST_SIZE_BYTES:
            raise ValueError("the size of a chunk does not end")
        return b"".join(found)


class Stream:
    """One answer, which another thread may `cut` off, from before it has begun.

    Args:
        connection: on which nothing has been sent yet; it is closed by whoever made it.
        method: of the request, which has no body.
        host: to whom it goes.
        target: its path.
        params: its query.
        headers: more of its header fields.
        silence_seconds: how long nothing may come; None for as long as it takes.
        answer_seconds: how long the beginning of the answer may take.

    Raises:
        EngineUnavailable: there was no answer.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        method: str = "GET",
        host: str,
        target: str,
        params: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        silence_seconds: float | None,
        answer_seconds: float,
    ) -> None:
        self._connection = connection
        self._body = Body()
        fields = {"Host": host, "Connection": "close", **(headers or {})}
        if method != "GET":
            fields["Content-Length"] = "0"
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        request = f"{method} {target}?{urlencode(params)} HTTP/1.1\r\n{head}\r\n"
        connection.settimeout(answer_seconds)
        try:
            connection.sendall(request.encode("ascii"))
        except OSError as exc:
            raise EngineUnavailable(BROKEN) from exc
        self._first = b""
        while self._body.status is None:
            self._first += self._read()
        self.status = self._body.status
        connection.settimeout(silence_seconds)

    def parts(self, size: int | None) -> Iterator[bytes]:
        """Yield what comes: all that is there, at every look; or, with a size, so many bytes or more at a time.

        Raises:
            EngineUnavailable: it broke off.
        """
        found, self._first = self._first, b""
        while not self._body.is_over:
            if found and (size is None or len(found) >= size):
                yield found
                found = b""
                if size is None:
                    time.sleep(BATCH_SECONDS)
            try:
                found += self._read()
            except EngineUnavailable:
                if found:
                    yield found  # It came, and might not come again.
                raise
        if found:
            yield found

    def read(self, limit: int) -> bytes:
        """Return all that comes, or somewhat more than `limit` bytes of it.

        Raises:
            EngineUnavailable: it broke off.
        """
        found = bytearray()
        for part in self.parts(None):
            found += part
            if len(found) > limit:
                break
        return bytes(found)

    def _read(self) -> bytes:
        try:
            data = self._connection.recv(READ_BYTES)
            if data:
                return self._body.feed(data)
            self._body.end()
        except TimeoutError as exc:
            raise EngineUnavailable(LATE) from exc
        except (OSError, ValueError) as exc:
            raise EngineUnavailable(BROKEN) from exc
        return b""


def cut(connection: socket.socket) -> None:
    """End what comes on a connection, whoever waits for it; who made the connection closes it."""
    with contextlib.suppress(OSError):
        # Not as TLS would end it: that takes from under whoever reads what they read with.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def status_is(status: int) -> str:
    """Say that an engine answered with a status that means nothing here."""
    return f"the supplier's engine answered with status {status}"


def _count(written: bytes, base: int) -> int:
    """Return a number of bytes."""
    number = int(written, base)
    if number < 0:
        raise ValueError("a number of bytes is below zero")
    return number
