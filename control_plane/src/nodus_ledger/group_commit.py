"""Group commit: threads that write at the same time share a transaction, and so wait for the disk only once.

Each thread's work still succeeds or fails by itself, because it runs in a savepoint of its own. No thread gets its
result before the shared transaction has committed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

import sqlalchemy.exc
from sqlalchemy import Connection

from .errors import DatabaseUnavailable

MAX_GROUP = 64

_Result = TypeVar("_Result")


class _Piece(Generic[_Result]):
    """One thread's work, and what became of it."""

    def __init__(self, work: Callable[[Connection], _Result]) -> None:
        self._work = work
        self._values: list[_Result] = []
        self.came = time.monotonic()
        self.error: BaseException | None = None
        self.is_over = False

    def do(self, connection: Connection) -> None:
        self._values = [self._work(connection)]

    def result(self) -> _Result:
        if self.error is not None:
            raise self.error
        return self._values[0]


class GroupCommit:
    """Runs work in write transactions that are shared with other threads that arrive meanwhile."""

    def __init__(
        self, write: Callable[[float], AbstractContextManager[Connection]], longest_wait_seconds: float
    ) -> None:
        """Prepare for work.

        Args:
            write: opens a write transaction, which commits at its end; called with the time (monotonic) since when the
                one who leads the group has been waiting.
            longest_wait_seconds: how long work waits for its turn.
        """
        self._write = write
        self._longest_wait_seconds = longest_wait_seconds
        self._waiting: deque[_Piece[object]] = deque()
        self._leading = threading.Lock()

    def run(self, work: Callable[[Connection], _Result]) -> _Result:
        """Run `work` in a transaction and return its result, once that is committed.

        What `work` raises undoes its own statements alone, and is raised here.

        Raises:
            DatabaseUnavailable: its turn did not come.
        """
        piece = _Piece(work)
        self._waiting.append(piece)  # type: ignore[arg-type]  # a queue of pieces of any kind, each read by its own thread
        if not self._leading.acquire(timeout=self._longest_wait_seconds):
            with contextlib.suppress(ValueError):
                self._waiting.remove(piece)  # type: ignore[arg-type]
                raise DatabaseUnavailable(f"others have been waiting for a lock for {self._longest_wait_seconds:g} s")
            # Too late: somebody has just begun with it.
            self._leading.acquire()
        try:
            # The previous leader may have done it already.
            while not piece.is_over:
                self._lead(piece.came)
        finally:
            self._leading.release()
        return piece.result()

    def _lead(self, since: float) -> None:
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_GROUP))]
        try:
            with self._write(since) as connection:
                for piece in group:
                    _do_alone(connection, piece)
        except BaseException as exc:
            for piece in group:
                piece.error = piece.error or exc
            if not isinstance(exc, Exception):
                raise
        finally:
            for piece in group:
                piece.is_over = True


def _do_alone(connection: Connection, piece: _Piece[object]) -> None:
    connection.exec_driver_sql("SAVEPOINT piece")
    try:
        piece.do(connection)
    except Exception as exc:
        piece.error = exc
        try:
            connection.exec_driver_sql("ROLLBACK TO piece")
        except sqlalchemy.exc.SQLAlchemyError:
            # The transaction is gone, with what the others did in it. Why, the first exception says.
            raise (exc if isinstance(exc, sqlalchemy.exc.DBAPIError) else DatabaseUnavailable("it was lost")) from exc
    connection.exec_driver_sql("RELEASE piece")
