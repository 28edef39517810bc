"""Signs of life of what runs somewhere, as one process sees them, by a clock that only goes forward. Pure.

Other clocks need not agree with it, and what stands in a record may have been written by a job: so this counts from
sign to sign, and a process that has just begun to look waits for the whole time before it says anything. It counts the
time in which it looked: while it stood still itself, whatever it looks at gave signs that it has not read, or stood
still too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..runner.specification import SILENT_SECONDS

LOST_SECONDS = 2 * SILENT_SECONDS
"""How long nothing is heard of whoever has an attempt until it is given up: its program has ended long before."""


@dataclass
class SignsOfLife:
    """Of one attempt.

    Attributes:
        last: the last sign.
        at: when that was first seen, in seconds; None while none was.
        longest_gap_seconds: how much of the time between two looks counts; whoever looks does so much more often.
    """

    last: str = ""
    at: float | None = None
    longest_gap_seconds: float = LOST_SECONDS / 4
    _silent_seconds: float = field(default=0.0, init=False)
    _looked_at: float = field(default=0.0, init=False)

    def hear(self, sign: str, now: float) -> None:
        """Take note of what stands there. Half a line, or nothing, is what one sees of a file that is being written."""
        if sign and sign != self.last:
            self._begin(sign, now)
        elif self.at is not None:
            self._count(now)

    def silent_seconds(self, sign: str, now: float) -> float:
        """Return for how long there was no new sign, as far as this process can tell; 0 at the first look."""
        if self.at is None:
            self._begin(sign, now)
        self._count(now)
        return self._silent_seconds

    def _begin(self, sign: str, now: float) -> None:
        self.last, self.at = sign, now
        self._silent_seconds, self._looked_at = 0.0, now

    def _count(self, now: float) -> None:
        if now > self._looked_at:
            self._silent_seconds += min(now - self._looked_at, self.longest_gap_seconds)
            self._looked_at = now
