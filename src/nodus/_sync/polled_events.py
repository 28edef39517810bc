# Generated from src/nodus/_async/polled_events.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Events found by polling, for servers without event streams."""

from __future__ import annotations

from .. import _calls, _fields, _http
from .._calls import Call
from .._errors import Failure
from .._http import Response
from .._logs import logger
from .._models import JobView
from .._poll import DEFAULT_POLL_SECONDS, GiveUp, Sleep
from .._poll_many import PAGE_SIZE, JobRequest, Round
from .._reconnect import FOLLOWED_JOBS, Progress, event_of_view
from .._resources import JobEvent
from .polling import poll_state
from .session import Session


class _PollFailed(Exception):
    """A request of a poll failed."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure


class PolledEvents:
    """Polls jobs, pausing in between, and makes events out of what has changed.

    Args:
        session: makes the requests.
        progress: which events there were before.
        unreachable_seconds: how many seconds of nothing but failures to tolerate.
        submitted_at: when `run()` returned the job; None for jobs from elsewhere.

    Attributes:
        is_over: whether polling will bring nothing more.
    """

    def __init__(
        self,
        session: Session,
        progress: Progress,
        *,
        unreachable_seconds: float,
        submitted_at: float | None = None,
    ) -> None:
        self.is_over = False
        self._session = session
        self._progress = progress
        self._submitted_at = submitted_at
        self._state = poll_state(session, DEFAULT_POLL_SECONDS, None, unreachable_seconds)
        self._pause_seconds = 0.0

    def poll(self) -> list[JobEvent]:
        """Wait until the next poll is due, and poll; return the new events.

        Raises:
            NodusError: a permanent failure, or one that has lasted too long.
        """
        clock = self._session.clock
        if self._pause_seconds:
            clock.sleep(self._pause_seconds)
        events: list[JobEvent] = []
        try:
            views = self._moved()
        except _PollFailed as exc:
            failure = exc.failure
            failure.error.attempts = 1
            step = self._state.after_failure(failure, clock.now(), submitted_at=self._submitted_at)
            logger.info("could not poll jobs, trying again: %s", failure.error)
        else:
            events = [event for view in views if (event := self._event(view)) is not None]
            step = self._state.after_success(clock.now())
        if isinstance(step, GiveUp):
            raise step.error
        assert isinstance(step, Sleep), "there is no deadline"
        self._pause_seconds = step.seconds
        return events

    def _moved(self) -> list[JobView]:
        """Ask for the jobs; return the views of those that have moved since the last poll."""
        raise NotImplementedError

    def _event(self, view: JobView) -> JobEvent | None:
        event = event_of_view(view, self._progress.next_seq(view.id))
        return event if self._progress.is_new(event) else None

    def _ask(self, call: Call) -> Response:
        outcome = self._attempt(call)
        if isinstance(outcome, Failure):
            raise _PollFailed(outcome)
        return outcome

    def _attempt(self, call: Call) -> Response | Failure:
        session = self._session
        return session.attempt(call, deadline=session.clock.now() + session.settings.timeout)


class PolledJobEvents(PolledEvents):
    """The events of one job."""

    def __init__(
        self,
        session: Session,
        progress: Progress,
        *,
        unreachable_seconds: float,
        job_id: str,
        submitted_at: float | None,
    ) -> None:
        super().__init__(session, progress, unreachable_seconds=unreachable_seconds, submitted_at=submitted_at)
        self._call = _calls.get_job(job_id)
        self._known: tuple[object, ...] | None = None

    def _moved(self) -> list[JobView]:
        view = _http.parse(self._ask(self._call), JobView)
        self.is_over = view.is_terminal
        known, self._known = self._known, _standing(view)
        return [view] if known != self._known else []

    def _attempt(self, call: Call) -> Response | Failure:
        # As many jobs may be followed in this way as on streams.
        return self._session.attempt_in_turn(call)


class PolledAllEvents(PolledEvents):
    """The events of all jobs: polls the newest pages, as far as they hold new jobs, and the jobs still live."""

    def __init__(self, session: Session, progress: Progress, *, unreachable_seconds: float, only_later: bool) -> None:
        super().__init__(session, progress, unreachable_seconds=unreachable_seconds)
        self._known: dict[str, tuple[object, ...]] = {}
        self._live: dict[str, None] = {}
        self._live_pages = 1
        self._is_first = only_later

    def _moved(self) -> list[JobView]:
        views = self._newest()
        seen = {view.id for view in views}
        views += self._of_live([job_id for job_id in self._live if job_id not in seen])
        moved: list[JobView] = []
        for view in views:
            if self._known.get(view.id) != _standing(view):
                self._known[view.id] = _standing(view)
                moved.append(view)
            if view.is_terminal:
                self._live.pop(view.id, None)
            else:
                self._live[view.id] = None
        is_first, self._is_first = self._is_first, False
        return [] if is_first else moved

    def _newest(self) -> list[JobView]:
        """Return the newest jobs, oldest first."""
        found: dict[str, JobView] = {}
        cursors: set[str | None] = {""}
        cursor: str | None = None
        while cursor not in cursors and len(found) < FOLLOWED_JOBS:
            cursors.add(cursor)
            page = _http.parse_page(self._ask(_calls.list_jobs(limit=PAGE_SIZE, cursor=cursor)))
            found.update((view.id, view) for view in page.jobs)
            if all(view.id in self._known for view in page.jobs):
                break
            cursor = page.next_cursor
        return list(reversed(found.values()))

    def _of_live(self, job_ids: list[str]) -> list[JobView]:
        poll = Round(job_ids, self._live_pages)
        found: list[JobView] = []
        while (request := poll.next_request()) is not None:
            if isinstance(request, JobRequest):
                found.append(_http.parse(self._ask(_calls.get_job(request.job_id)), JobView))
                poll.job(request.job_id)
                continue
            call = _calls.list_jobs(
                limit=PAGE_SIZE, cursor=request.cursor, filters=_fields.filter_query({"status": request.statuses})
            )
            response = self._ask(call)
            named = {glance.id for glance in poll.page(request, _http.parse_glances(response))}
            found += [view for view in _http.parse_page(response).jobs if view.id in named]
        self._live_pages = poll.live_pages
        return found


def _standing(view: JobView) -> tuple[object, ...]:
    return view.status, view.supplier, view.attempts
