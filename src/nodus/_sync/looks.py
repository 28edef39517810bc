# Generated from src/nodus/_async/looks.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Following jobs by looking at them now and then: for servers without event streams."""

from __future__ import annotations

from .. import _calls, _http
from .._calls import Call
from .._http import Reply
from .._live import FOLLOWED_JOBS, Progress, event_of_view
from .._logs import logger
from .._models import JobView
from .._poll import DEFAULT_POLL_SECONDS, GiveUp, Sleep
from .._records import JobEvent
from .._retry import Failure
from .._watch import PAGE_SIZE, JobLook, Round
from .polling import poll_state
from .session import Session


class _LookFailed(Exception):
    """A request of a round failed."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure


class Looks:
    """Rounds of looks, with their pauses.

    Args:
        session: makes the requests.
        progress: what was told before.
        unreachable_seconds: how many seconds of nothing but failures are put up with.
        submitted_at: when `run()` gave the job; None for jobs found otherwise.

    Attributes:
        is_over: whether no look will tell anything any more.
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

    def look(self) -> list[JobEvent]:
        """Wait until it is time, and look; give what is new.

        Raises:
            NodusError: a failure that will not pass, or that has lasted for too long.
        """
        clock = self._session.clock
        if self._pause_seconds:
            clock.sleep(self._pause_seconds)
        events: list[JobEvent] = []
        try:
            views = self._round()
        except _LookFailed as exc:
            failure = exc.failure
            failure.error.attempts = 1
            step = self._state.after_failure(failure, clock.now(), submitted_at=self._submitted_at)
            logger.info("jobs could not be looked at: %s", failure.error)
        else:
            events = [event for view in views if (event := self._event(view)) is not None]
            step = self._state.after_success(clock.now())
        if isinstance(step, GiveUp):
            raise step.error
        assert isinstance(step, Sleep), "there is no deadline"
        self._pause_seconds = step.seconds
        return events

    def _round(self) -> list[JobView]:
        """Give the views of jobs that have moved."""
        raise NotImplementedError

    def _event(self, view: JobView) -> JobEvent | None:
        event = event_of_view(view, self._progress.next_seq(view.id))
        return event if self._progress.is_new(event) else None

    def _ask(self, call: Call) -> Reply:
        session = self._session
        deadline = self._state.look_deadline(session.clock.now(), session.settings.timeout)
        outcome = session.attempt(call, deadline=deadline)
        if isinstance(outcome, Failure):
            raise _LookFailed(outcome)
        return outcome


class JobLooks(Looks):
    """Looks at one job."""

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

    def _round(self) -> list[JobView]:
        view = _http.parse(self._ask(self._call), JobView)
        self.is_over = view.is_terminal
        known, self._known = self._known, _standing(view)
        return [view] if known != self._known else []


class AllLooks(Looks):
    """Looks at all jobs: at the newest pages, as far as they tell of new jobs, and at those that were live before."""

    def __init__(self, session: Session, progress: Progress, *, unreachable_seconds: float, only_later: bool) -> None:
        super().__init__(session, progress, unreachable_seconds=unreachable_seconds)
        self._known: dict[str, tuple[object, ...]] = {}
        self._live: dict[str, None] = {}
        self._live_pages = 1
        self._is_first = only_later

    def _round(self) -> list[JobView]:
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
        """Give the newest jobs, the oldest of them first."""
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
        looks = Round(job_ids, self._live_pages)
        found: list[JobView] = []
        while (look := looks.next_look()) is not None:
            if isinstance(look, JobLook):
                found.append(_http.parse(self._ask(_calls.get_job(look.job_id)), JobView))
                looks.job(look.job_id)
                continue
            call = _calls.list_jobs(limit=PAGE_SIZE, cursor=look.cursor, statuses=look.statuses)
            reply = self._ask(call)
            named = {glance.id for glance in looks.page(look, _http.parse_glances(reply))}
            found += [view for view in _http.parse_page(reply).jobs if view.id in named]
        self._live_pages = looks.live_pages
        return found


def _standing(view: JobView) -> tuple[object, ...]:
    return view.status, view.supplier, view.attempts
