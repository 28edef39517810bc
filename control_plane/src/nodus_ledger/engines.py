"""The engines behind a database: how each is opened, and the few statements in which they differ."""

from __future__ import annotations

import contextlib
import itertools
import select
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy
import sqlalchemy.exc
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import QueuePool, StaticPool

BUSY_TIMEOUT_SECONDS = 30
_SQLITE_CONNECTIONS = 48
_POSTGRESQL_CONNECTIONS = 10
"""Of each process at most: a server has a hundred for everybody, unless told otherwise."""

_IDLE_IN_TRANSACTION_SECONDS = 60

_numbers = itertools.count(1)

# A server that vanished without a word, behind a firewall or with its machine, is noticed within a minute.
_POSTGRESQL_PARAMETERS = {
    "application_name": "nodus-control-plane",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


class UnusableDatabase(Exception):
    """A database that cannot be used; the message says why and what to do instead."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an engine begins its transactions, and gives locks by name."""

    begin_write: str
    begin_snapshot: str
    lock_name: str | None


# Writers take their lock at once, so that what they read stays true until they commit.
SQLITE = Dialect("BEGIN IMMEDIATE", "BEGIN", lock_name=None)
POSTGRESQL = Dialect(
    "BEGIN",
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    lock_name="SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))",
)


def parse(url: str) -> URL:
    """Read a database URL; the drivers are those that this package uses.

    Raises:
        UnusableDatabase: it is none, or of a kind that is not supported.
    """
    if url.startswith("postgres:"):
        url = "postgresql" + url.removeprefix("postgres")
    try:
        parsed = make_url(url)
    except sqlalchemy.exc.ArgumentError as exc:
        raise UnusableDatabase("the database must be given as a URL, such as sqlite:///nodus.db") from exc
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() != "sqlite":
        raise UnusableDatabase(
            f"no support for {parsed.get_backend_name()} databases: "
            "give one of SQLite or PostgreSQL, such as sqlite:///nodus.db or postgresql+psycopg://host/name"
        )
    return parsed.set(drivername="sqlite+pysqlite")


def open_engine(url: URL, *, in_memory: bool) -> Engine:
    """Make the pool of connections to a database; none is opened yet.

    Raises:
        UnusableDatabase: what talks to it is not installed.
    """
    # Parameters hold sealed secrets and customers' data: they stay out of exceptions. Transactions are begun in so
    # many words: what is not in one is its own.
    options: dict[str, Any] = {"hide_parameters": True, "isolation_level": "AUTOCOMMIT"}
    if url.get_backend_name() == "postgresql":
        return _postgresql(url, options)
    arguments = {"check_same_thread": False, "timeout": BUSY_TIMEOUT_SECONDS, "isolation_level": None}
    if in_memory:
        engine = sqlalchemy.create_engine(url, poolclass=StaticPool, connect_args=arguments, **options)
    else:
        engine = sqlalchemy.create_engine(
            url,
            poolclass=QueuePool,
            pool_size=_SQLITE_CONNECTIONS,
            max_overflow=-1,
            pool_reset_on_return=None,
            # What another connection wrote empties the cache of pages: so use the one that wrote last.
            pool_use_lifo=True,
            connect_args=arguments,
            **options,
        )
    event.listen(engine, "connect", _configure_sqlite)
    return engine


def raw_rows(connection: Connection, query: str, *, at_once: int) -> Iterator[Any]:
    """Run a query; return its rows as the driver reads them, so many in memory at a time.

    Raises:
        sqlite3.Error, sqlalchemy.exc.DatabaseError: as the driver says, SQLite's in its own words.
    """
    driver: Any = connection.connection
    if connection.dialect.name == "sqlite":
        with contextlib.closing(driver.cursor()) as cursor:
            yield from _fetched(cursor, query, at_once)
        return
    try:
        # Only a cursor that has a name is read by and by.
        with driver.cursor(f"rows_{next(_numbers)}") as cursor:
            yield from _fetched(cursor, query, at_once)
    except connection.dialect.loaded_dbapi.DatabaseError as exc:
        raise sqlalchemy.exc.DatabaseError(query, None, exc) from exc


def _fetched(cursor: Any, query: str, at_once: int) -> Iterator[Any]:
    cursor.execute(query)
    while rows := cursor.fetchmany(at_once):
        yield from rows


def _postgresql(url: URL, options: dict[str, Any]) -> Engine:
    parameters = {name: value for name, value in _POSTGRESQL_PARAMETERS.items() if name not in url.query}
    try:
        engine = sqlalchemy.create_engine(
            url,
            poolclass=QueuePool,
            pool_size=_POSTGRESQL_CONNECTIONS,
            max_overflow=0,
            connect_args=parameters,
            **options,
        )
    except ImportError as exc:
        raise UnusableDatabase(
            'PostgreSQL needs the package psycopg, which is not installed: pip install "psycopg[binary]"'
        ) from exc
    event.listen(engine, "connect", _configure_postgresql)
    event.listen(engine, "checkout", _refuse_lost)
    return engine


def _configure_postgresql(connection: Any, _record: object) -> None:
    from psycopg.types.string import StrDumper

    class TextDumper(StrDumper):
        """Sends text with a NUL in it, which PostgreSQL cannot hold, with a mark in the place: it is found nowhere."""

        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\ufffd"))

    connection.adapters.register_dumper(str, TextDumper)
    # A process that is stopped in the middle of a transaction does not keep everybody else waiting for ever.
    connection.execute(f"SET idle_in_transaction_session_timeout = '{_IDLE_IN_TRANSACTION_SECONDS}s'")


def _configure_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _refuse_lost(connection: Any, _record: object, _proxy: object) -> None:
    """Replace connections whose server has ended meanwhile, with all others of its time.

    That shows without a question to the server: nothing may wait to be read on a connection at rest but its end.
    """
    if connection.closed or _is_readable(connection.fileno()):
        raise sqlalchemy.exc.InvalidatePoolError


def _is_readable(descriptor: int) -> bool:
    if not hasattr(select, "poll"):
        return bool(select.select([descriptor], [], [], 0)[0])
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(0))
