"""Waiting for a job to reach a terminal state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from .. import _arguments, _calls, _http
from .._concurrency import async_settled, async_shielded
from .._enums import JobStatus
from .._errors import Failure, JobTimeoutError, NodusError, WaitedJob
from .._http import Response
from .._logs import logger
from .._models import JobView
from .._poll import CANCEL_SECONDS, GiveUp, PollState, TimedOut
from .session import AsyncSession


class PolledJob(Protocol):
    """A handle whose snapshot is kept up to date."""

    @property
    def id(self) -> str: ...

    @property
    def status(self) -> JobStatus: ...

    @property
    def is_terminal(self) -> bool: ...

    @property
    def submitted_at(self) -> float | None: ...

    @property
    def view(self) -> JobView: ...

    def _update(self, view: JobView) -> None: ...


_Job = TypeVar("_Job", bound=PolledJob)


async def wait_for_job(
    job: _Job,
    session: AsyncSession,
    *,
    poll_seconds: float,
    timeout_seconds: float | None,
    unreachable_seconds: float,
    on_update: Callable[[_Job], object] | None,
) -> None:
    """Poll a job until it is terminal; the rules are in `nodus._poll`."""
    clock = session.clock
    state = poll_state(session, poll_seconds, timeout_seconds, unreachable_seconds)
    call = _calls.get_job(job.id)
    while not job.is_terminal:
        deadline = state.poll_deadline(clock.now(), session.settings.timeout)
        outcome = await session.attempt(call, deadline=deadline)
        if isinstance(outcome, Response):
            before = job.view
            job._update(_http.parse(outcome, JobView))
            if on_update is not None and job.view != before:
                await async_settled(on_update(job))
            if job.is_terminal:
                break
            step = state.after_success(clock.now())
        else:
            outcome.error.attempts = 1
            step = state.after_failure(outcome, clock.now(), submitted_at=job.submitted_at)
        if isinstance(step, GiveUp):
            raise step.error
        if isinstance(step, TimedOut):
            message = (
                f"Job {job.id} was still {job.status.value} after {timeout_seconds} s of waiting. The job goes on: "
                "wait again, or cancel it."
            )
            raise timeout_error(message, job, None if isinstance(outcome, Response) else outcome)
        if not isinstance(outcome, Response):
            logger.info("could not poll job %s, trying again in %.1f s: %s", job.id, step.seconds, outcome.error)
        await clock.sleep(step.seconds)


def timeout_error(message: str, job: WaitedJob, last: Failure | None) -> JobTimeoutError:
    """Make the error of a wait that ran out of time. Its cause is the last poll, if that failed."""
    if last is None:
        return JobTimeoutError(message, job=job)
    error = JobTimeoutError(f"{message} The last poll failed: {last.error}", job=job)
    error.__cause__ = last.error
    return error


async def cancel_on_the_way_out(job: WaitedJob, session: AsyncSession) -> None:
    """Ask once for the job to be cancelled while the caller is leaving; never hides the error that it leaves with."""

    async def cancel() -> None:
        try:
            outcome = await session.attempt(_calls.cancel_job(job.id), deadline=session.clock.now() + CANCEL_SECONDS)
        except NodusError as exc:
            outcome = Failure(exc)
        if isinstance(outcome, Failure):
            logger.warning("could not cancel job %s: %s", job.id, outcome.error)

    await async_shielded(cancel, CANCEL_SECONDS)


def poll_state(
    session: AsyncSession, poll_seconds: float, timeout_seconds: float | None, unreachable_seconds: float
) -> PollState:
    """Begin a wait.

    Raises:
        ValidationError: (`invalid_argument`) an argument is outside its range.
    """
    timeout = None if timeout_seconds is None else _arguments.seconds("timeout_seconds", timeout_seconds)
    return PollState(
        poll_seconds=_arguments.seconds("poll_seconds", poll_seconds, exclusive=True),
        deadline=None if timeout is None else session.clock.now() + timeout,
        unreachable_seconds=_arguments.seconds("unreachable_seconds", unreachable_seconds),
        rng=session.rng,
    )
