"""A real PgBouncer on loopback, which pools transactions in front of a PostgreSQL server."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import psycopg

from .process import LocalServer


class PgBouncer(LocalServer):
    """A pooler: transactions of one client are on any of a few connections, which its other clients use too.

    Args:
        program: `pgbouncer`.
        server_port: where PostgreSQL listens.
        connections: how many there are to each database.
    """

    def __init__(self, program: Path, server_port: int, *, connections: int = 3) -> None:
        super().__init__()
        self._program = program
        self._server_port = server_port
        self._connections = connections

    def url(self, name: str) -> str:
        """Return the URL under which the control plane opens a database through it."""
        return f"postgresql+psycopg://nodus@127.0.0.1:{self._process.port}/{name}"

    def _command(self, port: int) -> Sequence[str | Path]:
        lines = [
            "[databases]",
            f"* = host=127.0.0.1 port={self._server_port} user=nodus",
            "[pgbouncer]",
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =",
            "auth_type = any\npool_mode = transaction\nmax_client_conn = 500",
            f"default_pool_size = {self._connections}",
        ]
        configuration = self._folder / "pgbouncer.ini"
        configuration.write_text("\n".join(lines) + "\n")
        configuration.chmod(0o644)
        return [self._program, configuration]

    def _is_ready(self, port: int) -> bool:
        address = f"host=127.0.0.1 port={port} user=nodus dbname=postgres"
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(address):
            return True
        return False
