"""An engine that lies, hangs, repeats, forgets and loses answers: an honest driver in a hostile mood.

What it does to a call follows from the seed, the method, the placement, and how many calls of that kind there were for
that placement: not from the order in which threads come. `calm` ends it, and from then on the truth is told.

    engine = MemoryEngine(now=lambda: clock.now() / 1000)
    driver = HostileDriver(MemoryDriver(engine), seed=1, mood=BROKEN)
"""

from __future__ import annotations

import collections
import enum
import math
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from conformance.memory import MemoryDriver

from nodus_control.suppliers.protocol import (
    CapacityRefused,
    EngineUnavailable,
    Found,
    LogChunk,
    Placement,
    PlacementState,
    Report,
    Workload,
    always,
)

HANG_SECONDS = 60.0
"""The longest that a call hangs, should nobody release it."""

_Answer = TypeVar("_Answer")


class Deed(enum.Enum):
    """What becomes of one call."""

    HONEST = "honest"
    NO_CONNECTION = "no connection"
    """Nothing of it arrives."""
    LOST_ANSWER = "lost answer"
    """It is done, and nobody hears that."""
    HANG = "hang"
    """It is done, and the answer comes late."""
    REPEAT = "repeat"
    """It is done twice."""
    STALE = "stale"
    """The answer is an earlier one, to the same question."""
    LIE = "lie"
    """The answer cannot be, or is another placement's."""
    FORGET = "forget"
    """The engine knows nothing of the placement any more; its program goes on."""
    FULL = "full"
    """There is no room, for a submission."""
    BREAK = "break"
    """The driver fails in a way that nobody has thought of."""


BROKEN: Mapping[Deed, float] = {
    Deed.NO_CONNECTION: 0.15,
    Deed.LOST_ANSWER: 0.2,
    Deed.REPEAT: 0.1,
    Deed.STALE: 0.1,
    Deed.BREAK: 0.05,
}
"""It does what it is told, and says so badly: no program may run twice, and every end is known in the end."""

LYING: Mapping[Deed, float] = {**BROKEN, Deed.LIE: 0.2, Deed.FORGET: 0.05, Deed.FULL: 0.05}
"""What it says cannot be relied on: no state that cannot be may be recorded, and no clock moved."""

HANGING: Mapping[Deed, float] = {Deed.HANG: 1.0}
"""No answer comes before `release`."""


