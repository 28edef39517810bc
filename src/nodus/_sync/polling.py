# Generated from src/nodus/_async/polling.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Waiting for jobs to reach a terminal state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from .. import _arguments, _calls, _http
from .._calls import Call
from .._concurrency import shielded
from .._errors import JobTimeoutError, NodusError
from .._http import Reply
from .._logs import logger
from .._models import JobView
from .._poll import CANCEL_SECONDS, GiveUp, PollState, Sleep, Step, TimedOut, is_lagging
from .._retry import Failure
from .._watch import PAGE_SIZE, JobLook, PageLook, Round
from .session import Session

if TYPE_CHECKING:
    from .job import Job


def wait_for_job(
    job: Job,
    session: Session,
    *,
    poll_seconds: float,
    timeout_seconds: float | None,
    unreachable_seconds: float,
    on_update: Callable[[Job], object] | None,
) -> None:
    """Look at a job until it is terminal; the rules are in `nodus._poll`."""
    clock = session.clock
    state = _poll_state(session, poll_seconds, timeout_seconds, unreachable_seconds)
    call = _calls.get_job(job.id)
    while not job.is_terminal:
        deadline = state.look_deadline(clock.now(), session.settings.timeout)
        outcome = session.attempt(call, deadline=deadline)
        if isinstance(outcome, Reply):
            before = job.view
            job._update(_http.parse(outcome, JobView))
            if on_update is not None and job.view != before:
                on_update(job)
            if job.is_terminal:
                break
            step = state.after_success(clock.now())
        else:
            outcome.error.attempts = 1
            step = state.after_failure(outcome, clock.now(), submitted_at=job.submitted_at)
        if isinstance(step, GiveUp):
            raise step.error
        if isinstance(step, TimedOut):
            raise JobTimeoutError(
                f"Job {job.id} was {job.status.value} after {timeout_seconds} s of waiting. It goes on: wait again, "
                f"or cancel it.",
                job=job,
            )
        if not isinstance(outcome, Reply):
            logger.info("job %s could not be looked at, again in %.1f s: %s", job.id, step.seconds, outcome.error)
        clock.sleep(step.seconds)


def wait_for_jobs(
    jobs: Iterable[Job],
    session: Session,
    *,
    poll_seconds: float,
    timeout_seconds: float | None,
    unreachable_seconds: float,
) -> Iterator[Job]:
    """Look at many jobs until all are terminal; give each as it ends, those of one round by the time of their end."""
    clock = session.clock
    state = _poll_state(session, poll_seconds, timeout_seconds, unreachable_seconds)
    pending: dict[str, list[Job]] = {}
    ended: list[Job] = []
    for job in jobs:
        if job.is_terminal:
            ended.append(job)
        else:
            pending.setdefault(job.id, []).append(job)
    live_pages = 1
    step: Step = Sleep(0.0)
    while True:
        for job in sorted(ended, key=_time_of_end):
            yield job
        if not pending:
            return
        if isinstance(step, GiveUp):
            raise step.error
        if isinstance(step, TimedOut):
            raise JobTimeoutError(
                f"{len(pending)} jobs were not over after {timeout_seconds} s of waiting. They go on.",
                job=next(iter(pending.values()))[0],
            )
        clock.sleep(step.seconds)
        looks = Round(pending, live_pages)
        ended, failure = _look_round(looks, pending, session, state)
        live_pages = looks.live_pages
        if failure is None:
            step = state.after_success(clock.now())
        else:
            step = state.after_failure(failure, clock.now())
            logger.info("some of %d jobs could not be looked at: %s", len(pending), failure.error)


def _look_round(
    looks: Round, pending: dict[str, list[Job]], session: Session, state: PollState
) -> tuple[list[Job], Failure | None]:
    """Make the requests of one round, up to the first that fails; take the jobs that ended out of `pending`."""
    ended: list[Job] = []
    while (look := looks.next_look()) is not None:
        now = session.clock.now()
        outcome = session.attempt(_call(look), deadline=state.look_deadline(now, session.settings.timeout))
        if isinstance(look, JobLook):
            looks.job(look.job_id)
            lagging = isinstance(outcome, Failure) and is_lagging(
                outcome.error, pending[look.job_id][0].submitted_at, now
            )
            if lagging:
                continue
        if isinstance(outcome, Failure):
            outcome.error.attempts = 1
            return ended, outcome
        if isinstance(look, JobLook):
            views = {look.job_id: _http.parse(outcome, JobView)}
        else:
            found = looks.page(look, _http.parse_glances(outcome))
            moved = {glance.id for glance in found if not glance.agrees_with(pending[glance.id][0].view)}
            views = {view.id: view for view in _http.parse_page(outcome).jobs if view.id in moved} if moved else {}
        for job_id, view in views.items():
            for job in pending[job_id]:
                job._update(view)
            if view.is_terminal:
                ended += pending.pop(job_id)
    return ended, None


def _call(look: PageLook | JobLook) -> Call:
    if isinstance(look, JobLook):
        return _calls.get_job(look.job_id)
    return _calls.list_jobs(limit=PAGE_SIZE, cursor=look.cursor, statuses=look.statuses)


def _time_of_end(job: Job) -> float:
    """Sort by when a job ended; where the server gives no times, the order in which it was asked stays."""
    return 0.0 if job.finished_at is None else job.finished_at.timestamp()


def cancel_on_the_way_out(job: Job, session: Session) -> None:
    """Ask once for the job's end while the caller is leaving, whatever makes it leave; never in place of its error."""

    def cancel() -> None:
        try:
            outcome = session.attempt(_calls.cancel_job(job.id), deadline=session.clock.now() + CANCEL_SECONDS)
        except NodusError as exc:
            outcome = Failure(exc)
        if isinstance(outcome, Failure):
            logger.warning("job %s could not be cancelled: %s", job.id, outcome.error)

    shielded(cancel, CANCEL_SECONDS)


def _poll_state(
    session: Session, poll_seconds: float, timeout_seconds: float | None, unreachable_seconds: float
) -> PollState:
    timeout = None if timeout_seconds is None else _arguments.seconds("timeout_seconds", timeout_seconds)
    return PollState(
        poll_seconds=_arguments.seconds("poll_seconds", poll_seconds, exclusive=True),
        deadline=None if timeout is None else session.clock.now() + timeout,
        unreachable_seconds=_arguments.seconds("unreachable_seconds", unreachable_seconds),
        rng=session.rng,
    )
