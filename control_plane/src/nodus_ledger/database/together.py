"""What one thread does for several callers: on one connection, and all that it writes in one transaction.

Each piece of work succeeds or fails by itself, in a savepoint. None of them has happened before all are committed, at
the end: so nobody may be told of its outcome earlier, and what others are to be told of it waits for that too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import sqlalchemy.exc
from sqlalchemy import Connection

from ..errors import DatabaseUnavailable
from .prepared import run_as_written

_Result = TypeVar("_Result")


class Together:
    """The transaction that a thread shares between its pieces of work; it begins with the first that writes.

    Args:
        write: opens a write transaction, which commits at its end.
    """

    def __init__(self, write: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._write = write
        self._closing = contextlib.ExitStack()
        self._lost: BaseException | None = None
        self._afterwards: dict[Callable[[], object], None] = {}
        self.connection: Connection | None = None
        """The one that it is on; None before it begins."""

    @contextmanager
    def piece(self) -> Iterator[Connection]:
        """Do one piece of work in the transaction: what it raises undoes its own statements alone.

        Raises:
            DatabaseUnavailable: the transaction is gone, with what others did in it.
        """
        connection = self._begin_piece()
        try:
            yield connection
        except BaseException as exc:
            self._undo_piece(connection, exc)
            raise
        run_as_written(connection, "RELEASE piece")

    def do(self, work: Callable[[Connection], _Result]) -> _Result:
        """Do one piece of work likewise, and return its result."""
        connection = self._begin_piece()
        try:
            result = work(connection)
        except BaseException as exc:
            self._undo_piece(connection, exc)
            raise
        run_as_written(connection, "RELEASE piece")
        return result

    def _begin_piece(self) -> Connection:
        if self._lost is not None:
            raise DatabaseUnavailable("it was lost") from self._lost
        if self.connection is None:
            self.connection = self._closing.enter_context(self._write())
        run_as_written(self.connection, "SAVEPOINT piece")
        return self.connection

    def _undo_piece(self, connection: Connection, exc: BaseException) -> None:
        try:
            run_as_written(connection, "ROLLBACK TO piece")
            run_as_written(connection, "RELEASE piece")
        except sqlalchemy.exc.SQLAlchemyError:
            self._lost = exc
            # Why, the first exception says.
            if not isinstance(exc, sqlalchemy.exc.DBAPIError):
                raise DatabaseUnavailable("it was lost") from exc

    def afterwards(self, function: Callable[[], object]) -> None:
        """Call a function once all is committed, however often that is asked for; never, if it is not."""
        self._afterwards[function] = None

    def commit(self) -> None:
        """Commit what was written.

        Raises:
            DatabaseUnavailable: the transaction was lost.
            sqlalchemy.exc.DBAPIError: the commit failed.
        """
        if self._lost is not None:
            raise DatabaseUnavailable("it was lost") from self._lost
        self.connection = None
        self._closing.close()

    def call_afterwards(self) -> None:
        """Call what waited for that."""
        for function in self._afterwards:
            function()

    def undo(self, exc: BaseException) -> None:
        """Undo all of it, because of an exception."""
        self.connection = None
        self._closing.__exit__(type(exc), exc, exc.__traceback__)
