"""Placing jobs where nobody takes turns: what a claim has found due is routed at once, in its transaction.

All rows that it needs of keys are locked together, by id, once it is known where each job would go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, bindparam, insert, update

from nodus_core import routing
from nodus_core.catalogue import Catalogue, Offer
from nodus_core.lifecycle import Change, JobStatus
from nodus_core.routing import Decision, Requirements

from ..database.rows import AttemptRecord, JobRecord
from ..database.schema import attempts, jobs
from ..keys import budgets
from ..trust import job_entries
from ..trust.log import Entry
from .claiming import Claim
from .placements import attempt_row, decided, no_supplier, nowhere, orphans, over_budget, waited_too_long
from .reserving import Months, needed
from .settlement import Step, write_steps
from .wants import WAITS_NO_MORE, Circumstances, Wants

_OPEN_ATTEMPT = (
    update(jobs)
    .where(jobs.c.seq == bindparam("of_seq"))
    .values(
        attempt=bindparam("to_attempt"),
        open_attempt=True,
        reserved=bindparam("to_reserved"),
        reserved_at=bindparam("to_reserved_at"),
        estimated=None,
        **WAITS_NO_MORE,
    )
)


@dataclass(slots=True)
class Placed:
    """What has been done: claims that a driver is to be given, jobs that must wait, and keys that have more room."""

    claims: list[Claim] = field(default_factory=list)
    to_wait: list[JobRecord] = field(default_factory=list)
    released: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a job would go, its budget apart."""

    job: JobRecord
    offers: tuple[Offer, ...]
    requirements: Requirements
    decision: Decision

    def again(self, headroom: int) -> Decision:
        """Decide with so much headroom, in micro-USD."""
        return routing.decide(self.offers, replace(self.requirements, headroom_micros=headroom))


def ends_in_queue(connection: Connection, due: Sequence[JobRecord], now: int) -> list[Step]:
    """Say which of the due jobs that no driver has end now, whatever suppliers there are.

    Those end whose time in the queue is over, or that need more than their key's whole cap; a cap is changed by none
    but its owner, so it is read without a lock. Whether the rest fits is judged where it is placed, under its key's
    lock: whoever makes room meanwhile comes after that, and finds the job waiting.
    """
    ended: list[Step] = []
    for job in due:
        if job.open_attempt or job.cancel_requested_at is not None:
            continue
        if job.queue_deadline is not None and now >= job.queue_deadline:
            ended.append(Step(job, [waited_too_long(now, job.queue_timeout_seconds or 0)], None))
        elif job.budget_needs is not None:
            cap = budgets.figures(connection, job.key_id, now).cap
            if cap is not None and job.budget_needs > cap:
                ended.append(Step(job, [over_budget(now, job.budget_needs, cap)], None))
    return ended


def place_directly(
    connection: Connection,
    unplaced: Sequence[tuple[JobRecord, Wants]],
    ended: Sequence[Step],
    catalogue: Catalogue,
    circumstances: Circumstances,
    now: int,
    *,
    threshold: float,
) -> Placed:
    """Route jobs that no driver has yet, and whose rows are locked; `ended` are those that end anyhow."""
    without_hope = orphans(connection, [job for job, _ in unplaced], simulated=catalogue.has_simulated)
    ended = list(ended)
    plans: list[Plan] = []
    for job, wants in unplaced:
        if job.cancel_requested_at is not None:
            ended.append(Step(job, [Change(to=JobStatus.CANCELLED, at=now, reason="requested")], None))
            continue
        requirements = wants.requirements(catalogue, circumstances, job=job)
        offers = catalogue.offers_for(job.gpu, simulated=job.is_simulated)
        if job.id in without_hope:
            offers = ()
        plans.append(Plan(job, offers, requirements, routing.decide(offers, requirements)))
    months = Months(connection, now)
    months.lock([step.job.key_id for step in ended] + [plan.job.key_id for plan in plans if _changes_its_key(plan)])
    placed = Placed()
    rows: list[dict[str, Any]] = []
    opened: list[Mapping[str, Any]] = []
    entries: list[Entry] = []
    for plan in plans:
        job = plan.job
        decision = plan.decision
        if decision.chosen is not None:
            decision = months.within(job, decision, plan.again)
        if decision.waits_for_budget:
            months.have_wait(job, decision)
            continue
        offer = decision.chosen
        if offer is None and decision.may_wait:
            placed.to_wait.append(job)
            continue
        number = job.attempt + 1
        retail = catalogue.retail_micros_per_gpu_hour(job.gpu, simulated=job.is_simulated)
        written = decided(decision, job.gpu, catalogue.sha256)
        rows.append(attempt_row(job.id, number, offer, now, written, retail_rate=retail))
        if offer is None:
            ended.append(Step(replace(job, attempt=number), [no_supplier(now, decision)], None, nowhere(now)))
            continue
        reserved = needed(decision)
        months.change(job, reserved)
        entries.append(job_entries.attempted(job, number, offer, reserved, written.sha256, now))
        attempt = AttemptRecord(job.id, number, offer.supplier, offer.region, offer.micros_per_gpu_hour, now)
        job = replace(
            job,
            attempt=number,
            open_attempt=True,
            reserved=reserved,
            reserved_at=now,
            estimated=None,
            budget_needs=None,
            phase=None,
            phase_detail=None,
        )
        opened.append({"of_seq": job.seq, "to_attempt": number, "to_reserved": reserved, "to_reserved_at": now})
        placed.claims.append(Claim(job, attempt, supplier_is_out=False, is_first=True))
    if rows:
        connection.execute(insert(attempts), rows)
    if opened:
        connection.execute(_OPEN_ATTEMPT, opened)
    write_steps(connection, ended, catalogue, [*months.write(threshold), *entries])
    placed.released = months.released | {step.job.key_id for step in ended}
    return placed


def _changes_its_key(plan: Plan) -> bool:
    decision = plan.decision
    if decision.chosen is None:
        return not decision.may_wait  # it ends
    return needed(decision) != plan.job.reserved
