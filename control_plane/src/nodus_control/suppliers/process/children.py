"""Reaps runners that became children of this process: where it is init, or a subreaper."""

from __future__ import annotations

import contextlib
import os
import threading

from ...runner import processes
from ...runner.attempt_files import Identity


class OwnChildren:
    """Runners that have ended, or are about to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: set[Identity] = set()

    def remember(self, runner: Identity) -> None:
        """Reap a runner whose attempt has ended, now or later, if it is a child of this process."""
        entry = processes.look_up(runner.pid)
        if entry is not None and entry.parent == os.getpid() and processes.is_same(runner):
            with self._lock:
                self._pending.add(runner)
            self.reap()

    def reap(self) -> None:
        """Reap those that have ended by now."""
        with self._lock:
            for runner in tuple(self._pending):
                ended = runner.pid
                if processes.is_same(runner):
                    with contextlib.suppress(ChildProcessError):
                        ended, _ = os.waitpid(runner.pid, os.WNOHANG)
                if ended:
                    self._pending.discard(runner)
