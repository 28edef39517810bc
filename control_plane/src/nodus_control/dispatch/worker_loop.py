"""The thread that runs a worker: passes while something is due, then a wait for what is due next, or for news."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..clock import Clock
from ..concurrency.threads import begin_thread
from ..trouble import Trouble
from .worker import BATCH, Worker

IDLE_SECONDS = 1.0
"""How long, in real seconds, news from another process may go unnoticed."""

GATHERING_SECONDS = 0.03
"""How long, in real seconds, the worker lets more fall due after a pass that was not full."""

_logger = logging.getLogger(__name__)


class WorkerLoop:
    """Runs one worker in a thread of its own."""

    def __init__(
        self,
        worker: Worker,
        clock: Clock,
        after_pass: Callable[[], None],
        next_elsewhere: Callable[[], int | None] = lambda: None,
        may_work: Callable[[], bool] | None = None,
    ) -> None:
        """`after_pass` is called after every pass; `next_elsewhere` says what else a leaping clock must not skip.

        While `may_work` says no, nothing is claimed.
        """
        self._worker = worker
        self._clock = clock
        self._after_pass = after_pass
        self._next_elsewhere = next_elsewhere
        self._may_work = may_work
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._trouble = Trouble(_logger, "the worker")
        worker.on_ready = self.wake

    def start(self) -> None:
        """Begin."""
        self._thread = begin_thread("nodus-worker", self._run)

    def wake(self) -> None:
        """Say that something may have fallen due."""
        self._news.set()

    def stop(self) -> None:
        """Stop after the pass under way."""
        self._stopping.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._news.clear()
            try:
                pause = self.round()
                self._trouble.is_over()
            except Exception as exc:
                self._trouble.say(exc)
                pause = IDLE_SECONDS
            if pause > 0:
                self._news.wait(pause)

    def round(self) -> float:
        """Do what is due; return how long to wait, in real seconds."""
        if self._may_work is not None and not self._may_work():
            return IDLE_SECONDS
        looked_at = self._clock.now()
        while not self._stopping.is_set() and (done := self._worker.run_batch()):
            if done < BATCH and not self._clock.leaps:
                # Jobs that arrive meanwhile are dealt with together: two transactions, not two for each job.
                self._stopping.wait(GATHERING_SECONDS)
            looked_at = self._clock.now()
        self._after_pass()
        due = self._worker.next_due()
        if self._clock.leaps:
            elsewhere = self._next_elsewhere()
            if elsewhere is not None and (due is None or elsewhere < due):
                due = elsewhere
        if due is None or due <= looked_at:
            # What is due but could not be claimed is leased to another worker.
            return IDLE_SECONDS
        if self._clock.leaps and due > self._clock.now():
            self._clock.advance_to(due)
            return 0.0
        pause = self._clock.real_seconds_until(due)
        return IDLE_SECONDS if pause is None else min(max(pause, 0.002), IDLE_SECONDS)
