"""A real PostgreSQL: a cluster of its own in a temporary folder, with as many databases as tests ask for.

It writes without waiting for the disk: what tests kill is the control plane, never the machine.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
from patience import PATIENCE_SECONDS
from psycopg import sql
from typing_extensions import Self

from .process import LocalServer

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


class PostgresServer(LocalServer):
    """A PostgreSQL server, which keeps its databases when it is stopped.

    Args:
        programs: the folder of `initdb` and `postgres`.
        durable: wait for the disk at every commit, as one does outside of tests.
    """

    def __init__(self, programs: Path, *, durable: bool = False) -> None:
        super().__init__(ended_by="QUIT")
        self._programs = programs
        self._settings = {**_SETTINGS, **({"fsync": "on", "full_page_writes": "on"} if durable else {})}
        self._made = 0

    def start(self) -> Self:
        """Make the cluster and start it. `with` does it."""
        data = self._folder / "data"
        initdb: list[str | Path] = [
            self._programs / "initdb",
            "-D",
            data,
            "-U",
            "nodus",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        self._account.run([*initdb, "--no-sync"], cwd=self._folder)
        return super().start()

    def restart(self) -> None:
        """Stop it, which breaks every connection, and start it again on the same port."""
        self.stop()
        self.start_again()

    def create_database(self, template: str | None = None) -> str:
        """Make a database, empty or a copy of another by its name, and return its name."""
        self._made += 1
        name = f"test_{self._made}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template or "template0")
        )
        self._run(statement)
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._process.port

    def url(self, name: str) -> str:
        """Return the URL under which the control plane opens a database."""
        return f"postgresql+psycopg://nodus@127.0.0.1:{self._process.port}/{name}"

    def connect(self, name: str) -> psycopg.Connection[tuple[object, ...]]:
        """Connect to a database below the control plane; every statement is its own transaction."""
        return _connect(self._process.port, name)

    def _run(self, statement: sql.Composed) -> None:
        """Run a statement, for which PostgreSQL waits a few seconds until nobody uses the database any more."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with _connect(self._process.port, "postgres") as connection:
            while True:
                try:
                    connection.execute(statement)
                    return
                except psycopg.errors.ObjectInUse:
                    if time.monotonic() > deadline:
                        raise

    def _command(self, port: int) -> Sequence[str | Path]:
        settings = {**self._settings, "port": str(port), "unix_socket_directories": str(self._folder)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [self._programs / "postgres", "-D", self._folder / "data", *options]

    def _is_ready(self, port: int) -> bool:
        with contextlib.suppress(psycopg.OperationalError), _connect(port, "postgres"):
            return True
        return False


def _connect(port: int, name: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(host="127.0.0.1", port=port, user="nodus", dbname=name, autocommit=True)
