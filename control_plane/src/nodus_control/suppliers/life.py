"""Signs of life of what runs somewhere, as one process sees them, by a clock that only goes forward. Pure.

Other clocks need not agree with it, and what stands in a record may have been written by a job: so this counts from
sign to sign, and a process that has just begun to look waits for the whole time before it says anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..runner.specification import SILENT_SECONDS

LOST_SECONDS = 2 * SILENT_SECONDS
"""How long nothing is heard of whoever has an attempt until it is given up: its program has ended long before."""


@dataclass
class SignsOfLife:
    """Of one attempt.

    Attributes:
        last: the last sign.
        at: when that was first seen, in seconds; None while none was.
    """

    last: str = ""
    at: float | None = None

    def hear(self, sign: str, now: float) -> None:
        """Take note of what stands there. Half a line, or nothing, is what one sees of a file that is being written."""
        if sign and sign != self.last:
            self.last, self.at = sign, now

    def silent_seconds(self, sign: str, now: float) -> float:
        """Return for how long there was no new sign, as far as this process can tell; 0 at the first look."""
        if self.at is None:
            self.last, self.at = sign, now
        return now - self.at
