"""Connections and transactions.

SQLite is the embedded default. A file is in WAL mode with `synchronous=FULL`, so an answer that was given survives a
power cut; one write transaction at a time takes its lock at once (`BEGIN IMMEDIATE`), so that what it read stays true
until it commits. A database in memory is one connection that threads take in turns.

On PostgreSQL any number of processes write at once, in `READ COMMITTED`, and what must stay true is locked. So that no
two of them ever wait for each other in a circle, every transaction takes its locks in this order, and of several rows
of one kind in the order of their key:

1. a name (`lock_name`), where what is to be held has no row yet; the row of a GPU model in `passes`; then the
   row of `settings` that says which suppliers are accepted, which claims and passes hold `FOR SHARE`; then those of
   `owners`, `FOR SHARE` by passes, `FOR UPDATE` by `release`;
2. jobs, webhook endpoints, then deliveries; workers claim with `SKIP LOCKED`, and never wait here;
3. customers, whom exporters claim with `SKIP LOCKED`, and behind them meter events; then keys, each with its
   `reservations` behind it, which guard everything about a month: `monthly_spend`, and the thresholds that were told;
4. slots; who takes some skips what is locked, and never waits here; behind them a new row of `owners`, one in a
   pass;
5. heads of logs, and behind them the rows of `ledger` and `events`. That lock is held until the transaction commits,
   so positions become visible in their order; and it is what all of a customer's writers queue for, so it comes last.

Only this module and `dialects` know which kind of database it is: statements elsewhere ask for row locks with
`with_for_update`, which SQLite has no need of and leaves out.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import sqlalchemy.exc
from sqlalchemy import Connection, text

from .. import migrations
from ..errors import DatabaseUnavailable
from .conditions import CONFLICTS, is_passing, may_have_committed, sqlstate_of
from .dialects import (
    LOCK_SECONDS,
    PATIENT,
    POSTGRESQL,
    SQLITE,
    THOROUGH,
    USUAL,
    WRITERS_AT_ONCE,
    Limits,
    UnusableDatabase,
    begin,
    is_pooled,
    open_engine,
    parse,
    shown,
)
from .group_commit import GroupCommit
from .prepared import Parameters, Prepared
from .private_files import keep_database_private
from .together import Together
from .webhook_schema import metadata

DATABASE_VARIABLE = "NODUS_DATABASE_URL"
"""The environment variable that names the database of operators' commands."""

_MOST_ATTEMPTS = 5
# A serialization failure, a deadlock, and two that inserted the same: whoever comes again finds the other's work done.
_MAY_SUCCEED_AGAIN = CONFLICTS | {"23505"}
_MARGIN_SECONDS = 0.1

LOG_BYTES = 8 * 1024 * 1024
"""From this size on SQLite's write-ahead log counts as large; in the ordinary course it has half of that."""
_CUTTING_MS = 200

_Result = TypeVar("_Result")


