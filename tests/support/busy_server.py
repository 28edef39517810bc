"""A server on loopback for thousands of connections: one thread, one event loop, and counts of all that happens."""

from __future__ import annotations

import asyncio
import random
import ssl
import threading
from types import TracebackType

JOB = b'{"id":"job-1","status":"running","gpu":"h100_80gb","gpu_count":1}'
PATIENCE_SECONDS = 120.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(JOB)


class BusyServer:
    """Answers every request with the same job.

    Args:
        pause_seconds: how long an answer takes at most; it comes in pieces, after seeded random pauses.
        tls: the context to speak TLS with.

    Attributes:
        opened: connections accepted so far.
        peak: the most that were open at once.
        requests: requests answered so far.
    """

    def __init__(self, *, pause_seconds: float = 0.0, tls: ssl.SSLContext | None = None) -> None:
        self.pause_seconds = pause_seconds
        self.opened = 0
        self.open = 0
        self.peak = 0
        self.requests = 0
        self.rng = random.Random(7)
        self._tls = tls
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._ready = threading.Event()

    @property
    def url(self) -> str:
        """The base URL to give to a client."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    def __enter__(self) -> BusyServer:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def wait_until_open(self, connections: int) -> bool:
        """Wait until exactly so many connections are open; False if that takes over two minutes."""
        with self._changed:
            return self._changed.wait_for(lambda: self.open == connections, timeout=PATIENCE_SECONDS)

    def count(self, change: int) -> None:
        """Take note that a connection was opened (1) or closed (-1)."""
        with self._changed:
            self.open += change
            self.opened += change > 0
            self.peak = max(self.peak, self.open)
            self._changed.notify_all()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        connections: set[_Connection] = set()
        server = await self._loop.create_server(
            lambda: _Connection(self, connections), "127.0.0.1", 0, backlog=4096, ssl=self._tls
        )
        self.port: int = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        limit = self._loop.time() + PATIENCE_SECONDS
        # The task of a connection that was accepted a moment ago may not have made it known yet.
        while (connections or len(asyncio.all_tasks()) > 1) and self._loop.time() < limit:
            for connection in list(connections):
                connection.transport.abort()
            await asyncio.sleep(0.001)


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, server: BusyServer, connections: set[_Connection]) -> None:
        self._server = server
        self._connections = connections
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._connections.add(self)
        self._server.count(1)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport.close()  # with TLS on Python 3.10 it counts as open until it is told, even so
        self._connections.discard(self)
        self._server.count(-1)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            self._buffer = self._buffer.partition(b"\r\n\r\n")[2]
            self._answer()

    def _answer(self) -> None:
        server = self._server
        server.requests += 1
        if not server.pause_seconds:
            self.transport.write(HEAD + JOB)
            return
        moments = sorted(server.rng.uniform(0, server.pause_seconds) for _ in range(3))
        for moment, piece in zip(moments, (HEAD[:20], HEAD[20:] + JOB[:10], JOB[10:]), strict=True):
            asyncio.get_running_loop().call_later(moment, self._write, piece)

    def _write(self, piece: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(piece)
