"""What one process has seen of an attempt on a cluster with its own eyes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..life import SignsOfLife
from .records import Records, Silence, is_sign

OWN_SHARE = 0.25
"""The least part of the time until a script is given up that a process must have waited for it itself."""

NOTED_SHARE = 1 / 6
"""After which part of that time more a silence is noted again, for whoever looks next."""


@dataclass
class Watched:
    """An attempt, as it was seen. Times in seconds, of a clock that only goes forward.

    Attributes:
        asked_at: when it was last polled.
        life: of its script.
        unheard: what was noted before the first look; None until then.
        noted: what whoever looks next will find.
        running_from: when Slurm's queue first had it running.
        running_until: when it last had.
    """

    asked_at: float
    life: SignsOfLife = field(default_factory=SignsOfLife)
    unheard: Silence | None = None
    noted: Silence = field(default_factory=Silence)
    running_from: float | None = None
    running_until: float | None = None

    def look(self, found: Records, now: float) -> None:
        """Take note of what is on record.

        Only what was noted before the first look is added to what is seen from then on: the same seconds never count
        twice, and no two clocks are compared.
        """
        if self.unheard is None:
            self.unheard = self.noted = found.unheard
        self.life.hear(found.alive, now)

    def silent_seconds(self, found: Records, now: float, lost_seconds: float) -> float:
        """Return for how long the script has not been heard of at least, by this process and those before it.

        Args:
            found: what is on record.
            now: the time.
            lost_seconds: after how long it is given up.
        """
        own_seconds = self.life.silent_seconds(found.alive, now)
        before = self.unheard
        if before is None or before.sign != self.life.last:
            return own_seconds
        return own_seconds + min(before.seconds, (1 - OWN_SHARE) * lost_seconds)

    def worth_noting(self, silent_seconds: float, lost_seconds: float) -> Silence | None:
        """Return what whoever looks next should find; None where that is found already, or is not worth it yet."""
        sign = self.life.last
        known_seconds = self.noted.seconds if self.noted.sign == sign else 0.0
        if silent_seconds - known_seconds < NOTED_SHARE * lost_seconds or not is_sign(sign):
            return None
        self.noted = Silence(sign, silent_seconds)
        return self.noted

    def see_running(self, before: float, after: float) -> None:
        """Take note that a living controller had it running, in an answer asked for `before` and had `after`."""
        self.running_from = after if self.running_from is None else self.running_from
        self.running_until = before

    def at_least_seconds(self, slack_seconds: float) -> float:
        """Return how long its program ran at least, whatever the records say.

        Slurm has a job running for as long as it takes to find that its node is gone: what comes after the last sign of
        life is not counted.

        Args:
            slack_seconds: how long Slurm may have it running beside its program.
        """
        if self.running_from is None or self.running_until is None or self.life.at is None:
            return 0.0
        return max(0.0, min(self.running_until, self.life.at) - self.running_from - slack_seconds)