class Database:
    """One database, used by any number of threads, and by any number of processes."""

    def __init__(self, url: str = "sqlite://") -> None:
        """Open a database; make its tables where it has none, and bring older ones up to what they are now.

        Raises:
            UnusableDatabase: the URL names neither SQLite nor PostgreSQL, nothing can be opened there, or a newer
                version has been there before.
        """
        parsed = parse(url)
        self.is_server = parsed.get_backend_name() == "postgresql"
        """Whether it is PostgreSQL: others use it too, and it is kept on no disk of this process."""
        is_file = not self.is_server and parsed.database not in (None, "", ":memory:")
        self.path = Path(str(parsed.database)).absolute() if is_file else None
        """The file; None in memory and on a server."""
        self.is_shared = self.is_server or is_file
        """Whether other processes can open it too."""
        if self.path is not None:
            keep_database_private(self.path)
        self._dialect = POSTGRESQL if self.is_server else SQLITE
        self._engine = open_engine(parsed, in_memory=not self.is_server and not is_file)
        # SQLite would make writers of one process poll for its lock; here they queue, and nobody is overtaken for long.
        # A server has locks of its own; but those who wait for them leave connections to those who only read.
        self._writing = threading.BoundedSemaphore(WRITERS_AT_ONCE if self.is_server else 1)
        # In memory all take turns on one connection. Of writers only one at a time is there for its turn, so nobody who
        # reads waits behind more than one.
        self._turn: AbstractContextManager[Any] = _Unlocked() if self.is_shared else threading.Lock()
        # By key; each lives for as long as somebody runs in it.
        self._groups: WeakValueDictionary[str | None, GroupCommit] = WeakValueDictionary()
        self._grouping = threading.Lock()
        self._of_thread = _OfThread()
        try:
            self._bring_up()
        except (DatabaseUnavailable, sqlalchemy.exc.DBAPIError, migrations.NewerSchema, _BadOption) as exc:
            self._engine.dispose()
            reason = exc.reason if isinstance(exc, DatabaseUnavailable) else in_a_line(exc)
            raise UnusableDatabase(f"cannot open the database {shown(parsed)}: {reason}") from exc

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run a write transaction: committed at the end, rolled back on any exception; on SQLite, alone.

        Raises:
            DatabaseUnavailable: it could not be begun, the database failed in its course, or a lock that it needs was
                held by another for too long. Nothing was done, unless the exception says otherwise.
        """
        together = self._of_thread.together
        with _translated, self._write() if together is None else together.piece() as connection:
            yield connection

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let all that this thread writes inside the block be one transaction, committed at its end; on SQLite only.

        Inside, everything else goes on as it does outside: each `run` and each `write` succeeds or fails by itself, and
        what was written can be read. But only after the block may anybody be told of it. What leaving the block raises
        holds for all that was done inside.

        Raises:
            DatabaseUnavailable: the transaction was lost, or could not be committed.
        """
        together = Together(self._write)
        self._of_thread.together, self._of_thread.found = together, {}
        try:
            with _translated:
                try:
                    yield
                    together.commit()
                except BaseException as exc:
                    together.undo(exc)
                    raise
        finally:
            self._of_thread.together = self._of_thread.found = None
        together.call_afterwards()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let all that this thread reads inside the block use one connection, where others have connections too."""
        if self.is_server or not self.is_shared:
            yield
            return
        with _translated, self._connected() as connection:
            self._of_thread.lent, self._of_thread.found = connection, {}
            try:
                yield
            finally:
                self._of_thread.lent = self._of_thread.found = None

    def once(self, name: Hashable, read: Callable[[], _Result]) -> _Result:
        """Read something, but only once in a block of `together` or `lent`, whose pieces of work do not change it.

        Everybody whose work is done in the block had asked for it before the block began: so what is found then is as
        new as each of them may expect.

        Args:
            name: what is read; the same one always means the same.
            read: reads it.
        """
        found = self._of_thread.found
        if found is None:
            return read()
        if name not in found:
            found[name] = read()
        result: _Result = found[name]
        return result

    def after_commit(self, function: Callable[[], object]) -> None:
        """Call a function once what this thread has written is committed: at once, unless it writes `together`."""
        together = self._of_thread.together
        if together is None or together.connection is None:
            function()
        else:
            together.afterwards(function)

    @contextmanager
    def _write(self, *, limits: Limits | None = None, since: float | None = None) -> Iterator[Connection]:
        """Do that, with the database's own exceptions. `since` (monotonic) is when the wait for locks began."""
        limits = limits or USUAL
        began = time.monotonic() if since is None else since
        with self._admitted(limits, began), self._turn:
            waited = time.monotonic() - began
            if waited > _MARGIN_SECONDS and limits.lock_ms:
                limits = limits.with_lock(LOCK_SECONDS - waited)
            with self._connected(self._dialect.begin_write, limits) as connection:
                try:
                    yield connection
                    _commit(connection)
                except BaseException:
                    _end(connection, "ROLLBACK")
                    raise

    @contextmanager
    def _admitted(self, limits: Limits, began: float) -> Iterator[None]:
        """Wait until another may write. Those who migrate wait as long as it takes."""
        left = max(0.0, began + LOCK_SECONDS - time.monotonic())
        if not self._writing.acquire(timeout=left if limits.lock_ms else None):
            raise DatabaseUnavailable(f"others have been writing, or waiting for a lock, for {LOCK_SECONDS} s")
        try:
            yield
        finally:
            self._writing.release()

    def run(self, work: Callable[[Connection], _Result], *, group_key: str | None = None) -> _Result:
        """Run `work` in a write transaction and return its result, once that is committed.

        It may run again from its beginning where another transaction was in its way. What would wait for each other
        anyway, and comes together, shares a transaction and one wait for the disk: on SQLite everything, on PostgreSQL
        work with the same `group_key`, all of which takes the same locks. What a piece of work raises undoes it alone.
        """
        together = self._of_thread.together
        if together is not None:
            with _translated:
                return together.do(work)
        with _translated:
            for _ in range(_MOST_ATTEMPTS - 1):
                try:
                    return self._run_once(work, group_key)
                except sqlalchemy.exc.DBAPIError as exc:
                    if sqlstate_of(exc) not in _MAY_SUCCEED_AGAIN:
                        raise
            return self._run_once(work, group_key)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Run statements that only read, each on what is committed when it runs.

        Raises:
            DatabaseUnavailable: the database cannot be reached, or failed in the course of it.
        """
        mine = self._of_thread.connection()
        if mine is not None:
            with _translated:
                yield mine
            return
        with _translated, self._turn, self._connected() as connection:
            if not is_pooled(connection):
                yield connection
                return
            # Only a transaction has limits there.
            with _translated:
                begin(connection, self._dialect.begin_write)
            try:
                yield connection
            finally:
                _end(connection, "COMMIT")

    def first(self, prepared: Prepared, parameters: Parameters) -> Sequence[Any] | None:
        """Return the first row that a prepared query finds in what is committed now; None if there is none.

        Raises:
            DatabaseUnavailable: as for `read`.
        """
        if self.is_server:
            with self.read() as connection:
                return prepared.first(connection, parameters)
        mine = self._of_thread.connection()
        if mine is not None:
            with _translated:
                return prepared.first(mine, parameters)
        dialect = self._engine.dialect
        with _translated, self._turn:
            try:
                lent = self._engine.raw_connection()
            except (sqlalchemy.exc.SQLAlchemyError, dialect.loaded_dbapi.Error) as exc:
                raise DatabaseUnavailable(in_a_line(exc)) from exc
            try:
                return prepared.first_of_lent(dialect, lent, parameters)
            finally:
                lent.close()

    def server_time(self) -> float | None:
        """Return the database server's clock, in Unix seconds; None for SQLite, which has none."""
        if not self.is_server:
            return None
        with self.read() as connection:
            return float(connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one())

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Run statements that only read, all on what is committed when the first of them runs, however long it takes.

        Raises:
            DatabaseUnavailable: as for `read`.
        """
        with _translated, self._turn, self._connected(self._dialect.begin_snapshot, THOROUGH) as connection:
            try:
                yield connection
            finally:
                _end(connection, "ROLLBACK")

    def lock_name(self, connection: Connection, name: str) -> None:
        """Let nobody else past this name until the transaction ends: for what has no row that could be locked."""
        if self._dialect.lock_name is not None:
            connection.execute(text(self._dialect.lock_name), {"name": name})

    def cut_log(self) -> bool:
        """Empty SQLite's write-ahead log, if it is large and nobody is in the way; say whether it was.

        By itself it is used again from its beginning, but stays as long as it ever was.
        """
        if self.path is None:
            return False
        try:
            if self.path.with_name(self.path.name + "-wal").stat().st_size <= LOG_BYTES:
                return False
        except FileNotFoundError:
            return False
        with _translated, self._connected() as connection:
            # Writers wait meanwhile, so it gives up soon, and comes again.
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {_CUTTING_MS}")
            try:
                return bool(connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0] == 0)
            finally:
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {USUAL.lock_ms}")

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _connected(self, statement: str | None = None, limits: Limits | None = None) -> Iterator[Connection]:
        """Give a connection, and begin a transaction on it. Whatever fails so early has done nothing."""
        with contextlib.ExitStack() as closing:
            try:
                connection = closing.enter_context(self._engine.connect())
                if statement is not None:
                    begin(connection, statement, limits)
            except (sqlalchemy.exc.DBAPIError, sqlalchemy.exc.TimeoutError) as exc:
                raise DatabaseUnavailable(in_a_line(exc)) from exc
            yield connection

    def _bring_up(self) -> None:
        try:
            self._engine.connect().close()
        except (TypeError, ValueError) as exc:
            # What the driver says of an option that it does not know, or of a value that it cannot use.
            raise _BadOption(f"an option of the URL cannot be used: {exc}") from exc
        with self.read() as connection:
            if migrations.is_newest(connection):
                return
        with _translated, self._write(limits=PATIENT) as connection:
            # Of several that start at once, one does it.
            self.lock_name(connection, "schema")
            migrations.bring_up(connection, metadata)

    def _run_once(self, work: Callable[[Connection], _Result], group_key: str | None) -> _Result:
        if self.is_server and group_key is None:
            with self._write() as connection:
                return work(connection)
        return self._group(group_key if self.is_server else None).run(work)

    def _group(self, group_key: str | None) -> GroupCommit:
        with self._grouping:
            group = self._groups.get(group_key)
            if group is None:
                group = self._groups[group_key] = GroupCommit(lambda since: self._write(since=since), LOCK_SECONDS)
            return group


class _OfThread(threading.local):
    """What a thread has of its own for the time being."""

    together: Together | None = None
    lent: Connection | None = None
    found: dict[Hashable, Any] | None = None

    def connection(self) -> Connection | None:
        """Return the connection on which it reads; None where it takes one each time."""
        return self.lent if self.together is None else self.together.connection


class _BadOption(Exception):
    """The URL has an option that the driver refuses."""


class _Unlocked:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc_info: object) -> None:
        return None


def in_a_line(exc: Exception) -> str:
    """Say what an exception says, in a line; what the database's driver says, without SQLAlchemy's words around it."""
    return " ".join(str(getattr(exc, "orig", None) or exc).split())


class _Translated:
    """Says of errors that mean only that the database cannot be used right now, that they do."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, exc: BaseException | None, _traceback: object) -> None:
        if isinstance(exc, sqlalchemy.exc.SQLAlchemyError) and is_passing(exc):
            raise DatabaseUnavailable(in_a_line(exc)) from exc


# It has no state of its own.
_translated = _Translated()


def _commit(connection: Connection) -> None:
    try:
        connection.exec_driver_sql("COMMIT")
    except sqlalchemy.exc.DBAPIError as exc:
        if not may_have_committed(exc):
            raise
        raise DatabaseUnavailable(in_a_line(exc), nothing_was_done=False) from exc


def _end(connection: Connection, how: str) -> None:
    """End a transaction. Where the connection is lost, or the database undid it already, nothing is left to end."""
    if not connection.invalidated:
        with contextlib.suppress(sqlalchemy.exc.DBAPIError):
            connection.exec_driver_sql(how)


__all__ = ["DATABASE_VARIABLE", "Database", "UnusableDatabase", "in_a_line"]
