"""Writing transitions: state, history, cost and budget of jobs change together, inside the caller's transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, LargeBinary, bindparam, func, insert, select, update

from nodus_core import lifecycle
from nodus_core.catalogue import Catalogue
from nodus_core.lifecycle import Change, JobState, JobStatus
from nodus_core.money import cost_micros
from nodus_core.months import month_at
from nodus_core.usage import day_of

from ..database.rows import UNPRICED, JobRecord, event_values, state_values
from ..database.schema import attempts, events, jobs
from ..keys import budgets
from ..trust import job_entries, log
from ..trust.log import Entry
from ..webhooks import outbox, payloads
from . import meter_events, outcomes, slots

SUBMITTING = "submitting"
"""The phase of a job that somebody may have given to a driver, and of which no more is known."""


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """How an attempt ended. Times are Unix milliseconds.

    Attributes:
        outcome: one of `nodus_ledger.jobs.outcomes`, or the job's terminal status.
        started_at: when its program began, where that is known.
        ended_at: when it was over.
        is_confirmed: whether its engine, or an operator, says that its program does not run. Else it keeps what it has
            of its supplier until a sweep finds that.
    """

    outcome: str
    started_at: int | None
    ended_at: int
    is_confirmed: bool = True


@dataclass(frozen=True, slots=True)
class AttemptNews:
    """What is known now of an open attempt, as the columns of `attempts` have it. Unix milliseconds."""

    engine_ref: str | None
    unknown_since: int | None
    seen_at: int | None
    progress_at: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """What became of a job: its transitions in order, whether its attempt ended, and when it is due again.

    `due_at` is ignored once the job is terminal. `phase` and `phase_detail` replace what was there; `news`, where there
    is any, replaces what was known of the attempt.
    """

    job: JobRecord
    changes: Sequence[Change]
    due_at: int | None
    attempt_end: AttemptEnd | None = None
    phase: str | None = None
    phase_detail: str | None = None
    news: AttemptNews | None = None


_STATE_COLUMNS = (
    *state_values(lifecycle.JobState()),
    "events",
    "open_attempt",
    "due_at",
    "finished_day",
    "duration_ms",
    "cost",
    "retail",
    "ledger_seq",
    "ledger_hash",
    "phase",
    "phase_detail",
    "queued_at",
)
_UPDATE_JOB = (
    update(jobs)
    .where(jobs.c.seq == bindparam("of_seq"))
    .values(
        lease_owner=None,
        lease_until=None,
        waiting_since=None,
        waiting_in=None,
        passed_over_at=None,
        reserves=None,
        budget_needs=None,
        sealed=func.coalesce(bindparam("to_sealed", type_=LargeBinary), jobs.c.sealed),
        **{name: bindparam(f"to_{name}") for name in _STATE_COLUMNS},
    )
)
_RESCHEDULE = (
    update(jobs)
    .where(jobs.c.seq == bindparam("of_seq"))
    .values(
        lease_owner=None,
        lease_until=None,
        due_at=bindparam("to_due_at"),
        phase=bindparam("to_phase"),
        phase_detail=bindparam("to_phase_detail"),
    )
)
_END_ATTEMPT = (
    update(attempts)
    .where(attempts.c.job_id == bindparam("of_job"), attempts.c.attempt == bindparam("of_attempt"))
    .values(outcome=bindparam("to_outcome"), started_at=bindparam("to_started_at"), ended_at=bindparam("to_ended_at"))
)
_NEWS_COLUMNS = tuple(each.name for each in fields(AttemptNews))
_UPDATE_ATTEMPT = (
    update(attempts)
    .where(attempts.c.job_id == bindparam("of_job"), attempts.c.attempt == bindparam("of_attempt"))
    .values({name: bindparam(f"to_{name}") for name in _NEWS_COLUMNS})
)
_RETAIL_RATES = select(attempts.c.job_id, attempts.c.attempt, attempts.c.retail_rate).where(
    attempts.c.job_id.in_(bindparam("job_ids", expanding=True)), attempts.c.retail_rate.is_not(None)
)
_LAST_SUPPLIER = (
    select(attempts.c.supplier)
    .where(attempts.c.job_id == bindparam("job"), attempts.c.outcome.in_(outcomes.GONE))
    .order_by(attempts.c.attempt.desc())
    .limit(1)
)


def write_steps(
    connection: Connection, steps: Sequence[Step], catalogue: Catalogue, opening: Sequence[Entry] = ()
) -> None:
    """Write what became of jobs whose rows the caller has locked, and release their leases.

    `opening` are ledger entries to write before.

    Raises:
        lifecycle.IllegalTransition: a change does not follow from the job's state; nothing may be committed then.
    """
    job_rows: list[dict[str, Any]] = []
    rescheduled: list[dict[str, Any]] = []
    attempt_rows: list[dict[str, Any]] = []
    settled: list[tuple[JobRecord, dict[str, Any]]] = []
    entries = list(opening)
    terminal: dict[int, dict[str, Any]] = {}  # by where in `entries` the terminal transition is
    recorded: list[tuple[int, dict[str, Any]]] = []  # rows of `events`, each with where in `entries` it is
    released: Counter[str] = Counter()
    realised: Counter[tuple[str, str]] = Counter()
    news: list[dict[str, Any]] = []
    retail_rates = _retail_rates(connection, steps, catalogue)
    over: list[tuple[str, int]] = []
    for step in steps:
        job = step.job
        if step.news is not None:
            of = {"of_job": job.id, "of_attempt": job.attempt}
            news.append({**of, **{f"to_{name}": getattr(step.news, name) for name in _NEWS_COLUMNS}})
        if step.attempt_end is not None:
            attempt_rows.append(
                {
                    "of_job": job.id,
                    "of_attempt": job.attempt,
                    "to_outcome": step.attempt_end.outcome,
                    "to_started_at": step.attempt_end.started_at,
                    "to_ended_at": step.attempt_end.ended_at,
                }
            )
            end = step.attempt_end
            if end.is_confirmed:
                over.append((job.id, job.attempt))
            if job.open_attempt:
                entries.append(job_entries.attempt_ended(job, end.outcome, end.started_at, end.ended_at))
        elif not step.changes:
            rescheduled.append(
                {
                    "of_seq": job.seq,
                    "to_due_at": step.due_at,
                    "to_phase": step.phase or _queued_phase(job),
                    "to_phase_detail": step.phase_detail,
                }
            )
            continue
        values, history = _advance(step, retail_rates.get(job.id))
        recorded.extend(enumerate(history, start=len(entries)))
        entries.extend(job_entries.transitions(job, history))
        # Nobody runs it again: env and command have served their purpose.
        sealed = b"" if values["cost"] is not None else None
        row = {"of_seq": job.seq, "to_sealed": sealed, **{f"to_{name}": values[name] for name in _STATE_COLUMNS}}
        job_rows.append(row)
        if values["cost"] is not None:
            terminal[len(entries) - 1] = row
            entries.append(job_entries.settled(job, values))
            settled.append((job, values))
            released[job.key_id] += job.reserved
            settled_at = max(values["finished_at"], job.reserved_at or 0)
            realised[job.key_id, month_at(settled_at).name] += values["cost"]
    budgets.settle(connection, released, realised)
    outbox.publish(connection, [_webhook_event(connection, *each) for each in settled])
    meter_events.record(connection, settled)
    slots.free(connection, over)
    positions = log.append_all(connection, entries)
    for number, row in terminal.items():
        row.update(to_ledger_seq=positions[number].seq, to_ledger_hash=positions[number].leaf_hash)
    event_rows = [{**row, "position": positions[number].seq} for number, row in recorded]
    for statement, rows in (
        (_RESCHEDULE, rescheduled),
        (_UPDATE_JOB, job_rows),
        (insert(events), event_rows),
        (_UPDATE_ATTEMPT, news),
        (_END_ATTEMPT, attempt_rows),
    ):
        if rows:
            connection.execute(statement, rows)


def _queued_phase(job: JobRecord) -> str | None:
    """Return the phase of a job whose step names none: in the queue, with an attempt, it may have reached a driver.

    Whoever claims a job in the queue without a phase takes it that no driver has ever heard of its attempt.
    """
    return SUBMITTING if job.open_attempt and job.status == JobStatus.QUEUED.value else None


def cancel_undispatched(connection: Connection, job: JobRecord, now: int, catalogue: Catalogue) -> None:
    """Cancel a queued job that no driver has."""
    change = Change(to=JobStatus.CANCELLED, at=now, reason="requested")
    write_steps(connection, [Step(job, [change], due_at=None)], catalogue)


def _webhook_event(connection: Connection, job: JobRecord, values: Mapping[str, Any]) -> outbox.WebhookEvent:
    """Notify subscribers of a job's end; if it failed in the queue, name the supplier that had it last."""
    last_supplier = values["supplier"]
    if last_supplier is None and values["status"] == JobStatus.FAILED.value:
        last_supplier = connection.execute(_LAST_SUPPLIER, {"job": job.id}).scalar()
    return payloads.ended(job, values, last_supplier)


