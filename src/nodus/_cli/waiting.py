"""Watches a job to its end, as `run --wait`, `get --wait` and `wait` do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from .._errors import JobTimeoutError
from . import exit_codes
from .invocation import Invocation, PendingWork
from .jobs import is_simulated, location, show_job
from .output import STATUS_COLOURS, Output, Painted

if TYPE_CHECKING:
    from .._async.client import AsyncClient
    from .._async.job import AsyncJob
    from .._models import JobView
    from .submission import Submission

CANCEL_SECONDS = 5.0
"""How long an interrupted command may take to have its job cancelled."""


class Progress:
    """Shows on stderr when a job's status or place changes, and at what time that was seen."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last = ""

    def __call__(self, job: AsyncJob) -> None:
        where = location(job.view)
        status = job.status.value
        line = f"{status} on {where}" if where else status
        if line == self._last:
            return
        self._last = line
        now = datetime.now(timezone.utc).astimezone().strftime("%H:%M:%S")
        simulated = " (simulated)" if is_simulated(job.view) else ""
        self._output.note(f"{now}  ", Painted(status, STATUS_COLOURS.get(status)), line[len(status) :], simulated)


@dataclass(frozen=True)
class WaitOptions:
    """How to wait.

    Attributes:
        timeout: how many seconds to wait at most; None for ever.
        poll_seconds: seconds between two polls; None for the library's default.
        cancel_on_interrupt: whether an interrupt cancels the job.
        as_json: whether stdout is for programs.
    """

    timeout: float | None
    poll_seconds: float | None
    cancel_on_interrupt: bool
    as_json: bool

    def options(self, *, wait: bool) -> list[str]:
        """Return the command-line options that ask for the same."""
        words = ["--wait"] if wait else []
        if self.timeout is not None:
            words += ["--timeout", f"{self.timeout:.15g}"]
        if self.poll_seconds is not None:
            words += ["--poll-seconds", f"{self.poll_seconds:.15g}"]
        if self.cancel_on_interrupt:
            words.append("--cancel-on-interrupt")
        if self.as_json:
            words.append("--json")
        return words


async def watch(invocation: Invocation, client: AsyncClient, job: AsyncJob, how: WaitOptions) -> int:
    """Wait for a job, show its final state on stdout, and return the exit status.

    Raises:
        NodusError: the wait met a permanent failure, or its timeout (`JobTimeoutError`).
    """
    from .._poll import DEFAULT_POLL_SECONDS

    pending, output = invocation.pending, invocation.output
    pending.job_id = job.id
    if how.cancel_on_interrupt:
        pending.cancel = lambda: cancel(client, job)
    progress = Progress(output)
    if job.status.is_known:
        progress(job)
    try:
        await job.wait(
            timeout_seconds=how.timeout,
            poll_seconds=DEFAULT_POLL_SECONDS if how.poll_seconds is None else how.poll_seconds,
            on_update=progress,
        )
    except JobTimeoutError:
        # A program that reads stdout learns at least which job it was.
        show_job(output, job.view, as_json=how.as_json)
        raise
    show_job(output, job.view, as_json=how.as_json)
    return report(output, job.view)


def report(output: Output, view: JobView) -> int:
    """Say on stderr why a job that is over did not complete; return the exit status."""
    if view.succeeded:
        return exit_codes.OK
    reason = view.error_message or view.error_code
    text = f"Job {view.id} {view.status.value}{f': {reason}' if reason else '.'}"
    output.note(Painted(text, STATUS_COLOURS.get(view.status.value)))
    return exit_codes.JOB_NOT_COMPLETED


async def cancel(client: AsyncClient, job: AsyncJob) -> str:
    """Cancel a job within a few seconds; return its status after that."""
    if not job.is_terminal:
        hurried = client.with_options(timeout=CANCEL_SECONDS, total_timeout=CANCEL_SECONDS)
        job = await hurried.job(job.id).cancel()
    return "being cancelled" if not job.is_terminal else job.status.value


async def cancel_submission(client: AsyncClient, submission: Submission, pending: PendingWork) -> str:
    """Cancel a job whose submission has not been answered yet: submitting again under its key yields its id."""
    hurried = client.with_options(timeout=CANCEL_SECONDS, total_timeout=CANCEL_SECONDS)
    job = await submission.submit(hurried)
    pending.job_id = job.id
    return await cancel(client, job)
