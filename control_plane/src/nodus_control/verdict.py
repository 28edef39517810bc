"""What a driver's answer means for a job: pure decisions, from a claim and a report to the step that is written."""

from __future__ import annotations

import enum
import math

from nodus_core.lifecycle import Change, JobStatus
from nodus_ledger.claims import Claim
from nodus_ledger.transitions import AttemptEnd, Step

from .suppliers.protocol import PlacementState, Report

POLL_MS = 500
RETRY_MS = 5_000
OVERDUE_GRACE_MS = 60_000
"""How long past `max_runtime_seconds` a driver may take to end a job by itself."""


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


def judge(claim: Claim, report: Report, ending: Ending, now: int) -> Step:
    """Say what a report means for the job: which transitions, at which true times, and when to ask again."""
    placed_at = claim.attempt.placed_at
    started_at = None if report.started_at is None else max(_milliseconds(report.started_at), placed_at)
    finished_at = now if report.finished_at is None else max(_milliseconds(report.finished_at), started_at or placed_at)
    if report.state is PlacementState.COMPLETED and started_at is None:
        started_at = finished_at
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
    if report.next_poll_at is None:
        return now + POLL_MS
    # A poll before the moment that the driver named would find nothing new.
    return max(now + 1, math.ceil(round(report.next_poll_at * 1000, 3)))


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
