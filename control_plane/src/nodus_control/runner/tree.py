"""The processes of one program, as its runner sees them: all of its descendants, whatever they did to get away."""

from __future__ import annotations

import os
import signal

from nodus_control.runner import processes


class Tree:
    """On Linux every descendant of its runner, which must be a subreaper; elsewhere the program's process group.

    `keeper` is the first process of the program's namespace, where it has one: that stays for as long as anything else
    is left, and takes along what is left when it is killed. `root` is the runner, by default this process. `apart` is a
    descendant that is none of the program's.

    Everything raises `OSError`, and has done nothing, where the system cannot say now what is there.
    """

    def __init__(
        self, program: int, keeper: int | None = None, *, root: int | None = None, apart: int | None = None
    ) -> None:
        self._program = program
        self._keeper = keeper
        self._root = os.getpid() if root is None else root
        self._apart = apart
        self._untouchable: set[int] = set()

    def is_alive(self) -> bool:
        """Whether any of it can still run. What may not be signalled (another user's process) is not counted."""
        if processes.ON_LINUX:
            left = self._descendants()
            return any(pid not in self._untouchable and pid != self._keeper for pid in left)
        try:
            os.killpg(self._program, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def terminate(self) -> None:
        """Ask all of it to end. What is stopped is continued, or it could not answer."""
        self._send(signal.SIGTERM)
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """Kill everything that is there now. Repeat until none is left: what was forked meanwhile is missed."""
        self._send(signal.SIGKILL)

    def _send(self, signum: signal.Signals) -> None:
        if processes.ON_LINUX:
            self._untouchable.update(processes.send(self._descendants(), signum))
            return
        try:
            os.killpg(self._program, signum)
        except (ProcessLookupError, PermissionError):
            return

    def _descendants(self) -> list[int]:
        return [pid for pid in processes.descendants(self._root) if pid != self._apart]
