# Generated from src/nodus/_async/paging.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Iterating over listings, a page at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from .. import _calls, _http
from .._enums import JobStatus
from .job import Job
from .session import Session

_Item = TypeVar("_Item")
_Position = TypeVar("_Position", str, int)


class PageIterator(Generic[_Item, _Position]):
    """Yields the items of a listing one by one; asks for the next page when the last one is used up.

    A class rather than a generator, because leaving a loop over a generator early makes trio warn.

    Args:
        start: the position to begin at; None for the beginning.
    """

    def __init__(self, start: _Position | None = None) -> None:
        self._position: _Position | None = start
        # A position that comes back would lead in circles.
        self._seen: set[_Position | None] = {None, start}
        self._page: deque[_Item] = deque()
        self._is_last_page = False

    def __iter__(self) -> PageIterator[_Item, _Position]:
        return self

    def __next__(self) -> _Item:
        while not self._page:
            if self._is_last_page:
                raise StopIteration
            items, self._position = self._fetch(self._position)
            self._page.extend(items)
            self._is_last_page = self._position in self._seen
            self._seen.add(self._position)
        return self._page.popleft()

    def _fetch(self, position: _Position | None) -> tuple[Iterable[_Item], _Position | None]:
        """Ask for the page at a position; return its items, and the position of the next page, or None for none."""
        raise NotImplementedError


class JobIterator(PageIterator[Job, str]):
    """Yields the jobs of a listing.

    Args:
        session: makes the requests.
        page_size: jobs per request.
        statuses: only jobs in one of these; any, if empty.
    """

    def __init__(self, session: Session, *, page_size: int, statuses: Sequence[JobStatus]) -> None:
        super().__init__()
        self._session = session
        self._page_size = page_size
        self._statuses = statuses

    def _fetch(self, position: str | None) -> tuple[Iterable[Job], str | None]:
        call = _calls.list_jobs(limit=self._page_size, cursor=position, statuses=self._statuses)
        page = self._session.call(call, _http.parse_page)
        return [Job(self._session, view) for view in page.jobs], page.next_cursor or None
