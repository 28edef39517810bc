"""A real Redis on loopback, which keeps nothing."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from patience import PATIENCE_SECONDS

from .process import LocalServer


class RedisServer(LocalServer):
    """A Redis server, which forgets everything when it is stopped."""

    def __init__(self, program: Path) -> None:
        super().__init__()
        self.program = program

    def empty(self) -> None:
        """Remove everything that it holds."""
        if _ask(self._process.port, b"FLUSHALL\r\n", PATIENCE_SECONDS) != b"+OK\r\n":
            raise RuntimeError("Redis did not empty itself")

    @property
    def url(self) -> str:
        """The URL under which the control plane finds it."""
        return f"redis://127.0.0.1:{self._process.port}/0"

    def _command(self, port: int) -> Sequence[str | Path]:
        settings = {"port": str(port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": str(self._folder)}
        return [self.program, *(word for name, value in settings.items() for word in (f"--{name}", value))]

    def _is_ready(self, port: int) -> bool:
        try:
            return _ask(port, b"PING\r\n") == b"+PONG\r\n"
        except OSError:
            return False


def _ask(port: int, command: bytes, seconds: float = 10.0) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(command)
        return connection.recv(64)
