"""Rows as values, and how the rows of a job's history are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from nodus_core.ceilings import limit_ms
from nodus_core.lifecycle import Change, JobState, JobStatus

from .schema import attempts, jobs


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A row of `jobs`. Times are Unix milliseconds, money is micro-USD.

    `sealed` is env and command, empty once the job is terminal; `steering` is what of env steers a simulated job.
    """

    seq: int
    id: str
    customer_id: str
    key_id: str
    principal_kind: str
    fingerprint: bytes = field(repr=False)
    image: str
    gpu: str
    gpu_count: int
    max_runtime_seconds: int
    require_tiers: str
    prefer_region: str | None
    name: str | None
    labels: str | None
    max_cost_micros: int | None
    queue_timeout_seconds: int | None
    sealed: bytes = field(repr=False)
    steering: bytes | None = field(repr=False)
    created_at: int
    reserved: int
    reserved_rate: int
    reserved_at: int | None
    estimated: int | None
    queued_at: int | None
    budget_needs: int | None
    simulated: bool | None
    status: str
    placements: int
    supplier: str | None
    region: str | None
    rate: int | None
    placed_at: int | None
    started_at: int | None
    finished_at: int | None
    error_code: str | None
    error_message: str | None
    duration_ms: int | None
    cost: int | None
    retail: int | None
    events: int
    attempt: int
    open_attempt: bool
    cancel_requested_at: int | None
    phase: str | None
    phase_detail: str | None
    generation: int
    lease_owner: str | None
    ledger_seq: int | None
    ledger_hash: bytes | None

    @property
    def state(self) -> JobState:
        """The part that the lifecycle decides on."""
        return JobState(
            status=JobStatus(self.status),
            placements=self.placements,
            supplier=self.supplier,
            region=self.region,
            micros_per_gpu_hour=self.rate,
            placed_at=self.placed_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            error_code=self.error_code,
            error_message=self.error_message,
        )

    @property
    def is_simulated(self) -> bool:
        """Whether nothing runs, and nothing is charged."""
        return counts_as_simulated(self.simulated)

    @property
    def estimate(self) -> int:
        """What was reserved last: that, and no more, it may cost where it is, or was to be."""
        return self.reserved if self.estimated is None else self.estimated

    @property
    def queue_deadline(self) -> int | None:
        """When it is to fail if it does not run by then; None where it waits as long as it takes."""
        if self.queue_timeout_seconds is None:
            return None
        since = self.created_at if self.queued_at is None else self.queued_at
        return since + self.queue_timeout_seconds * 1000

    def limit_ms(self, micros_per_gpu_hour: int) -> int:
        """How long it may run at a price, in milliseconds."""
        return limit_ms(micros_per_gpu_hour, self.gpu_count, self.max_runtime_seconds, self.max_cost_micros)

    @property
    def tiers(self) -> tuple[str, ...]:
        """The kinds of suppliers that the job demands; empty for any."""
        return tuple(self.require_tiers.split(",")) if self.require_tiers else ()

    @property
    def is_terminal(self) -> bool:
        """Whether the job is over."""
        return self.finished_at is not None


UNPRICED = -1
"""The retail rate of an attempt for which nobody knew any when it was placed."""


def counts_as_simulated(recorded: bool | None) -> bool:
    """Read the column `simulated` of a job: before it was recorded, every supplier and every price was simulated."""
    return recorded is not False


_NAMES = tuple(each.name for each in fields(JobRecord))
JOB_FIELDS = tuple(jobs.c[name] for name in _NAMES)


def new_record(values: Mapping[str, Any]) -> JobRecord:
    """Return the record of a row that was just written with these values: what they leave out is null."""
    return JobRecord(*map(values.get, _NAMES))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One submission of a job to a driver: where, at what rate, and since when (Unix milliseconds).

    Attributes:
        job_id: of the job.
        attempt: its number.
        supplier: where.
        region: where.
        rate: micro-USD per GPU-hour.
        placed_at: since when.
        engine_ref: the engine's own name for it.
        gpu_indices: which of the supplier's GPUs of this model are its own, by comma; None where nobody counts them.
        unknown_since: since when nobody can say whether it runs; None while that is known.
        seen_at: its last proof of life; None before the first.
        progress_at: when what it waits for last made progress; None where that cannot be told.
    """

    job_id: str
    attempt: int
    supplier: str
    region: str
    rate: int
    placed_at: int
    engine_ref: str | None = None
    gpu_indices: str | None = None
    unknown_since: int | None = None
    seen_at: int | None = None
    progress_at: int | None = None


ATTEMPT_FIELDS = tuple(attempts.c[each.name] for each in fields(AttemptRecord))


def state_values(state: JobState) -> dict[str, Any]:
    """Return the columns of `jobs` that hold a state."""
    return {
        "status": state.status.value,
        "placements": state.placements,
        "supplier": state.supplier,
        "region": state.region,
        "rate": state.micros_per_gpu_hour,
        "placed_at": state.placed_at,
        "started_at": state.started_at,
        "finished_at": state.finished_at,
        "error_code": state.error_code,
        "error_message": state.error_message,
    }


def event_values(record: JobRecord, seq: int, state: JobState, change: Change) -> dict[str, Any]:
    """Return the row of `events` for one transition; the place is the one that was left, where it was left."""
    return {
        "customer_id": record.customer_id,
        "job_id": record.id,
        "seq": seq,
        "status": change.to.value,
        "at": change.at,
        "attempt": state.placements,
        "supplier": state.supplier if state.supplier is not None else change.supplier,
        "region": state.region if state.region is not None else change.region,
        "reason": change.reason or change.error_code,
    }
