"""When a program is to be ended, and how: pure decisions, from what was observed and a reading of a monotonic clock."""

from __future__ import annotations

import enum

from nodus_control.runner.attempt_files import CANCELLED, EXITED, LOST, MAX_RUNTIME_EXCEEDED, SILENT

LOOK_AGAIN_SECONDS = 0.02


class Action(enum.Enum):
    """What to do next. `KILL` is repeated until nothing is left."""

    WAIT = "wait"
    TERMINATE = "terminate"
    KILL = "kill"
    FINISH = "finish"


class Termination:
    """From the start of a program to the moment when nothing of it is left.

    The reason is settled by what is seen first: the program's own end, the limit, a request, or that the runner could
    not show that it lives, for which its guard ends the program. Then whatever is
    alive gets SIGTERM, and after `grace_seconds` SIGKILL. What a program leaves behind when it ends by itself has
    `linger_seconds` to finish (the `tee` of a shell's `> >(tee file)` still has to write) before that begins. A program
    that was given up has no time at all: the job may run elsewhere by now.
    """

    def __init__(
        self, *, started: float, max_runtime_seconds: float, grace_seconds: float, linger_seconds: float
    ) -> None:
        self.reason: str | None = None
        self.deadline = started + max_runtime_seconds
        self._grace_seconds = grace_seconds
        self._linger_seconds = linger_seconds
        self._settled = started
        self._terminate_at = started
        self._kill_at: float | None = None

    def decide(
        self,
        now: float,
        *,
        exited: bool,
        alive: bool,
        cancelled: bool,
        silent: bool = False,
        given_up: bool = False,
    ) -> Action:
        """What to do, given whether the main process has exited, anything is `alive`, an end was requested, its guard
        has begun to end the program (`silent`), and somebody else has recorded how it ended (`given_up`).

        `alive` matters only once the program has exited or the reason is settled.
        """
        if given_up:
            self._give_up(now)
        if self.reason is None and not self._settle(now, exited=exited, cancelled=cancelled, silent=silent):
            return Action.WAIT
        if exited and not alive:
            return Action.FINISH
        if self._kill_at is None:
            if now < self._terminate_at:
                return Action.WAIT
            self._kill_at = now + self._grace_seconds
            return Action.TERMINATE
        return Action.WAIT if now < self._kill_at else Action.KILL

    def seconds_until_next_look(self, now: float) -> float:
        """How long, in seconds, nothing has to be decided unless something happens."""
        return LOOK_AGAIN_SECONDS if self.reason is not None else max(0.0, self.deadline - now)

    def finished(self, now: float) -> float:
        """When the job was over, given that it is now: never past its limit, which is when a job ends at the latest.

        A program that exits and leaves nothing that has to be ended was over when it exited. What is left beyond that
        runs at the job's expense, or a program could exit at once and go on for nothing.
        """
        is_over_with_its_exit = self.reason == EXITED and self._kill_at is None
        return min(self._settled if is_over_with_its_exit else now, self.deadline)

    def _give_up(self, now: float) -> None:
        if self.reason is None:
            self.reason, self._settled = LOST, now
        self._kill_at = now if self._kill_at is None else min(self._kill_at, now)

    def _settle(self, now: float, *, exited: bool, cancelled: bool, silent: bool) -> bool:
        if silent:
            self.reason = SILENT
        elif exited:
            self.reason = EXITED
        elif now >= self.deadline:
            self.reason = MAX_RUNTIME_EXCEEDED
        elif cancelled:
            self.reason = CANCELLED
        else:
            return False
        self._settled = now
        if silent:
            # It has been asked to end already.
            self._kill_at = now + self._grace_seconds
        self._terminate_at = now + (self._linger_seconds if exited else 0.0)
        return True
