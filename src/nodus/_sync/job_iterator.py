# Generated from src/nodus/_async/job_iterator.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Iterating over the jobs of a listing."""

from __future__ import annotations

from collections.abc import Iterable

from .. import _calls, _fields, _http
from .job import Job
from .paging import PageIterator
from .session import Session


class JobIterator(PageIterator[Job, str]):
    """Yields the jobs of a listing.

    Args:
        session: makes the requests.
        page_size: jobs per request.
        filters: what its jobs have in common, as parameters of the query.
    """

    def __init__(self, session: Session, *, page_size: int, filters: _fields.Query) -> None:
        super().__init__()
        self._session = session
        self._page_size = page_size
        self._filters = filters

    def _fetch(self, position: str | None) -> tuple[Iterable[Job], str | None]:
        call = _calls.list_jobs(limit=self._page_size, cursor=position, filters=self._filters)
        page = self._session.call(call, _http.parse_page)
        views = [view for view in page.jobs if _fields.fits(view, self._filters)]
        return [Job(self._session, view) for view in views], page.next_cursor or None
