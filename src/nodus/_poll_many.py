"""How to poll many jobs with few requests, and in which order they ended: pure, fed with responses.

A round reads the pages of the customer's live jobs, unless one request per job is fewer. A job that is on no live page
has ended, or is not the customer's: pages of ended jobs are read while they hold several of these, and the rest are
asked for one by one.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ._enums import JobStatus
from ._job_pages import JobGlance, JobGlances

_Job = TypeVar("_Job")

PAGE_SIZE = 200
LIVE = (JobStatus.QUEUED, JobStatus.PLACED, JobStatus.RUNNING)
ENDED = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Ask for a page of the jobs in one of `statuses`."""

    statuses: Sequence[JobStatus]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class JobRequest:
    """Ask for one job."""

    job_id: str


class Round:
    """One poll of all the jobs that are waited for.

    Args:
        awaited: ids of the jobs.
        live_pages: how many pages of live jobs there were in the round before.

    Attributes:
        live_pages: how many there are, for the next round.
        is_of_one_instant: whether a single response told which of the jobs were live.
    """

    def __init__(self, awaited: Iterable[str], live_pages: int) -> None:
        self._unseen = dict.fromkeys(awaited)
        self.live_pages = live_pages
        self.is_of_one_instant = False
        self._pages_read = 0
        self._next: PageRequest | None = None
        if len(self._unseen) > live_pages:
            self._next = PageRequest(LIVE, None)

    def next_request(self) -> PageRequest | JobRequest | None:
        """Return the next request to make, or None once every awaited job was seen."""
        if not self._unseen:
            return None
        if self._next is not None:
            return self._next
        return JobRequest(next(iter(self._unseen)))

    def page(self, request: PageRequest, page: JobGlances) -> list[JobGlance]:
        """Take the response to `request`; return the part of it that is about awaited jobs."""
        # By id, because a listing that changes while it is read may name a job twice.
        found = list({glance.id: glance for glance in page.jobs if glance.id in self._unseen}.values())
        for glance in found:
            del self._unseen[glance.id]
        more = page.next_cursor is not None and page.next_cursor != request.cursor
        self._next = PageRequest(request.statuses, page.next_cursor) if more else None
        if request.statuses is LIVE:
            self._count_live_page(more)
        elif len(found) < 2:
            self._next = None
        return found

    def job(self, job_id: str) -> None:
        """Record that a job was asked for by itself, whatever the outcome."""
        del self._unseen[job_id]

    def _count_live_page(self, more: bool) -> None:
        self._pages_read += 1
        self.live_pages = self._pages_read
        self.is_of_one_instant = self._pages_read == 1 and not more
        if more and self._pages_read >= len(self._unseen):
            # Most live jobs are not among those awaited, so asking for each is cheaper. Remember twice the pages read:
            # the next round reads pages again only if the jobs to ask for outnumber that.
            self.live_pages = 2 * self._pages_read
            self._next = None
        elif not more and len(self._unseen) > 1:
            self._next = PageRequest(ENDED, None)


class EndOrder(Generic[_Job]):
    """Puts jobs in the order in which they ended, although a round of requests takes a while.

    A job that was seen alive early in a round may have ended before one whose end was found later in it, and only the
    next round will show that. So jobs that ended after the round began wait for the next one.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[float, _Job]] = []
        self._latest_end = -math.inf
        # How far the server's clock is ahead of ours, at least: a response is older than the reading beside it, and
        # its `Date` has no fractions, so the largest difference seen is the closest.
        self._server_ahead = -math.inf
        self._began = 0.0
        self._known_before = -math.inf

    def begin_round(self, now: float) -> None:
        """Record the clock reading before the first request of a round."""
        self._began = now
        self._known_before = self._latest_end

    def note_time(self, server_time: float | None, now: float) -> None:
        """Record the server's time according to a response, in Unix seconds; `now` is the clock's, later."""
        if server_time is not None:
            self._server_ahead = max(self._server_ahead, server_time - now)

    def add(self, job: _Job, ended_at: float) -> None:
        """Add a job that ended at `ended_at`, by the server's time."""
        self._waiting.append((ended_at, job))
        self._latest_end = max(self._latest_end, ended_at)

    def settled(self) -> list[_Job]:
        """Return the jobs that no other can precede any more, once every job was seen in this round."""
        # By the server's time, the round began no earlier than any end that was known by then.
        return self._give(max(self._began + self._server_ahead, self._known_before))

    def all(self) -> list[_Job]:
        """Return all the jobs."""
        return self._give(math.inf)

    def _give(self, until: float) -> list[_Job]:
        self._waiting.sort(key=_end)
        count = bisect.bisect_right(self._waiting, until, key=_end)
        given, self._waiting = self._waiting[:count], self._waiting[count:]
        return [job for _, job in given]


def _end(entry: tuple[float, object]) -> float:
    return entry[0]
