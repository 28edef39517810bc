"""Group commit: threads that write at the same time share a transaction, and so wait for the disk only once.

Each thread's work still succeeds or fails by itself, because it runs in a savepoint of its own. No thread gets its
result before the shared transaction has committed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

import sqlalchemy.exc
from sqlalchemy import Connection

from ..errors import DatabaseUnavailable

MAX_GROUP = 64

_Result = TypeVar("_Result")


class _Piece(Generic[_Result]):
    """One thread's work, and what became of it."""

    def __init__(self, work: Callable[[Connection], _Result]) -> None:
        self._work = work
        self._values: list[_Result] = []
        self._is_asleep = threading.Lock()
        self._is_asleep.acquire()
        self.came = time.monotonic()
        self.error: BaseException | None = None
        self.leads = False

    def sleep(self, seconds: float = -1) -> bool:
        """Wait until the piece is over, or its thread is to lead; False if that takes longer than so many seconds."""
        return self._is_asleep.acquire(timeout=seconds)

    def wake(self) -> None:
        """End that wait."""
        self._is_asleep.release()

    def do(self, connection: Connection) -> None:
        self._values = [self._work(connection)]

    def result(self) -> _Result:
        if self.error is not None:
            raise self.error
        return self._values[0]


class GroupCommit:
    """Runs work in write transactions that are shared with other threads that arrive meanwhile.

    One thread leads: it does the work of all that wait, wakes them, and lets the first of those that came meanwhile
    lead next.
    """

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
        # Held for moments: for who waits, and who leads.
        self._lock = threading.Lock()
        self._waiting: deque[_Piece[Any]] = deque()
        self._is_led = False

    def run(self, work: Callable[[Connection], _Result]) -> _Result:
        """Run `work` in a transaction and return its result, once that is committed.

        What `work` raises undoes its own statements alone, and is raised here.

        Raises:
            DatabaseUnavailable: its turn did not come.
        """
        piece = _Piece(work)
        try:
            with self._lock:
                self._waiting.append(piece)
                if not self._is_led:
                    self._is_led = piece.leads = True
            if not piece.leads and not piece.sleep(self._longest_wait_seconds):
                self._give_up(piece)
            if piece.leads:
                self._lead(piece)
        except BaseException:
            # An interrupt may come anywhere: a piece without a thread must not be left to lead.
            with self._lock:
                if piece in self._waiting:
                    self._waiting.remove(piece)
            raise
        finally:
            if piece.leads:
                self._pass_on()
        return piece.result()

    def _give_up(self, piece: _Piece[Any]) -> None:
        """Leave the queue. It is too late for that if somebody has begun with the piece, or lets it lead."""
        with self._lock:
            if piece in self._waiting and not piece.leads:
                raise DatabaseUnavailable(f"others have been waiting for a lock for {self._longest_wait_seconds:g} s")
        piece.sleep()

    def _lead(self, leader: _Piece[Any]) -> None:
        """Do what waits, beginning with the leader's own, which has waited longest."""
        with self._lock:
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_GROUP))]
        try:
            with self._write(leader.came) as connection:
                if len(group) == 1:
                    # What it raises undoes the transaction, and nobody else is in it.
                    leader.do(connection)
                else:
                    for piece in group:
                        _do_alone(connection, piece)
        except BaseException as exc:
            for piece in group:
                piece.error = piece.error or exc
            if not isinstance(exc, Exception):
                raise
        finally:
            for piece in group:
                if piece is not leader:
                    piece.wake()

    def _pass_on(self) -> None:
        with self._lock:
            self._is_led = bool(self._waiting)
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].wake()


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
