"""A batch executor: one thread does short pieces of blocking work for tasks of an event loop, all that wait at a time.

A thread for each piece would cost more than the piece: each has to be woken, and to wait for the interpreter, on its
way there and on its way back. The executor's thread is woken once for all pieces that have come, and wakes the event
loop once for all that are done.

The next batch begins when the loop has handed these outcomes out. To begin at once would not be sooner done: loop and
thread would take turns at the interpreter, statement by statement, and what comes meanwhile would wait for a smaller
batch, with a commit of its own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

import anyio
from typing_extensions import TypeVarTuple, Unpack

from .rotation import Rotation
from .threads import thread_starter
from .wakeups import call_later, call_next, call_soon_here

MOST_AT_ONCE = 16

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")


class TurnDidNotCome(Exception):
    """A piece of work waited too long behind others; it was not begun."""


class _Piece(Generic[_Result]):
    """One task's work, and what became of it."""

    __slots__ = ("call_soon", "came", "ended", "error", "values", "work")

    def __init__(self, work: Callable[[], _Result]) -> None:
        self.work = work
        self.came = time.monotonic()
        self.ended = anyio.Event()
        self.call_soon = call_soon_here()
        self.values: list[_Result] = []
        self.error: BaseException | None = None

    def do(self) -> None:
        try:
            self.values = [self.work()]
        except BaseException as exc:
            self.error = exc

    def result(self) -> _Result:
        if self.error is not None:
            raise self.error
        return self.values[0]


class BatchExecutor:
    """One thread at a time for the tasks of one event loop; none where nothing waits.

    Args:
        together: is entered around all pieces that are done at a time. What leaving it raises becomes the outcome of
            all of them.
        longest_wait_seconds: how long a piece may wait before it is begun.
        most: so many pieces at a time.
    """

    def __init__(
        self,
        together: Callable[[], AbstractContextManager[None]],
        longest_wait_seconds: float,
        most: int = MOST_AT_ONCE,
    ) -> None:
        self._together = together
        self._longest_wait_seconds = longest_wait_seconds
        self._most = most
        self._start = thread_starter()
        # Held for moments: for what waits, and whether a thread sees to it.
        self._lock = threading.Lock()
        self._waiting: Rotation[_Piece[Any]] = Rotation()
        self._is_seen_to = False
        self._is_called = False
        self._is_timed = False

    async def do(
        self, flow: str, function: Callable[[Unpack[_Arguments]], _Result], *args: Unpack[_Arguments]
    ) -> _Result:
        """Have a function called in the executor's thread, when it is the turn of its flow; return what it returns.

        Cancelling takes back what has not begun, and waits for the end of what has, because nothing can stop it.

        Raises:
            TurnDidNotCome: after waiting too long.
        """
        piece = _Piece(lambda: function(*args))
        with self._lock:
            self._waiting.add(flow, piece)
        self._call_thread()
        if not self._is_timed:
            self._is_timed = True
            call_later(self._longest_wait_seconds, self._refuse_overdue)
        try:
            await piece.ended.wait()
        except BaseException:
            if not piece.ended.is_set() and not self._take_back(flow, piece):
                await _end_of(piece.ended)
            raise
        return piece.result()

    @property
    def waiting(self) -> int:
        """How many pieces have not begun."""
        return len(self._waiting)

    def _take_back(self, flow: str, piece: _Piece[Any]) -> bool:
        with self._lock:
            return self._waiting.remove(flow, piece)

    def _refuse_overdue(self) -> None:
        """End the wait of those who have waited too long; come again when the next will have."""
        overdue = time.monotonic() - self._longest_wait_seconds
        with self._lock:
            refused = self._waiting.remove_if(lambda piece: piece.came <= overdue)
            oldest = min((piece.came for piece in self._waiting), default=None)
        for piece in refused:
            piece.error = TurnDidNotCome()
        _end_all(refused)
        self._is_timed = oldest is not None
        if oldest is not None:
            call_later(max(0.0, oldest - overdue), self._refuse_overdue)

    def _call_thread(self) -> None:
        """Begin, once the event loop has come round: until then others may add to what waits."""
        if not self._is_called:
            self._is_called = True
            call_next(self._begin)

    def _begin(self) -> None:
        self._is_called = False
        with self._lock:
            if self._is_seen_to or not self._waiting:
                return
            self._is_seen_to = True
        try:
            self._start(self._run)
        except RuntimeError as exc:
            # There are as many threads as there may be.
            with self._lock:
                self._is_seen_to = False
                waiting = self._waiting.take(len(self._waiting))
            for piece in waiting:
                piece.error = exc
            _end_all(waiting)

    def _run(self) -> None:
        batch = self._next_batch()
        if batch:
            self._do(batch)
            # A closed loop has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                batch[0].call_soon(self._hand_out, batch)

    def _hand_out(self, batch: Sequence[_Piece[Any]]) -> None:
        _end_all(batch)
        with self._lock:
            self._is_seen_to = False
            is_next = bool(self._waiting)
        if is_next:
            # Behind those who were answered just now: what they ask next may come along.
            self._call_thread()

    def _next_batch(self) -> Sequence[_Piece[Any]]:
        with self._lock:
            batch = self._waiting.take(self._most)
            self._is_seen_to = bool(batch)
        return batch

    def _do(self, batch: Sequence[_Piece[Any]]) -> None:
        try:
            with self._together():
                for piece in batch:
                    piece.do()
        except BaseException as exc:
            for piece in batch:
                piece.error = exc


def _end_all(batch: Sequence[_Piece[Any]]) -> None:
    for piece in batch:
        piece.ended.set()


async def _end_of(ended: anyio.Event) -> None:
    """Wait for it, however often this task is cancelled meanwhile."""
    with anyio.CancelScope(shield=True):
        while not ended.is_set():
            with contextlib.suppress(anyio.get_cancelled_exc_class()):
                await ended.wait()
