"""The worker's side of the job table: claim jobs that are due, and write what became of them.

A claim is a lease (in real time, renewed while the work goes on) and a generation, which every claim increases by one.
A worker that comes back with a result after another has claimed the job finds another generation, and writes nothing.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Integer, Select, bindparam, func, insert, or_, select, text, update

from nodus_core import routing
from nodus_core.catalogue import Catalogue, Offer
from nodus_core.lifecycle import Change, JobStatus
from nodus_core.money import usd
from nodus_core.routing import Decision, Requirements

from ..database.database import Database
from ..database.rows import JOB_FIELDS, AttemptRecord, JobRecord
from ..database.schema import api_keys, attempts, jobs
from ..trust import job_entries
from ..trust.log import Entry
from .accepted_suppliers import is_accepted
from .capacity import Capacity, InUse, Waiting, choose
from .outages import outages_now
from .settlement import AttemptEnd, Step, write_steps

SWEEP_SECONDS = 2.0
MARGIN_MS = 1000

_LOST = ("lost", "outage")
_CLAIM = (
    update(jobs)
    .where(jobs.c.seq == bindparam("of_seq"))
    .values(generation=bindparam("to_generation"), lease_owner=bindparam("to_owner"), lease_until=bindparam("to_until"))
)
_OPEN_ATTEMPT = (
    update(jobs).where(jobs.c.seq == bindparam("of_seq")).values(attempt=bindparam("to_attempt"), open_attempt=True)
)
_WAIT = update(jobs).where(jobs.c.seq == bindparam("of_seq")).values(due_at=None, waiting_since=bindparam("since"))
_WAIT_NO_LONGER = (
    update(jobs).where(jobs.c.seq == bindparam("of_seq")).values(due_at=bindparam("to_due_at"), waiting_since=None)
)
_IS_ANY_WAITING = select(jobs.c.seq).where(jobs.c.waiting_since.is_not(None)).limit(1)
_GPUS_WAITED_FOR = select(jobs.c.gpu).where(jobs.c.waiting_since.is_not(None)).distinct()
_LONGEST_WAITING = (
    select(jobs.c.seq, jobs.c.gpu, jobs.c.gpu_count)
    .where(jobs.c.waiting_since.is_not(None), jobs.c.gpu == bindparam("of_gpu"))
    .order_by(jobs.c.seq)
    .limit(bindparam("limit", type_=Integer()))
    .with_for_update(skip_locked=True)
)
_IN_USE = (
    select(jobs.c.gpu, func.sum(jobs.c.gpu_count).label("gpus"), func.count().label("jobs"))
    .where(text("jobs.open_attempt"))  # as the index says it
    .group_by(jobs.c.gpu)
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this worker holds for a while, with the attempt that its driver has, or is about to get."""

    job: JobRecord
    attempt: AttemptRecord
    supplier_is_out: bool