class HostileDriver:
    """A driver in a mood.

    Args:
        driver: the honest one below.
        seed: what its deeds follow from.
        mood: the share of the calls that each deed is done to; the rest is honest.
    """

    def __init__(self, driver: MemoryDriver, *, seed: int, mood: Mapping[Deed, float] = BROKEN) -> None:
        self.honest = driver
        self.seed = seed
        self.mood = dict(mood)
        self.deeds: collections.Counter[tuple[str, Deed]] = collections.Counter()
        """How often what was done to which method."""
        self.hanging = 0
        """How many calls hang now."""
        self._released = threading.Event()
        self._lock = threading.Lock()
        self._calls: collections.Counter[tuple[str, str, int]] = collections.Counter()
        self._earlier: dict[tuple[str, int], list[Report]] = {}

    def calm(self) -> None:
        """Tell the truth from now on, and let go of what hangs."""
        self.mood = {}
        self.release()

    def release(self) -> None:
        """Let go of every call that hangs, and of those that would."""
        self._released.set()

    @property
    def name(self) -> str:
        """Return the honest driver's."""
        return self.honest.name

    @property
    def runs_commands(self) -> bool:
        """Return the honest driver's."""
        return self.honest.runs_commands

    def identity(self) -> str | None:
        """Return who this is, or who it is not."""
        return self._do("identity", None, self.honest.identity, lambda chance: f"engine-{chance.randrange(9)}")

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Submit, somehow."""
        self._do("submit", placement, lambda: self.honest.submit(placement, workload, now, holds))

    def poll(self, placement: Placement, workload: Workload, now: float) -> Report:
        """Report, something."""
        key = placement.job_id, placement.attempt

        def ask() -> Report:
            report = self.honest.poll(placement, workload, now)
            with self._lock:
                self._earlier.setdefault(key, []).append(report)
            return report

        def lie(chance: random.Random) -> Report:
            return self._lie(chance, ask(), placement, now)

        def stale(chance: random.Random) -> Report:
            with self._lock:
                earlier = list(self._earlier.get(key, ()))
            return chance.choice(earlier) if earlier else ask()

        return self._do("poll", placement, ask, lie, stale)

    def cancel(self, placement: Placement, now: float) -> None:
        """Cancel, perhaps."""
        self._do("cancel", placement, lambda: self.honest.cancel(placement, now))

    def logs(self, placement: Placement, offset: int, limit: int) -> LogChunk:
        """Return output, or what passes for it."""

        def lie(chance: random.Random) -> LogChunk:
            chunk = self.honest.logs(placement, offset, limit)
            return chance.choice(
                (
                    replace(chunk, offset=chunk.offset + 1),
                    replace(chunk, total=-1),
                    replace(chunk, complete=not chunk.complete),
                    replace(chunk, data=chunk.data + b"x" * (limit + 1)),
                    replace(chunk, data=b""),
                )
            )

        return self._do("logs", placement, lambda: self.honest.logs(placement, offset, limit), lie)

    def forget(self, placement: Placement) -> None:
        """Forget, or not."""
        self._do("forget", placement, lambda: self.honest.forget(placement))

    def list_placements(self) -> Sequence[Found]:
        """List what there is, less or more."""

        def lie(chance: random.Random) -> Sequence[Found]:
            found = list(self.honest.list_placements())
            strangers = [
                Found("job_that_never_was", 1, *self.honest.owner, 0.0, True),
                Found("", 0, "", "", math.nan, True),
                Found("../../etc", -1, *self.honest.owner, math.inf, False),
            ]
            return [*chance.sample(found, chance.randint(0, len(found))), *strangers, *found[:1]]

        return self._do("list_placements", None, self.honest.list_placements, lie)

    def _do(
        self,
        method: str,
        placement: Placement | None,
        honestly: Callable[[], _Answer],
        lie: Callable[[random.Random], _Answer] | None = None,
        stale: Callable[[random.Random], _Answer] | None = None,
    ) -> _Answer:
        chance = self._chance(method, placement)
        deed = self._choose(chance, method, can_lie=lie is not None)
        with self._lock:
            self.deeds[method, deed] += 1
        if deed is Deed.NO_CONNECTION:
            raise EngineUnavailable("the engine cannot be reached", never_sent=True)
        if deed is Deed.FULL:
            raise CapacityRefused("the engine is full")
        if deed is Deed.BREAK:
            raise RuntimeError("a driver has a fault")
        if deed is Deed.LIE and lie is not None:
            return lie(chance)
        if deed is Deed.STALE and stale is not None:
            return stale(chance)
        if deed is Deed.FORGET and placement is not None:
            found = self.honest.locate(placement)
            if found is not None:
                self.honest.engine.lose(found)
        if deed is Deed.REPEAT:
            honestly()
        answer = honestly()
        if deed is Deed.HANG:
            with self._lock:
                self.hanging += 1
            self._released.wait(HANG_SECONDS)
            with self._lock:
                self.hanging -= 1
        if deed is Deed.LOST_ANSWER:
            raise EngineUnavailable("the engine did not answer in time")
        return answer

    def _chance(self, method: str, placement: Placement | None) -> random.Random:
        job_id, attempt = ("", 0) if placement is None else (placement.job_id, placement.attempt)
        with self._lock:
            number = self._calls[method, job_id, attempt]
            self._calls[method, job_id, attempt] += 1
        return random.Random(f"{self.seed}/{method}/{job_id}/{attempt}/{number}")

    def _choose(self, chance: random.Random, method: str, *, can_lie: bool) -> Deed:
        drawn = chance.random()
        for deed, share in self.mood.items():
            drawn -= share
            if drawn < 0:
                if deed is Deed.FULL and method != "submit":
                    return Deed.HONEST
                if (deed is Deed.LIE and not can_lie) or (deed is Deed.FORGET and method != "poll"):
                    return Deed.HONEST
                return deed
        return Deed.HONEST

    def _lie(self, chance: random.Random, report: Report, placement: Placement, now: float) -> Report:
        """Return a report that cannot be true, or cannot be at all."""
        with self._lock:
            others = [each[-1] for key, each in self._earlier.items() if key != (placement.job_id, placement.attempt)]
        ended = Report(PlacementState.COMPLETED, now - 1, now, engine_ref=report.engine_ref)
        bad = chance.choice((math.nan, math.inf, -math.inf, -1.0, 0.0, 1e300, now + 1e6))
        lies = [
            replace(report, started_at=bad),
            replace(report, finished_at=bad),
            replace(report, next_poll_at=bad),
            replace(report, progress_at=bad, phase="pulling"),
            replace(report, phase="x" * 10_000 + "\n\0", phase_detail="y" * 100_000),
            replace(report, engine_ref=f"id-{chance.randrange(9)}"),
            ended,
            replace(ended, started_at=now, finished_at=now - 100),
            replace(ended, started_at=None, finished_at=None),
            replace(ended, started_at=placement.placed_at - 1e6),
            replace(ended, state=PlacementState.NOT_STARTED),
            replace(ended, state=PlacementState.FAILED, error_code="z" * 10_000, error_message="\0\ud800"),
            Report(PlacementState.LOST),
            Report(PlacementState.CANCELLED),
            *others,
        ]
        return chance.choice(lies)
