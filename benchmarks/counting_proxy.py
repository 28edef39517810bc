"""A proxy before an engine's socket that counts the requests that pass."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

_PART_BYTES = 1 << 16


class Requests:
    """Finds the requests in what one connection sends. Bodies are skipped by their length; none is chunked."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    def feed(self, data: bytes) -> list[str]:
        """Return the first lines of the requests whose heads end in this part."""
        found = []
        while data:
            if self._left:
                skipped = min(self._left, len(data))
                self._left -= skipped
                data = data[skipped:]
                continue
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                break
            self._head = b""
            first, *fields = head.decode("latin-1").split("\r\n")
            named = dict(field.lower().split(":", 1) for field in fields)
            self._left = int(named.get("content-length", 0))
            found.append(first.rpartition(" ")[0])
        return found


class CountingProxy:
    """Passes everything on to an engine.

    Args:
        engine: the socket of the engine.
        socket: where to listen.
    """

    def __init__(self, engine: Path, socket: Path) -> None:
        self.socket = socket
        self._engine = engine
        self._lock = threading.Lock()
        self._seen: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._stopping = asyncio.Event()

    def take(self) -> list[str]:
        """Return the methods and targets of all requests since the last call."""
        with self._lock:
            seen, self._seen = self._seen, []
        return seen

    @contextlib.contextmanager
    def running(self) -> Iterator[CountingProxy]:
        """Run it, in a thread, until the block ends."""
        thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)
        thread.start()
        self._listening.wait()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stopping.set)
            thread.join()
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_unix_server(self._pass_on, str(self.socket), backlog=512)
        self._listening.set()
        await self._stopping.wait()
        server.close()
        connections = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _pass_on(self, asking: asyncio.StreamReader, answering: asyncio.StreamWriter) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self._engine))
        requests = Requests()

        async def there() -> None:
            while data := await asking.read(_PART_BYTES):
                seen = requests.feed(data)
                with self._lock:
                    self._seen += seen
                writer.write(data)
                await writer.drain()
            writer.close()

        async def back() -> None:
            while data := await reader.read(_PART_BYTES):
                answering.write(data)
                await answering.drain()
            answering.close()

        with contextlib.suppress(OSError):
            await asyncio.gather(there(), back())
