"""SQLite and PostgreSQL: how each is opened, and the few statements in which they differ."""

from __future__ import annotations

import contextlib
import itertools
import select
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy
import sqlalchemy.exc
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import QueuePool, StaticPool

from .conditions import READ_ONLY, sqlstate_of
from .url_files import UnreadableUrl, url_of

LOCK_SECONDS = 5
"""How long a transaction waits for a lock that another holds: then whoever asked learns it, and may ask again."""

STATEMENT_SECONDS = 30
"""How long one statement may take, outside of migrations and of commands that read everything."""

SYNCHRONOUS = "FULL"
"""That SQLite waits for the disk at every commit, in the words of its PRAGMA."""

_IDLE_IN_TRANSACTION_SECONDS = 60
_MIGRATION_SECONDS = 600

_SQLITE_CONNECTIONS = 48
_WAL_PAUSE_SECONDS = 0.01
# One for each thread that answers requests (16), and for what watches beside them.
_POSTGRESQL_CONNECTIONS = 18
"""Of each process at most: a server has a hundred for everybody, unless told otherwise."""

WRITERS_AT_ONCE = 10
"""So many of them at most wait for locks, more than any one customer has threads; the others are for who only reads."""

_WAL_BYTES = 4 * 1024 * 1024
"""What SQLite's write-ahead log is cut back to, once all in it is in the database."""

_POOLER = "pooler"
"""The option of a PostgreSQL URL that says what stands in front of the server, and the names of its values."""
_TRANSACTION, _SESSION = "transaction", "session"
_POOLED = "nodus pooled"

_numbers = itertools.count(1)

# Plans of prepared statements are kept. One made when a table had a page would read the whole table, as that costs no
# more than that page, until somebody analyses it, however many former versions of rows it holds by then. So that an
# index is always cheaper for a single row, a page read by itself counts for less than half of one in a sequence.
_RANDOM_PAGE_COST = 0.25

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
    """How a kind of database begins its transactions, and gives locks by name."""

    begin_write: str
    begin_snapshot: str
    lock_name: str | None


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a transaction waits for a lock, and each of its statements for its end, in ms; 0 for no limit."""

    lock_ms: int
    statement_ms: int

    def with_lock(self, seconds: float) -> Limits:
        """Return the same with another limit for locks, of at least a millisecond."""
        return Limits(max(1, round(seconds * 1000)), self.statement_ms)


USUAL = Limits(LOCK_SECONDS * 1000, STATEMENT_SECONDS * 1000)
PATIENT = Limits(0, 0)
"""For migrations: an index over a large table takes as long as it takes, and others wait for it."""
THOROUGH = Limits(LOCK_SECONDS * 1000, 0)
"""For what reads a whole database."""

# Writers take their lock at once, so that what they read stays true until they commit.
SQLITE = Dialect("BEGIN IMMEDIATE", "BEGIN", lock_name=None)
POSTGRESQL = Dialect(
    "BEGIN",
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    lock_name="SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))",
)


def parse(url: str) -> URL:
    """Read a database URL; the drivers are those that this package uses.

    `file:PATH` names a file that holds the URL: then no password stands in the arguments of a process.

    Raises:
        UnusableDatabase: it is none, or of a kind that is not supported.
    """
    try:
        url = url_of(url)
    except UnreadableUrl as exc:
        raise UnusableDatabase(f"cannot read the database's URL: {exc}") from exc
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
    if (parsed.database or "").startswith("file:"):
        raise UnusableDatabase("an SQLite database is named by the path of its file, such as sqlite:///nodus.db")
    return parsed.set(drivername="sqlite+pysqlite")


def shown(url: URL) -> str:
    """Return a URL as messages may show it: without its password, and without options, which may hold one too."""
    return url.set(query={}).render_as_string()


def open_engine(url: URL, *, in_memory: bool) -> Engine:
    """Make the pool of connections to a database; none is opened yet.

    Raises:
        UnusableDatabase: what talks to it is not installed, or the URL has an option that it does not know.
    """
    # Parameters hold sealed secrets and customers' data: they stay out of exceptions. Transactions are begun in so
    # many words: what is not in one is its own.
    options: dict[str, Any] = {"hide_parameters": True, "isolation_level": "AUTOCOMMIT"}
    if url.get_backend_name() == "postgresql":
        return _postgresql(url, options)
    arguments = {"check_same_thread": False, "timeout": LOCK_SECONDS, "isolation_level": None}
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


def begin(connection: Connection, statement: str, limits: Limits | None = None) -> None:
    """Begin a transaction under these limits, by default the usual ones."""
    limits = limits or USUAL
    if connection.dialect.name == "sqlite":
        _begin_on_sqlite(connection, statement, limits)
        return
    if limits != USUAL or is_pooled(connection):
        # Behind a pooler each transaction may be on another connection, so each brings its limits along.
        settings = {
            "lock_timeout": limits.lock_ms,
            "statement_timeout": limits.statement_ms,
            "idle_in_transaction_session_timeout": _IDLE_IN_TRANSACTION_SECONDS * 1000,
        }
        statement = "; ".join([statement, *(f"SET LOCAL {name} = {value}" for name, value in settings.items())])
    connection.exec_driver_sql(statement)


def is_pooled(connection: Connection) -> bool:
    """Say whether transactions on this connection may be on another one of the server's each time."""
    return bool(connection.info.get(_POOLED))


