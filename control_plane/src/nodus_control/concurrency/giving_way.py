"""How long background work rests, so that the requests of the same process go first. Pure; the time is passed in.

Threads of one process take turns at its interpreter, and on SQLite at its one write lock. While jobs are submitted all
the time, placing each at once would take as much of both as accepting them: but a job that was accepted can wait, and
whoever submits one does.
"""

from __future__ import annotations

REST_FACTOR = 8.0
"""How many times as long as it was busy the background leaves to requests."""

LONGEST_REST_SECONDS = 0.25


class GivingWay:
    """The rests of one thread. Any other thread may say that there is news."""

    def __init__(self) -> None:
        self._has_news = False
        self._busy_until = 0.0

    def news(self) -> None:
        """Say that a request brought work for the background."""
        self._has_news = True

    def rest_seconds(self, busy: float) -> float:
        """Return how long to rest before going on; 0 where no request came since the last time.

        Args:
            busy: for how many seconds the thread has been busy in all.
        """
        since, self._busy_until = busy - self._busy_until, busy
        if not self._has_news:
            return 0.0
        self._has_news = False
        return min(REST_FACTOR * since, LONGEST_REST_SECONDS)
