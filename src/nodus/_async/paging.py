"""Iterating over listings, a page at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from .. import _calls, _http
from .._enums import JobStatus
from .job import AsyncJob
from .session import AsyncSession

_Item = TypeVar("_Item")
_Position = TypeVar("_Position", str, int)


class AsyncPageIterator(Generic[_Item, _Position]):
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

    def __aiter__(self) -> AsyncPageIterator[_Item, _Position]:
        return self

    async def __anext__(self) -> _Item:
        while not self._page:
            if self._is_last_page:
                raise StopAsyncIteration
            items, self._position = await self._fetch(self._position)
            self._page.extend(items)
            self._is_last_page = self._position in self._seen
            self._seen.add(self._position)
        return self._page.popleft()

    async def _fetch(self, position: _Position | None) -> tuple[Iterable[_Item], _Position | None]:
        """Ask for the page at a position; return its items, and the position of the next page, or None for none."""
        raise NotImplementedError


class AsyncJobIterator(AsyncPageIterator[AsyncJob, str]):
    """Yields the jobs of a listing.

    Args:
        session: makes the requests.
        page_size: jobs per request.
        statuses: only jobs in one of these; any, if empty.
    """

    def __init__(self, session: AsyncSession, *, page_size: int, statuses: Sequence[JobStatus]) -> None:
        super().__init__()
        self._session = session
        self._page_size = page_size
        self._statuses = statuses

    async def _fetch(self, position: str | None) -> tuple[Iterable[AsyncJob], str | None]:
        call = _calls.list_jobs(limit=self._page_size, cursor=position, statuses=self._statuses)
        page = await self._session.call(call, _http.parse_page)
        return [AsyncJob(self._session, view) for view in page.jobs], page.next_cursor or None
