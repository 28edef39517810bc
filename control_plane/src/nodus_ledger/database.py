"""Connections and transactions.

SQLite is the embedded default. A file is in WAL mode with `synchronous=FULL`, so an answer that was given survives a
power cut; one write transaction at a time takes its lock at once (`BEGIN IMMEDIATE`), so that what it read stays true
until it commits. A database in memory is one connection that threads take in turns.

Only this module knows which engine is behind it: statements elsewhere ask for row locks with `with_for_update`, which
SQLite has no need of and leaves out.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
import sqlalchemy.exc
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import QueuePool, StaticPool

from .webhook_schema import metadata

BUSY_TIMEOUT_SECONDS = 30
_CONNECTIONS = 48


class UnusableDatabase(Exception):
    """A database URL that cannot be used; the message says why and what to give instead."""


class Database:
    """One database, used by any number of threads."""

    def __init__(self, url: str = "sqlite://") -> None:
        """Open a database and make the tables it lacks.

        Raises:
            UnusableDatabase: the URL is no SQLite URL, or nothing can be opened there.
        """
        parsed = _parse(url)
        self.path = None if parsed.database in (None, "", ":memory:") else Path(str(parsed.database)).absolute()
        """The file, or None in memory."""
        self._engine = _engine(parsed, in_memory=self.path is None)
        # SQLite would make writers of one process poll for its lock; here they queue, and nobody is overtaken for long.
        self._writing = threading.Lock()
        self._reading: AbstractContextManager[Any] = self._writing if self.path is None else _Unlocked()
        try:
            with self.write() as connection:
                metadata.create_all(connection)
        except sqlalchemy.exc.DatabaseError as exc:
            self._engine.dispose()
            raise UnusableDatabase(f"cannot open the database {parsed.render_as_string()}: {exc.orig}") from exc

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run a write transaction: alone, committed at the end, rolled back on any exception."""
        with self._writing, self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.exec_driver_sql("ROLLBACK")
                raise
            connection.exec_driver_sql("COMMIT")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Run statements that only read, each on what is committed when it runs."""
        with self._reading, self._engine.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Run statements that only read, all on what is committed when the first of them runs."""
        with self.read() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.exec_driver_sql("ROLLBACK")

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


class _Unlocked:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc_info: object) -> None:
        return None


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except sqlalchemy.exc.ArgumentError as exc:
        raise UnusableDatabase("the database must be given as a URL, such as sqlite:///nodus.db") from exc
    if parsed.get_backend_name() != "sqlite":
        raise UnusableDatabase(
            f"no support for {parsed.get_backend_name()} databases: give an SQLite one, such as sqlite:///nodus.db"
        )
    return parsed.set(drivername="sqlite+pysqlite")


def _engine(url: URL, *, in_memory: bool) -> Engine:
    arguments = {"check_same_thread": False, "timeout": BUSY_TIMEOUT_SECONDS, "isolation_level": None}
    # Parameters hold sealed secrets and customers' data: they stay out of exceptions.
    options: dict[str, Any] = {"connect_args": arguments, "hide_parameters": True, "isolation_level": "AUTOCOMMIT"}
    if in_memory:
        engine = sqlalchemy.create_engine(url, poolclass=StaticPool, **options)
    else:
        engine = sqlalchemy.create_engine(
            url, poolclass=QueuePool, pool_size=_CONNECTIONS, max_overflow=-1, pool_reset_on_return=None, **options
        )
    event.listen(engine, "connect", _configure)
    return engine


def _configure(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
