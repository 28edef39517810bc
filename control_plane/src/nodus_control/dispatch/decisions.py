"""What a driver's answer means for a job: pure decisions, from a claim and a report to the step that is written."""

from __future__ import annotations

import enum
import math

from nodus_core.lifecycle import Change, JobStatus
from nodus_ledger.jobs.leases import Claim
from nodus_ledger.jobs.settlement import AttemptEnd, Step

from ..suppliers.protocol import PlacementState, Report

POLL_MS = 500
RETRY_MS = 5_000
UNSERVED_RETRY_MS = 60_000
"""How long a job waits for a worker that serves its supplier."""

UNWRITABLE_RETRY_MS = 600_000
OVERDUE_GRACE_MS = 60_000
"""How long past `max_runtime_seconds` a driver may take to end a job by itself."""

_LATEST_MS = 253_402_300_799_999  # the end of the year 9999


class ImpossibleReport(Exception):
    """A report that no engine can mean: it holds a time that is no date, or an end before its start."""


class Ending(enum.Enum):
    """Why the worker wants a placement to end."""

    NONE = "none"
    REQUESTED = "requested"
    OUTAGE = "outage"
    OVERDUE = "overdue"


def ending_of(claim: Claim, now: int) -> Ending:
    """Say whether, and why, a placement is to end. A customer's request takes precedence."""
    job = claim.job
    if job.cancel_requested_at is not None:
        return Ending.REQUESTED
    if claim.supplier_is_out:
        return Ending.OUTAGE
    if job.started_at is not None and now > job.started_at + job.max_runtime_seconds * 1000 + OVERDUE_GRACE_MS:
        return Ending.OVERDUE
    return Ending.NONE


def refused(claim: Claim, now: int) -> Step:
    """The supplier has no room: the job stays in the queue, for another offer, at once."""
    return Step(claim.job, (), due_at=now, attempt_end=AttemptEnd("refused", None, now))


def impossible(claim: Claim, now: int, code: str, message: str) -> Step:
    """No supplier of this kind will ever run it: the job fails, without failover."""
    change = Change(to=JobStatus.FAILED, at=now, error_code=code, error_message=message)
    return Step(claim.job, [change], due_at=None, attempt_end=AttemptEnd(JobStatus.FAILED.value, None, now))


def written_off(claim: Claim, now: int, code: str, message: str) -> Step:
    """Nothing that is known of this job can be used: it fails, and has run until now for all that anybody knows."""
    began = claim.attempt.placed_at if claim.job.started_at is None else claim.job.started_at
    seconds = min(began, now) / 1000, now / 1000
    return judge(claim, Report(PlacementState.FAILED, *seconds, code, message), Ending.NONE, now)


def judge(claim: Claim, report: Report, ending: Ending, now: int) -> Step:
    """Say what a report means for the job: which transitions, at which times, and when to ask again.

    A report is a claim, and may have been written by the job itself. It moves no clock and no bill beyond what this
    control plane saw: everything lies between the placement and now.

    Raises:
        ImpossibleReport: a time in it is no date, or it ends before it starts.
    """
    started_at, finished_at = _interval(claim, report, now)
    changes = _until_running(claim, started_at, ending)
    last = _last_change(report, ending, finished_at)
    if last is None:
        return Step(claim.job, changes, due_at=_next_look(report, now))
    changes.append(last)
    outcome = last.to.value
    if last.to is JobStatus.QUEUED:
        outcome = "outage" if ending is Ending.OUTAGE else "lost"
        if claim.job.status == JobStatus.QUEUED.value and len(changes) == 1:
            changes = []  # it never left the queue
    return Step(claim.job, changes, due_at=now, attempt_end=AttemptEnd(outcome, started_at, finished_at))


def _interval(claim: Claim, report: Report, now: int) -> tuple[int | None, int]:
    """When the placement began and ended, as far as the report can be believed.

    The length is the engine's, by its one clock, and at most what passed here since the placement. The interval is
    moved to where it fits, not cut. A start that is on record stands.
    """
    placed_at = claim.attempt.placed_at
    reported = None if report.started_at is None else _milliseconds(report.started_at)
    end = None if report.finished_at is None else _milliseconds(report.finished_at)
    if reported is not None and end is not None and end < reported:
        raise ImpossibleReport("it ends before it starts")
    recorded = claim.job.started_at if claim.job.status == JobStatus.RUNNING.value else None
    now = max(now, placed_at if recorded is None else recorded)
    if recorded is not None:
        if end is None:
            return recorded, now
        passed = end - (recorded if reported is None else reported)
        return recorded, recorded + min(max(passed, 0), now - recorded)
    if reported is None:
        at = now if end is None else min(max(end, placed_at), now)
        return (at if report.state is PlacementState.COMPLETED else None), at
    passed = 0 if end is None else min(end - reported, now - placed_at)
    started_at = min(max(reported, placed_at), now - passed)
    return started_at, now if end is None else started_at + passed


def _until_running(claim: Claim, started_at: int | None, ending: Ending) -> list[Change]:
    """The transitions up to `running` that the job has not made yet, even if they are noticed late.

    A job whose end was requested before any supplier accepted it was never placed.
    """
    job, attempt = claim.job, claim.attempt
    changes: list[Change] = []
    if job.status == JobStatus.QUEUED.value and (ending is Ending.NONE or started_at is not None):
        changes.append(
            Change(
                to=JobStatus.PLACED,
                at=attempt.placed_at,
                supplier=attempt.supplier,
                region=attempt.region,
                micros_per_gpu_hour=attempt.rate,
            )
        )
    if started_at is not None and job.status in (JobStatus.QUEUED.value, JobStatus.PLACED.value):
        changes.append(Change(to=JobStatus.RUNNING, at=started_at))
    return changes


def _last_change(report: Report, ending: Ending, at: int) -> Change | None:
    """The transition that ends the placement; None while it goes on."""
    state = report.state
    if state is PlacementState.COMPLETED:
        return Change(to=JobStatus.COMPLETED, at=at)
    if state is PlacementState.FAILED:
        return Change(
            to=JobStatus.FAILED,
            at=at,
            error_code=report.error_code or "job_failed",
            error_message=report.error_message or "The job failed.",
        )
    if state not in (PlacementState.CANCELLED, PlacementState.LOST):
        return None
    if ending is Ending.REQUESTED:
        return Change(to=JobStatus.CANCELLED, at=at, reason="requested")
    if ending is Ending.OVERDUE:
        return Change(
            to=JobStatus.FAILED,
            at=at,
            error_code="max_runtime_exceeded",
            error_message="The job was stopped at its max_runtime_seconds.",
        )
    reason = "outage" if ending is Ending.OUTAGE else "lost"
    return Change(to=JobStatus.QUEUED, at=at, reason=reason)


def _next_look(report: Report, now: int) -> int:
    at = report.next_poll_at
    if at is None or not math.isfinite(at) or at * 1000 > _LATEST_MS:
        return now + POLL_MS
    # A poll before the moment that the driver named would find nothing new.
    return max(now + 1, math.ceil(round(at * 1000, 3)))


def _milliseconds(seconds: float) -> int:
    if not math.isfinite(seconds) or not 0 <= seconds * 1000 <= _LATEST_MS:
        raise ImpossibleReport("a time in it is no date")
    return round(seconds * 1000)
