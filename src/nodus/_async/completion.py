"""Waiting for many jobs at once, yielding each as it ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import timezone
from typing import NamedTuple

from .. import _calls, _fields, _http
from .._calls import Call
from .._errors import Failure, ValidationError
from .._handles import ClientBound
from .._http import Response
from .._job_pages import JobGlance, JobGlances
from .._logs import logger
from .._models import JobView
from .._poll import GiveUp, Step, TimedOut, is_lagging
from .._poll_many import LIVE, PAGE_SIZE, EndOrder, JobRequest, PageRequest, Round
from .job import AsyncJob
from .polling import poll_state, timeout_error
from .session import AsyncSession


class _LivePage(NamedTuple):
    """A page of live jobs, as it was."""

    content: bytes
    glances: JobGlances
    found: list[JobGlance]
    """The part of it about jobs that are waited for."""


class AsyncCompletedJobs(ClientBound):
    """Yields jobs in the order in which they end; polls those that are left once per round.

    A class rather than a generator, because leaving a loop over a generator half-way makes trio warn.

    Args:
        jobs: handles; several may be of the same job.
        session: makes the requests.
        poll_seconds: seconds between two rounds.
        timeout_seconds: seconds to wait for all of them; None waits for ever.
        unreachable_seconds: how many seconds of nothing but failures end a wait that has no timeout.
    """

    def __init__(
        self,
        jobs: Iterable[AsyncJob],
        session: AsyncSession,
        *,
        poll_seconds: float,
        timeout_seconds: float | None,
        unreachable_seconds: float,
    ) -> None:
        self._session = session
        self._timeout_seconds = timeout_seconds
        self._state = poll_state(session, poll_seconds, timeout_seconds, unreachable_seconds)
        self._pending: dict[str, list[AsyncJob]] = {}
        self._live_pages = 1
        # Jobs run for hours: most pages are, byte for byte, what they were in the round before.
        self._live_page: dict[PageRequest, _LivePage] = {}
        self._live_page_now: dict[PageRequest, _LivePage] = {}
        self._next_step: Step | None = None
        self._failure: Failure | None = None  # what ended the last round
        self._order: EndOrder[AsyncJob] = EndOrder()
        for job in jobs:
            if not isinstance(job, AsyncJob):
                raise ValidationError(
                    f"Waiting takes handles of jobs, not {type(job).__name__}: `client.job(job_id)` makes one.",
                    code="invalid_argument",
                )
            if job.is_terminal:
                self._order.add(job, _time_of_end(job))
            else:
                self._pending.setdefault(job.id, []).append(job)
        self._ended = deque(self._order.all())

    def __aiter__(self) -> AsyncCompletedJobs:
        return self

    async def __anext__(self) -> AsyncJob:
        while not self._ended:
            if not self._pending:
                raise StopAsyncIteration
            if isinstance(self._next_step, (GiveUp, TimedOut)):
                self._ended.extend(self._order.all())
                if self._ended:
                    break
            await self._pause()
            await self._poll_round()
        return self._ended.popleft()

    async def _pause(self) -> None:
        """Sleep until the next round is due, or raise if there is to be none."""
        step = self._next_step
        if isinstance(step, GiveUp):
            raise step.error
        if isinstance(step, TimedOut):
            left = _jobs(len(self._pending))
            message = f"{left} had not ended after {self._timeout_seconds} s of waiting; none was cancelled."
            raise timeout_error(message, next(iter(self._pending.values()))[0], self._failure)
        if step is not None:
            await self._session.clock.sleep(step.seconds)

    async def _poll_round(self) -> None:
        """Make the requests of one round, up to the first that fails."""
        clock = self._session.clock
        poll = Round(self._pending, self._live_pages)
        failure: Failure | None = None
        self._order.begin_round(clock.now())
        while failure is None and (request := poll.next_request()) is not None:
            deadline = self._state.poll_deadline(clock.now(), self._session.settings.timeout)
            outcome = await self._session.attempt(_call(request), deadline=deadline)
            if isinstance(outcome, Response):
                self._order.note_time(_http.date_of(outcome), clock.now())
                self._take_in(self._read(request, poll, outcome))
            elif isinstance(request, JobRequest) and self._is_lagging(request, outcome):
                poll.job(request.job_id)
            else:
                failure = outcome
        self._live_pages = poll.live_pages
        self._live_page, self._live_page_now = self._live_page_now, {}
        self._failure = failure
        if failure is None:
            is_settled = poll.is_of_one_instant or not self._pending
            self._ended.extend(self._order.all() if is_settled else self._order.settled())
            self._next_step = self._state.after_success(clock.now())
        else:
            failure.error.attempts = 1
            self._next_step = self._state.after_failure(failure, clock.now())
            logger.info("could not poll all of %d jobs, trying again: %s", len(self._pending), failure.error)

    def _read(self, request: PageRequest | JobRequest, poll: Round, response: Response) -> Mapping[str, JobView]:
        """Return the views that bring news, by the id that was asked for."""
        if isinstance(request, JobRequest):
            poll.job(request.job_id)
            return {request.job_id: _http.parse(response, JobView)}
        before = self._live_page.get(request)
        is_unchanged = before is not None and before.content == response.content
        glances = before.glances if before is not None and is_unchanged else _http.parse_glances(response)
        found = poll.page(request, glances)
        if request.statuses is LIVE:
            self._live_page_now[request] = _LivePage(response.content, glances, found)
        if before is not None and is_unchanged and before.found == found:
            return {}
        moved = {glance.id for glance in found if not glance.agrees_with(self._pending[glance.id][0].view)}
        return {view.id: view for view in _http.parse_page(response).jobs if view.id in moved} if moved else {}

    def _take_in(self, views: Mapping[str, JobView]) -> None:
        """Update the handles, and stop waiting for those whose job has ended."""
        for job_id, view in views.items():
            for job in self._pending[job_id]:
                job._update(view)
            if view.is_terminal:
                for job in self._pending.pop(job_id):
                    self._order.add(job, _time_of_end(job))

    def _is_lagging(self, request: JobRequest, failure: Failure) -> bool:
        submitted_at = self._pending[request.job_id][0].submitted_at
        return is_lagging(failure.error, submitted_at, self._session.clock.now())


def _call(request: PageRequest | JobRequest) -> Call:
    if isinstance(request, JobRequest):
        return _calls.get_job(request.job_id)
    return _calls.list_jobs(
        limit=PAGE_SIZE, cursor=request.cursor, filters=_fields.filter_query({"status": request.statuses})
    )


def _jobs(count: int) -> str:
    return f"{count} job{'' if count == 1 else 's'}"


def _time_of_end(job: AsyncJob) -> float:
    """Return when a job ended, to sort by; without times, jobs stay in the order in which they were polled."""
    end = job.finished_at
    # A time without a zone is UTC, like all of the server's, not local time.
    return 0.0 if end is None else end.replace(tzinfo=end.tzinfo or timezone.utc).timestamp()
