"""What one process has seen of an attempt on a cluster with its own eyes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..life import SignsOfLife


@dataclass
class Watched:
    """An attempt, as it was seen. Times in seconds, of a clock that only goes forward.

    Attributes:
        asked_at: when it was last polled.
        life: of its script.
        running_from: when Slurm's queue first had it running.
        running_until: when it last had.
    """

    asked_at: float
    life: SignsOfLife = field(default_factory=SignsOfLife)
    running_from: float | None = None
    running_until: float | None = None

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
