"""What the `process` driver has seen of attempts that have not ended, and what it makes of one that lost its runner.

That a runner is gone is certain, by its pid, start time and boot: it is on this machine. What that says about its
program depends. Of one that was contained, or ran before the machine was started anew, nothing is left, and it could
not touch what its runner left: the attempt is lost, and the job can be placed again. Any other could have hidden
something that goes on, or have ended its runner itself, for a run that is not charged: its job has failed.

Nobody pays for the time in which nothing ran. An attempt has run until its runner's last sign of life, unless something
of it was found that did run on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ...runner import attempt_files, processes
from ...runner.attempt_files import Claim, Identity, Program, Result
from ...runner.supervise import HEARTBEAT_SECONDS
from ..life import SignsOfLife
from .ending import kill_everything
from .keeping import last_sign, sign_of_life

_ALL_OF_IT_ENDED = "everything that it had started ended with the runner"
_WHAT_WAS_FOUND_ENDED = "what was found of it has been ended, but a process that hides would not have been found"

Name = tuple[str, int]
"""Job and attempt."""


@dataclass
class _Watched:
    """What was seen of one attempt.

    Attributes:
        life: its runner's signs of life.
        alive_at: when its runner was last seen to live, by the control plane's clock; 0 for never.
        was_running: whether something of its program was found that had lost its runner.
    """

    life: SignsOfLife
    alive_at: float = 0.0
    was_running: bool = False


class Watch:
    """Watches over the runners of one driver.

    Args:
        lost_seconds: how long one that is not heard of is waited for.
        clock: seconds that only go forward, and not while the machine sleeps.
    """

    def __init__(self, lost_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lost_seconds = lost_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._watched: dict[Name, _Watched] = {}

    def is_heard(self, name: Name, directory: str, now: float) -> bool:
        """Whether a runner that is there still shows that it lives, as it does every few seconds."""
        sign = sign_of_life(directory)
        with self._lock:
            watched = self._of(name)
            watched.life.hear(sign, self._clock())
            is_heard = watched.life.silent_seconds(sign, self._clock()) < self._lost_seconds
            if is_heard:
                watched.alive_at = now
        return is_heard

    def kill(self, name: Name, directory: str, runner: Identity, program: Program | None) -> bool:
        """Kill what can be found of an attempt; whether nothing that can be killed is left."""
        found = kill_everything(directory, runner, program)
        with self._lock:
            self._of(name).was_running |= found.was_running
        return found.is_over

    def judge(
        self,
        name: Name,
        directory: str,
        claim: Claim,
        program: Program | None,
        recorded_at: float | None,
        now: float,
        *,
        was_cancelled: bool,
    ) -> Result:
        """Say how an attempt ended that lost its runner, and of which nothing is left.

        Args:
            name: of the attempt.
            directory: where its records are.
            claim: its runner's.
            program: None where none is on record.
            recorded_at: when it began, where the control plane has that on record.
            now: by the control plane's clock.
            was_cancelled: whether its end was asked for.
        """
        is_restarted = claim.runner is not None and claim.runner.boot_id != processes.boot_id()
        is_certain = claim.is_contained or is_restarted
        started_at = recorded_at
        if started_at is None and program is not None:
            started_at = program.started_at
        if started_at is None and not is_certain:
            # It can have run, and have removed the record of it.
            started_at = claim.at
        with self._lock:
            watched = self._watched.get(name) or self._new()
        finished_at = now
        if is_certain or not watched.was_running:
            last = last_sign(directory) + claim.clock_offset + HEARTBEAT_SECONDS
            finished_at = min(now, last if is_certain else max(last, watched.alive_at))
        reason = attempt_files.LOST if is_certain else attempt_files.RUNNER_LOST
        return Result(
            reason=attempt_files.CANCELLED if was_cancelled else reason,
            started_at=started_at,
            finished_at=finished_at if started_at is None else max(started_at, finished_at),
            detail=_ALL_OF_IT_ENDED if is_certain else _WHAT_WAS_FOUND_ENDED,
        )

    def over(self, name: Name) -> None:
        """Forget an attempt that has ended."""
        with self._lock:
            self._watched.pop(name, None)

    def _of(self, name: Name) -> _Watched:
        return self._watched.setdefault(name, self._new())

    def _new(self) -> _Watched:
        return _Watched(SignsOfLife(longest_gap_seconds=self._lost_seconds / 4))
