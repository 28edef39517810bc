"""Iterating over the jobs of a listing."""

from __future__ import annotations

from collections.abc import Iterable

from .. import _calls, _fields, _http
from .job import AsyncJob
from .paging import AsyncPageIterator
from .session import AsyncSession


class AsyncJobIterator(AsyncPageIterator[AsyncJob, str]):
    """Yields the jobs of a listing.

    Args:
        session: makes the requests.
        page_size: jobs per request.
        filters: what its jobs have in common, as parameters of the query.
    """

    def __init__(self, session: AsyncSession, *, page_size: int, filters: _fields.Query) -> None:
        super().__init__()
        self._session = session
        self._page_size = page_size
        self._filters = filters

    async def _fetch(self, position: str | None) -> tuple[Iterable[AsyncJob], str | None]:
        call = _calls.list_jobs(limit=self._page_size, cursor=position, filters=self._filters)
        page = await self._session.call(call, _http.parse_page)
        views = [view for view in page.jobs if _fields.fits(view, self._filters)]
        return [AsyncJob(self._session, view) for view in views], page.next_cursor or None
