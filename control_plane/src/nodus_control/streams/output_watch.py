"""Looks whether running jobs have printed more: one thread for all streams that follow output, however many.

A stream reads only once there is something. Each placement is looked at once for all who follow it, and all of them
together take at most a tenth of a processor, so that nobody can keep the others waiting by following much.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from ..concurrency.threads import begin_thread
from ..concurrency.wakeups import Sleeper, wake_in_turn
from ..suppliers.protocol import LogChunk, Placement

LOOK_SECONDS = 0.25
"""How often, in real seconds, it looks."""

_REST_FACTOR = 9.0
"""How many times as long as looking took it rests, at least."""

_logger = logging.getLogger(__name__)


class OutputWatch:
    """Wakes those who wait for output.

    Args:
        read: returns a placement's output from an offset on, at most so many bytes.
    """

    def __init__(self, read: Callable[[Placement, int, int], LogChunk]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._waiting: dict[Placement, dict[Sleeper, int]] = {}
        self._somebody_waits = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def watching(self, sleeper: Sleeper, placement: Placement, offset: int) -> Iterator[None]:
        """Wake the sleeper when the placement has printed more than `offset` bytes, or will print no more.

        Raises:
            RuntimeError: there is no thread to be had.
        """
        with self._lock:
            if self._thread is None:
                self._thread = begin_thread("nodus-output", self._run)
            self._waiting.setdefault(placement, {})[sleeper] = offset
        self._somebody_waits.set()
        try:
            yield
        finally:
            with self._lock:
                sleepers = self._waiting.get(placement, {})
                sleepers.pop(sleeper, None)
                if not sleepers:
                    self._waiting.pop(placement, None)

    def close(self) -> None:
        """Stop looking."""
        self._stopping.set()
        self._somebody_waits.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._somebody_waits.wait()
            began = time.monotonic()
            with self._lock:
                waiting = {placement: dict(sleepers) for placement, sleepers in self._waiting.items()}
                if not waiting:
                    self._somebody_waits.clear()
                    continue
            woken = [self._look(placement, sleepers) for placement, sleepers in waiting.items()]
            took = time.monotonic() - began
            wake_in_turn(woken, self._stopping)
            self._stopping.wait(max(LOOK_SECONDS, _REST_FACTOR * took))

    def _look(self, placement: Placement, sleepers: dict[Sleeper, int]) -> list[Sleeper]:
        """Return who must read."""
        try:
            chunk = self._read(placement, max(sleepers.values()), 0)
        except Exception:
            # Whoever reads finds out, and says so to its client.
            _logger.debug("cannot look at the output of %s", placement.job_id, exc_info=True)
            return list(sleepers)
        return [sleeper for sleeper, offset in sleepers.items() if chunk.complete or chunk.total > offset]