class Claims:
    """Hands out due jobs to workers."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        capacity: Capacity | None = None,
        *,
        simulated: bool = True,
        must_be_accepted: bool = False,
    ) -> None:
        """Where suppliers are `simulated`, only simulated jobs are handed out; elsewhere, only others.

        `capacity` is what all jobs of the database share; None where there is room for any number. A catalogue that
        `must_be_accepted` places nothing while another one is the accepted one.
        """
        self._database = database
        self._catalogue = catalogue
        # While a snapshot is open PostgreSQL cannot remove what an index says of jobs that were due and are no more.
        # Whoever began at the first would pass over all of them each time: so everything is looked at now and then,
        # and in between only what may have fallen due since.
        self._floor: int | None = None
        self._next_sweep = 0.0
        self._capacity = capacity
        self._simulated = simulated
        self._must_be_accepted = must_be_accepted
        # One from before this was recorded may be under way with either.
        self._is_ours = or_(jobs.c.simulated.is_(None), jobs.c.simulated == simulated)

    def next_due(self) -> int | None:
        """Return the earliest time at which a job falls due; None where none will."""
        with self._database.read() as connection:
            return self._first_due(connection, self._floor)

    def claim(self, owner: str, *, now: int, real_now: int, lease_ms: int, limit: int) -> tuple[int, list[Claim]]:
        """Claim due jobs, longest due first. A job without an open attempt gets one, or ends if no supplier is left.

        Where there is no room for it, it waits, and is not due, until there is.

        The attempt is on record before any driver learns of it: after a crash it is submitted again under the same
        number, and the driver adopts what it already has.

        Returns:
            How many jobs were dealt with, and which of them a driver must be asked about.
        """
        with self._database.write() as connection:
            floor = self._floor_at(connection, now)
            may_place = not self._must_be_accepted or is_accepted(connection, self._catalogue.sha256)
            due = self._due(connection, now, real_now, limit, floor, may_place=may_place)
            dealt_with = len(due)
            if self._capacity is not None and may_place:
                due, dealt_with = self._admit(connection, due, self._capacity, now, limit)
            if not due:
                return dealt_with, []
            out = outages_now(connection)
            leased = [replace(job, generation=job.generation + 1, lease_owner=owner) for job in due]
            connection.execute(
                _CLAIM,
                [
                    {
                        "of_seq": job.seq,
                        "to_generation": job.generation,
                        "to_owner": owner,
                        "to_until": real_now + lease_ms,
                    }
                    for job in leased
                ],
            )
            open_attempts = _open_attempts(connection, [job for job in leased if job.open_attempt])
            claimed = [
                Claim(job, open_attempts[job.id], open_attempts[job.id].supplier in out)
                for job in leased
                if job.open_attempt
            ]
            claimed += self._dispatch(connection, [job for job in leased if not job.open_attempt], out, now)
        return dealt_with, claimed

    def _floor_at(self, connection: Connection, now: int) -> int | None:
        """Return the time before which nothing is due, as far as is known; None for a claim that looks at everything.

        Nobody makes a job due before their own now, so what is missed is of a process whose clock is behind, or whose
        transaction took long; it is found with the next claim that looks at everything.
        """
        if not self._database.is_server:
            return None
        if time.monotonic() < self._next_sweep:
            return self._floor
        self._next_sweep = time.monotonic() + SWEEP_SECONDS
        first = self._first_due(connection, None)
        self._floor = (now if first is None else min(first, now)) - MARGIN_MS
        return None

    def renew(self, owner: str, seqs: Sequence[int], *, real_now: int, lease_ms: int) -> None:
        """Extend the leases of claims whose work takes long."""
        with self._database.write() as connection:
            connection.execute(select(jobs.c.seq).where(jobs.c.seq.in_(seqs)).order_by(jobs.c.seq).with_for_update())
            connection.execute(
                update(jobs)
                .where(jobs.c.seq.in_(seqs), jobs.c.lease_owner == owner)
                .values(lease_until=real_now + lease_ms)
            )

    def release_all(self) -> None:
        """End every lease: for the one process that uses a database alone, when it starts after a crash."""
        with self._database.write() as connection:
            connection.execute(
                update(jobs).where(jobs.c.lease_owner.is_not(None)).values(lease_owner=None, lease_until=None)
            )

    def finish(self, owner: str, steps: Sequence[Step], *, now: int) -> int:
        """Write what became of claimed jobs, except those that another worker has claimed meanwhile.

        A job whose cancellation was requested after the claim falls due at once. Returns how many steps were written.
        """
        if not steps:
            return 0
        with self._database.write() as connection:
            query = (
                select(*JOB_FIELDS)
                .where(jobs.c.seq.in_([step.job.seq for step in steps]))
                .order_by(jobs.c.seq)
                .with_for_update()
            )
            current = {job.seq: job for job in (JobRecord(*row) for row in connection.execute(query))}
            written = []
            for step in steps:
                job = current.get(step.job.seq)
                if job is None or job.generation != step.job.generation or job.lease_owner != owner:
                    continue
                is_news = job.cancel_requested_at is not None and step.job.cancel_requested_at is None
                written.append(replace(step, job=job, due_at=now if is_news else step.due_at))
            write_steps(connection, written, self._catalogue)
        return len(written)

    def postpone(self, owner: str, job: JobRecord, *, due_at: int) -> None:
        """Give a claim back without any word of what became of it."""
        with self._database.write() as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.seq == job.seq, jobs.c.lease_owner == owner, jobs.c.generation == job.generation)
                .values(lease_owner=None, lease_until=None, due_at=due_at)
            )

    def _admit(
        self, connection: Connection, due: Sequence[JobRecord], capacity: Capacity, now: int, limit: int
    ) -> tuple[list[JobRecord], int]:
        """Have new jobs wait behind those that wait already, and take as many of all of them as there is room for.

        Returns:
            The jobs to go on with, and how many there were to deal with.
        """
        new = [job for job in due if not job.open_attempt and job.cancel_requested_at is None]
        going_on = [job for job in due if job.open_attempt or job.cancel_requested_at is not None]
        if new:
            connection.execute(_WAIT, [{"of_seq": job.seq, "since": now} for job in new])
        elif connection.execute(_IS_ANY_WAITING).first() is None:
            return going_on, len(due)
        # Until this transaction ends, no other worker counts what is free.
        self._database.lock_name(connection, "capacity")
        in_use = {row.gpu: InUse(row.gpus, row.jobs) for row in connection.execute(_IN_USE)}
        waiting = [
            Waiting(*row)
            for gpu in connection.execute(_GPUS_WAITED_FOR).scalars()
            for row in connection.execute(_LONGEST_WAITING, {"of_gpu": gpu, "limit": limit})
        ]
        chosen = choose(waiting, in_use, capacity, limit)
        if not chosen:
            return going_on, len(due)
        connection.execute(_WAIT_NO_LONGER, [{"of_seq": job.seq, "to_due_at": now} for job in chosen])
        query = select(*JOB_FIELDS).where(jobs.c.seq.in_([job.seq for job in chosen])).order_by(jobs.c.seq)
        admitted = [JobRecord(*row) for row in connection.execute(query)]
        others = {job.seq for job in due}.union(job.seq for job in admitted)
        return [*going_on, *admitted], len(others)

    def _dispatch(
        self, connection: Connection, undispatched: Sequence[JobRecord], out: frozenset[str], now: int
    ) -> list[Claim]:
        """Route jobs that no driver has yet; return the claims that a driver is to be given."""
        claims: list[Claim] = []
        ended: list[Step] = []
        rows: list[dict[str, Any]] = []
        entries: list[Entry] = []
        history = _closed_attempts(connection, [job.id for job in undispatched if job.attempt])
        orphans = self._orphans(connection, [job for job in undispatched if job.simulated is None])
        for job in undispatched:
            if job.cancel_requested_at is not None:
                ended.append(Step(job, [Change(to=JobStatus.CANCELLED, at=now, reason="requested")], None))
                continue
            decision = self._decide(job, out, history[job.id], may_run=job.id not in orphans)
            number = job.attempt + 1
            offer = decision.chosen
            if offer is None:
                is_offered = any(each.rejected not in routing.NOT_OFFERED for each in decision.candidates)
                change = _no_supplier(now, is_offered=is_offered)
                ended.append(Step(replace(job, attempt=number), [change], None, _nowhere(now)))
                rows.append(_attempt_row(job.id, number, None, now, decision))
                continue
            rows.append(_attempt_row(job.id, number, offer, now, decision))
            rate = offer.micros_per_gpu_hour
            entries.append(job_entries.attempted(job, number, offer.supplier, offer.region, rate, now))
            attempt = AttemptRecord(job.id, number, offer.supplier, offer.region, rate, now)
            claims.append(Claim(replace(job, attempt=number, open_attempt=True), attempt, supplier_is_out=False))
        if rows:
            connection.execute(insert(attempts), rows)
        if claims:
            connection.execute(
                _OPEN_ATTEMPT, [{"of_seq": claim.job.seq, "to_attempt": claim.job.attempt} for claim in claims]
            )
        write_steps(connection, ended, self._catalogue, entries)
        return claims

    def first_due_query(self, floor: int | None) -> Select[Any]:
        """Return the query of the earliest time at which a job falls due, not before a floor."""
        query = select(func.min(jobs.c.due_at)).where(jobs.c.due_at.is_not(None), self._is_ours)
        return query if floor is None else query.where(jobs.c.due_at >= floor)

    def due_query(
        self, now: int, real_now: int, limit: int, floor: int | None, *, may_place: bool = True
    ) -> Select[Any]:
        """Return the query of the jobs that are due and nobody's, longest due first, not before a floor.

        Without those that would be placed, where nothing may be.
        """
        query = (
            select(*JOB_FIELDS)
            .where(jobs.c.due_at <= now, or_(jobs.c.lease_until.is_(None), jobs.c.lease_until < real_now))
            .where(self._is_ours)
            .order_by(jobs.c.due_at, jobs.c.seq)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        if not may_place:
            query = query.where(or_(jobs.c.open_attempt, jobs.c.cancel_requested_at.is_not(None)))
        return query if floor is None else query.where(jobs.c.due_at >= floor)

    def _first_due(self, connection: Connection, floor: int | None) -> int | None:
        first: int | None = connection.execute(self.first_due_query(floor)).scalar_one()
        return first

    def _due(
        self, connection: Connection, now: int, real_now: int, limit: int, floor: int | None, *, may_place: bool
    ) -> list[JobRecord]:
        query = self.due_query(now, real_now, limit, floor, may_place=may_place)
        return [JobRecord(*row) for row in connection.execute(query)]

    def _orphans(self, connection: Connection, unrecorded: Sequence[JobRecord]) -> set[str]:
        """Return which jobs nobody may begin: a live key's from before was promised more than a simulation.

        And a job that counts as simulated must not run anything.
        """
        if not unrecorded:
            return set()
        key_ids = {job.key_id for job in unrecorded}
        query = select(api_keys.c.id).where(api_keys.c.id.in_(key_ids), api_keys.c.is_test)
        test_keys = set(connection.execute(query).scalars()) if self._simulated else set()
        return {job.id for job in unrecorded if job.key_id not in test_keys}

    def _decide(
        self, job: JobRecord, out: frozenset[str], history: list[tuple[str, str, str]], *, may_run: bool
    ) -> Decision:
        requirements = Requirements(
            require_tiers=job.tiers,
            gpu_count=job.gpu_count,
            prefer_region=job.prefer_region,
            outages=out,
            lost=frozenset((supplier, region) for supplier, region, outcome in history if outcome in _LOST),
            refused=frozenset((supplier, region) for supplier, region, outcome in history if outcome == "refused"),
            ceiling_micros=job.reserved_rate,
        )
        return routing.decide(self._catalogue.offers(job.gpu) if may_run else (), requirements)


def decision_document(decision: Decision) -> dict[str, Any]:
    """Return a decision in the form of `GET /v1/jobs/{id}/routing`."""
    candidates = [
        {
            "supplier": candidate.offer.supplier,
            "kind": candidate.offer.kind.value,
            "region": candidate.offer.region,
            "usd_per_gpu_hour": usd(candidate.offer.micros_per_gpu_hour),
            "score": candidate.score,
            "rejected": candidate.rejected,
        }
        for candidate in decision.candidates
    ]
    return {"chosen": candidates[0] if decision.chosen is not None else None, "candidates": candidates}


def _open_attempts(connection: Connection, with_attempt: Sequence[JobRecord]) -> dict[str, AttemptRecord]:
    if not with_attempt:
        return {}
    query = select(
        attempts.c.job_id,
        attempts.c.attempt,
        attempts.c.supplier,
        attempts.c.region,
        attempts.c.rate,
        attempts.c.placed_at,
    ).where(attempts.c.job_id.in_([job.id for job in with_attempt]), attempts.c.outcome.is_(None))
    return {row.job_id: AttemptRecord(*row) for row in connection.execute(query)}


def _closed_attempts(connection: Connection, job_ids: Sequence[str]) -> dict[str, list[tuple[str, str, str]]]:
    found: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    if job_ids:
        query = select(attempts.c.job_id, attempts.c.supplier, attempts.c.region, attempts.c.outcome).where(
            attempts.c.job_id.in_(job_ids), attempts.c.outcome.is_not(None)
        )
        for row in connection.execute(query):
            found[row.job_id].append((row.supplier, row.region, row.outcome))
    return found


@lru_cache(maxsize=256)
def _decision_text(decision: Decision) -> str:
    return json.dumps(decision_document(decision), separators=(",", ":"))


def _attempt_row(job_id: str, number: int, offer: Offer | None, now: int, decision: Decision) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "attempt": number,
        "supplier": "" if offer is None else offer.supplier,
        "region": "" if offer is None else offer.region,
        "rate": 0 if offer is None else offer.micros_per_gpu_hour,
        "placed_at": now,
        "decision": _decision_text(decision),
    }


def _no_supplier(now: int, *, is_offered: bool) -> Change:
    return Change(
        to=JobStatus.FAILED,
        at=now,
        error_code="no_supplier",
        error_message=(
            "Every supplier that offers this is out, was full, or has lost this job before."
            if is_offered
            else "No supplier offers this any more."
        ),
        reason="no_supplier",
    )


def _nowhere(now: int) -> AttemptEnd:
    return AttemptEnd(outcome="refused", started_at=None, ended_at=now)
