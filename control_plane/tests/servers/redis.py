"""A real Redis on loopback, which keeps nothing."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from .process import Account, ServerProcess, discard


class RedisServer:
    """A Redis server, started by `with` and gone after it."""

    def __init__(self, program: Path) -> None:
        self.program = program
        account = Account()
        self._folder = account.make_folder()
        self._process = ServerProcess(self._command, self._is_ready, account, self._folder)

    def start(self) -> Self:
        """Start it. `with` does it."""
        self._process.start()
        return self

    def close(self) -> None:
        """Stop it. `with` does it."""
        self._process.stop()
        discard(self._folder)

    def stop(self) -> None:
        """Stop it: it forgets everything."""
        self._process.stop()

    def start_again(self) -> None:
        """Start it on the same port, after `stop`."""
        self._process.start()

    def empty(self) -> None:
        """Remove everything that it holds."""
        if _ask(self._process.port, b"FLUSHALL\r\n") != b"+OK\r\n":
            raise RuntimeError("Redis did not empty itself")

    @property
    def url(self) -> str:
        """The URL under which the control plane finds it."""
        return f"redis://127.0.0.1:{self._process.port}/0"

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _command(self, port: int) -> Sequence[str | Path]:
        settings = {"port": str(port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": str(self._folder)}
        return [self.program, *(word for name, value in settings.items() for word in (f"--{name}", value))]

    def _is_ready(self, port: int) -> bool:
        try:
            return _ask(port, b"PING\r\n") == b"+PONG\r\n"
        except OSError:
            return False


def _ask(port: int, command: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(command)
        return connection.recv(64)
