"""A relay in front of a server: it can cut every connection, and lead to another server from then on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType


class Relay:
    """Listens on loopback and passes bytes on, in a thread of its own.

    Attributes:
        port: where it listens.
        target: the port that new connections lead to; None refuses them.
        cuts: how many ends of connections were cut.
    """

    def __init__(self) -> None:
        self.port = 0
        self.target: int | None = None
        self.cuts = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._owed = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="relay")

    @property
    def base_url(self) -> str:
        """The address to give to a client."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Reset every connection; where there is none, the next one."""
        self._loop.call_soon_threadsafe(self._cut)

    def __enter__(self) -> Relay:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        self._abort(self._writers)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cut(self) -> None:
        if not self._writers:
            # Its clients go on with what they had received before the last cut, and come again later.
            self._owed += 1
        self._abort(self._writers)

    def _abort(self, writers: set[asyncio.StreamWriter]) -> None:
        for writer in writers:
            writer.transport.abort()
            self.cuts += 1

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = self.target
        try:
            if target is None:
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
            self._writers |= {writer, far_writer}
            if self._owed:
                self._owed -= 1
                self._abort({writer, far_writer})
            try:
                await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))
            finally:
                self._writers -= {writer, far_writer}
                far_writer.close()
        except OSError:
            pass
        finally:
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
