"""Group commit: threads that write at the same time share a transaction, and so wait for the disk only once.

Each thread's work still succeeds or fails by itself, because it runs in a savepoint of its own. No thread gets its
result before the shared transaction has committed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from sqlalchemy import Connection

MAX_GROUP = 64

_Result = TypeVar("_Result")


class _Piece(Generic[_Result]):
    """One thread's work, and what became of it."""

    def __init__(self, work: Callable[[Connection], _Result]) -> None:
        self._work = work
        self._values: list[_Result] = []
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

    def __init__(self, write: Callable[[], AbstractContextManager[Connection]]) -> None:
        """`write` opens a write transaction, which commits at its end."""
        self._write = write
        self._waiting: deque[_Piece[object]] = deque()
        self._leading = threading.Lock()

    def run(self, work: Callable[[Connection], _Result]) -> _Result:
        """Run `work` in a transaction and return its result, once that is committed.

        What `work` raises undoes its own statements alone, and is raised here.
        """
        piece = _Piece(work)
        self._waiting.append(piece)  # type: ignore[arg-type]  # a queue of pieces of any kind, each read by its own thread
        with self._leading:
            # The previous leader may have done it already.
            while not piece.is_over:
                self._lead()
        return piece.result()

    def _lead(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_GROUP))]
        try:
            with self._write() as connection:
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
        connection.exec_driver_sql("ROLLBACK TO piece")
    connection.exec_driver_sql("RELEASE piece")