def _retail_rates(connection: Connection, steps: Sequence[Step], catalogue: Catalogue) -> dict[str, int | None]:
    """Return what retail was when the attempt was placed of which a job ends, in micro-USD per GPU-hour, by job id.

    It is what retail is now for one from before that was recorded, and for a job that nobody has.
    """
    ending = [step.job for step in steps if step.changes and step.changes[-1].to.is_terminal]
    placed = [job.id for job in ending if job.open_attempt]
    recorded: dict[tuple[str, int], int] = {}
    if placed:
        for job_id, attempt, rate in connection.execute(_RETAIL_RATES, {"job_ids": placed}):
            recorded[job_id, attempt] = rate
    rates: dict[str, int | None] = {}
    for job in ending:
        rate = recorded.get((job.id, job.attempt))
        if rate is None:
            rates[job.id] = catalogue.retail_micros_per_gpu_hour(job.gpu, simulated=job.is_simulated)
        else:
            rates[job.id] = None if rate == UNPRICED else rate
    return rates


def _advance(step: Step, retail_rate: int | None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Apply a step's changes; return the job's new columns and the rows of its history.

    `retail_rate` is what retail is for a job that ends; None where nobody knows.
    """
    job, end = step.job, step.attempt_end
    state = job.state
    history: list[dict[str, Any]] = []
    for number, change in enumerate(step.changes, start=job.events + 1):
        state = lifecycle.apply(state, change)
        history.append(event_values(job, number, state, change))
    values: dict[str, Any] = {
        **state_values(state),
        "events": job.events + len(history),
        "open_attempt": job.open_attempt and end is None,
        "due_at": step.due_at,
        "finished_day": None,
        "duration_ms": None,
        "cost": None,
        "retail": None,
        "ledger_seq": None,
        "ledger_hash": None,
        "phase": step.phase,
        "phase_detail": step.phase_detail,
        "queued_at": end.ended_at if end is not None and end.outcome in outcomes.GONE else job.queued_at,
    }
    if state.status.is_terminal:
        duration_ms = lifecycle.running_milliseconds(state, job.limit_ms(state.micros_per_gpu_hour or 0))
        values.update(_settled(job, state, duration_ms, retail_rate))
    return values, history


def _settled(record: JobRecord, state: JobState, duration_ms: int, retail_rate: int | None) -> dict[str, Any]:
    """Return the columns of `jobs` that say what a terminal job cost, and on which day."""
    return {
        "finished_day": None if state.finished_at is None else day_of(state.finished_at),
        "duration_ms": duration_ms,
        "cost": cost_micros(state.micros_per_gpu_hour or 0, record.gpu_count, duration_ms),
        "retail": None if retail_rate is None else cost_micros(retail_rate, record.gpu_count, duration_ms),
        "due_at": None,
        "phase": None,
        "phase_detail": None,
    }
