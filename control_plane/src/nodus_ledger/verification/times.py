"""Whether the times of one customer's log are those of one clock. Pure: rows come in the order of the log.

A row's time is not proof of anything, so what is odd here makes no log unsound; but a clock that was wrong shows, and a
month that was opened early with it.
"""

from __future__ import annotations

from nodus_core.times import milliseconds, timestamp

from ..trust import job_entries
from ..webhooks.deliveries import ATTEMPTED as DELIVERY_ATTEMPTED
from .logs import Row

TOLERANCE_MS = 30_000
"""A row's time is read before its turn in the log comes: waiting for a lock takes no longer than this."""

MAX_REMARKS_PER_LOG = 20

# Their time is when it happened, and they are written when it is known: after an outage of the worker, hours later.
_REPORTED = frozenset(
    {job_entries.TRANSITION, job_entries.ATTEMPT_ENDED, job_entries.SETTLED, DELIVERY_ATTEMPTED},
)


class TimeWalk:
    """Walks over the times of one log.

    Attributes:
        remarks: the rows at which time went back, or is ahead of now, and by how much: (seq, what).
    """

    def __init__(self) -> None:
        self.remarks: list[tuple[int, str]] = []
        self._latest: tuple[str, int] | None = None

    def step(self, row: Row) -> None:
        """Hold the next row's time against those before it."""
        if type(row.at) is not str or type(row.seq) is not int:
            return  # the log's own walk says so
        if self._latest is None or row.at >= self._latest[0]:
            self._latest = (row.at, row.seq)
            return
        # Times of this form sort as text, so that only one that went back has to be read.
        latest_at, latest_seq = self._latest
        if row.kind in _REPORTED:
            return
        back = _between(row.at, latest_at)
        if back is not None and back > TOLERANCE_MS:
            self._remark(row.seq, f"its time goes back by {back / 1000:.0f} s: row {latest_seq} says {latest_at}")
            # From here on the log goes by the other clock; what follows is held against that.
            self._latest = (row.at, row.seq)

    def end(self, now: int) -> None:
        """Hold the latest time against the present, in Unix milliseconds."""
        if self._latest is None:
            return
        ahead = _between(timestamp(now), self._latest[0])
        if ahead is not None and ahead > TOLERANCE_MS:
            self._remark(self._latest[1], f"its time is {ahead / 1000:.0f} s ahead of now")

    def _remark(self, seq: int, what: str) -> None:
        if len(self.remarks) < MAX_REMARKS_PER_LOG:
            self.remarks.append((seq, what))


def _between(earlier: str, later: str) -> int | None:
    """Return how many milliseconds lie between two times; None where one cannot be read."""
    try:
        return milliseconds(later) - milliseconds(earlier)
    except ValueError:
        return None
