"""The states of a job, the one table of transitions between them, and the one function that applies it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace


class JobStatus(str, enum.Enum):
    """The states of a job; the last three are terminal."""

    QUEUED = "queued"
    PLACED = "placed"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can follow."""
        return not TRANSITIONS[self]


TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.PLACED, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.PLACED: frozenset({JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.RUNNING: frozenset({JobStatus.QUEUED, JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.COMPLETED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}


class IllegalTransition(Exception):
    """A change that the table does not allow."""

    def __init__(self, current: JobStatus, to: JobStatus) -> None:
        super().__init__(f"a {current.value} job cannot become {to.value}")
        self.current = current
        self.to = to


@dataclass(frozen=True, slots=True)
class JobState:
    """The part of a job that transitions change. Times are Unix milliseconds.

    `placements` counts those that a supplier accepted. Supplier, region, rate and the times of the placement are
    those of the present one, or of the last one once the job is terminal; None while the job is queued.
    """

    status: JobStatus = JobStatus.QUEUED
    placements: int = 0
    supplier: str | None = None
    region: str | None = None
    micros_per_gpu_hour: int | None = None
    placed_at: int | None = None
    started_at: int | None = None
    finished_at: int | None = None
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A requested transition.

    `reason` explains it to people who read the history: `capacity`, `lost`, `outage`, `requested`, an error code.
    The place is needed for `PLACED`, the error for `FAILED`.
    """

    to: JobStatus
    at: int
    supplier: str | None = None
    region: str | None = None
    micros_per_gpu_hour: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    reason: str | None = None


def apply(state: JobState, change: Change) -> JobState:
    """Return the state after a change.

    Raises:
        IllegalTransition: the table does not lead from this state to that one.
        ValueError: the change lacks what its status needs: a place for `PLACED`, an error code for `FAILED`.
    """
    if change.to not in TRANSITIONS[state.status]:
        raise IllegalTransition(state.status, change.to)
    if change.to is JobStatus.PLACED:
        if change.supplier is None or change.region is None or change.micros_per_gpu_hour is None:
            raise ValueError("a placement needs supplier, region and rate")
        return replace(
            state,
            status=change.to,
            placements=state.placements + 1,
            supplier=change.supplier,
            region=change.region,
            micros_per_gpu_hour=change.micros_per_gpu_hour,
            placed_at=change.at,
        )
    if change.to is JobStatus.RUNNING:
        return replace(state, status=change.to, started_at=change.at)
    if change.to is JobStatus.QUEUED:
        return JobState(placements=state.placements)
    if change.to is JobStatus.FAILED and change.error_code is None:
        raise ValueError("a failure needs an error code")
    return replace(
        state,
        status=change.to,
        finished_at=change.at if state.started_at is None else max(change.at, state.started_at),
        error_code=change.error_code,
        error_message=change.error_message,
    )


def running_milliseconds(state: JobState, limit_ms: int) -> int:
    """Return how long a terminal job ran at its last placement: what is paid for.

    Never more than its limit, for which was reserved: the moment that it takes to end an overdue job is at the
    supplier's expense. Zero for a job that never ran.
    """
    if state.started_at is None or state.finished_at is None:
        return 0
    return min(state.finished_at - state.started_at, limit_ms)
