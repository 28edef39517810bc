# Generated from src/nodus/_async/paging.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Walking through a listing, page by page."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from .. import _calls, _http
from .._enums import JobStatus
from .job import Job
from .session import Session


class JobIterator:
    """Gives the jobs of a listing one by one; asks for a page when the one before is used up.

    A class rather than a generator, because leaving a loop over a generator half-way makes trio warn.

    Args:
        session: makes the requests.
        page_size: jobs a request.
        statuses: only jobs in one of these; any, if empty.
    """

    def __init__(self, session: Session, *, page_size: int, statuses: Sequence[JobStatus]) -> None:
        self._session = session
        self._page_size = page_size
        self._statuses = statuses
        self._cursor: str | None = None
        # A cursor that comes back would lead in circles.
        self._seen: set[str | None] = {None, ""}
        self._page: deque[Job] = deque()
        self._is_last_page = False

    def __iter__(self) -> JobIterator:
        return self

    def __next__(self) -> Job:
        while not self._page:
            if self._is_last_page:
                raise StopIteration
            self._turn_page()
        return self._page.popleft()

    def _turn_page(self) -> None:
        call = _calls.list_jobs(limit=self._page_size, cursor=self._cursor, statuses=self._statuses)
        page = self._session.call(call, _http.parse_page)
        self._page.extend(Job(self._session, view) for view in page.jobs)
        self._cursor = page.next_cursor
        self._is_last_page = self._cursor in self._seen
        self._seen.add(self._cursor)