def _begin_on_sqlite(connection: Connection, statement: str, limits: Limits) -> None:
    if limits.lock_ms == USUAL.lock_ms:
        connection.exec_driver_sql(statement)
        return
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {limits.lock_ms or _MIGRATION_SECONDS * 1000}")
    try:
        connection.exec_driver_sql(statement)
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {USUAL.lock_ms}")


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
        # Only a cursor that has a name is fetched in batches.
        with driver.cursor(f"rows_{next(_numbers)}") as cursor:
            yield from _fetched(cursor, query, at_once)
    except connection.dialect.loaded_dbapi.DatabaseError as exc:
        raise sqlalchemy.exc.DatabaseError(query, None, exc) from exc


def _fetched(cursor: Any, query: str, at_once: int) -> Iterator[Any]:
    cursor.execute(query)
    while rows := cursor.fetchmany(at_once):
        yield from rows


def _postgresql(url: URL, options: dict[str, Any]) -> Engine:
    url, pooler = _without_pooler(url)
    try:
        _require_known_options(url)
        engine = sqlalchemy.create_engine(
            url,
            poolclass=QueuePool,
            pool_size=_POSTGRESQL_CONNECTIONS,
            max_overflow=0,
            pool_timeout=LOCK_SECONDS,
            use_native_hstore=False,  # which it would look for on every new connection
            connect_args={name: value for name, value in _POSTGRESQL_PARAMETERS.items() if name not in url.query},
            **options,
        )
    except ImportError as exc:
        raise UnusableDatabase(
            'PostgreSQL needs the package psycopg, which is not installed: pip install "psycopg[binary]"'
        ) from exc

    def configure(connection: Any, record: Any) -> None:
        _configure_postgresql(connection, record, pooler)

    event.listen(engine, "connect", configure)
    event.listen(engine, "checkout", _refuse_lost)
    event.listen(engine, "handle_error", _leave_demoted)
    return engine


def _without_pooler(url: URL) -> tuple[URL, str | None]:
    pooler = url.query.get(_POOLER)
    if pooler is None:
        return url, None
    if pooler not in (_TRANSACTION, _SESSION):
        raise UnusableDatabase(f"the database's URL has `{_POOLER}={pooler}`: it may be {_TRANSACTION} or {_SESSION}")
    return url.difference_update_query([_POOLER]), str(pooler)


def _require_known_options(url: URL) -> None:
    """Refuse options that the client does not have, before it takes them for something else.

    Raises:
        ImportError: the client is not installed.
        UnusableDatabase: there is one.
    """
    from psycopg.pq import Conninfo

    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    for name in url.query:
        if name == "prepare_threshold":
            raise UnusableDatabase(
                "the database's URL has the option `prepare_threshold`, which is psycopg's: behind a pooler that pools "
                f"transactions, give `{_POOLER}={_TRANSACTION}`, and leave it out otherwise"
            )
        if name not in known:
            raise UnusableDatabase(
                f"the database's URL has the option `{name}`, which PostgreSQL's client does not know: "
                f"it takes those of libpq, such as sslmode, and `{_POOLER}`"
            )


def _configure_postgresql(connection: Any, record: Any, pooler: str | None) -> None:
    from psycopg.types.string import StrDumper

    class TextDumper(StrDumper):
        """Sends text with a NUL in it, which PostgreSQL cannot hold, with a mark in the place: it is found nowhere."""

        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\ufffd"))

    connection.adapters.register_dumper(str, TextDumper)
    if pooler == _TRANSACTION or (pooler is None and _has_pooler(connection)):
        # Prepared statements and settings of a session would be left behind on another's connection.
        record.info[_POOLED] = True
        connection.prepare_threshold = None
        return
    settings: Mapping[str, int] = {
        "lock_timeout": LOCK_SECONDS,
        "statement_timeout": STATEMENT_SECONDS,
        # A process that is stopped in the middle of a transaction does not keep everybody else waiting for ever.
        "idle_in_transaction_session_timeout": _IDLE_IN_TRANSACTION_SECONDS,
    }
    limits = [f"SET {name} = '{seconds}s'" for name, seconds in settings.items()]
    connection.execute("; ".join([*limits, f"SET random_page_cost = {_RANDOM_PAGE_COST}"]))


def _has_pooler(connection: Any) -> bool:
    """Say whether something stands between: what it told at the start is then not what the server says of itself."""
    return bool(connection.execute("SELECT pg_backend_pid()").fetchone()[0] != connection.info.backend_pid)


def _leave_demoted(context: Any) -> None:
    """Drop every connection to a server that has become one that only reads: there is another primary now."""
    if sqlstate_of(context.sqlalchemy_exception) == READ_ONLY:
        context.is_disconnect = True


def _configure_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    _turn_to_wal(cursor)
    cursor.execute(f"PRAGMA synchronous={SYNCHRONOUS}")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
    # What a savepoint has to keep, in case it is undone, would otherwise go to a file, page by page.
    cursor.execute("PRAGMA temp_store=MEMORY")
    cursor.close()


def _turn_to_wal(cursor: Any) -> None:
    """Put the database into WAL mode, where it stays.

    SQLite does not wait here as it does elsewhere: of several that open a new file at once, all but one are told at
    once that it is locked.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc) or time.monotonic() > deadline:
                raise
            time.sleep(_WAL_PAUSE_SECONDS)
        else:
            return


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
