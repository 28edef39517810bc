"""The worker's side of the job table: claim jobs that are due, and write what became of them.

A claim is a lease (in real time, renewed while the work goes on) and a generation, which every claim increases by one.
A worker that comes back with a result after another has claimed the job finds another generation, and writes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    true,
    update,
)

from nodus_core.catalogue import Catalogue
from nodus_core.lifecycle import JobStatus

from ..database.database import Database
from ..database.rows import ATTEMPT_FIELDS, JOB_FIELDS, AttemptRecord, JobRecord
from ..database.schema import attempts, jobs
from ..errors import DatabaseUnavailable
from ..keys import waiting_jobs
from ..keys.thresholds import DEFAULT_FRACTION
from .accepted_suppliers import is_accepted
from .capacity import Layout
from .claiming import Claim, Standing
from .direct import ends_in_queue, place_directly
from .outages import outages_now
from .passes import Passes
from .placements import closed_attempts
from .settlement import SUBMITTING, Step, write_steps
from .slots import Slots
from .supplier_eligibility import SupplierEligibility
from .wants import WAITING_FOR_CAPACITY, Circumstances, ClosedAttempt, Wants, detail_of
from .wants import of_job as wants_of

SWEEP_SECONDS = 2.0
WAKE_SECONDS = 60.0
MARGIN_MS = 1000
LEFT_TO_OTHERS_MS = 15_000
"""How long what was placed at a supplier that a worker cannot ask is left to those who perhaps can."""

_CLAIM = (
    update(jobs)
    .where(jobs.c.seq == bindparam("of_seq"))
    .values(
        generation=bindparam("to_generation"),
        lease_owner=bindparam("to_owner"),
        lease_until=bindparam("to_until"),
        phase=bindparam("to_phase"),
    )
)
_QUEUE = (
    update(jobs)
    .where(jobs.c.seq == bindparam("of_seq"))
    .values(
        waiting_since=func.coalesce(jobs.c.waiting_since, bindparam("since")),
        waiting_in=bindparam("queue"),
        phase=WAITING_FOR_CAPACITY,
        phase_detail=bindparam("detail"),
        due_at=bindparam("again_at"),
    )
)


class Claims:
    """Hands out due jobs to workers."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        layout: Layout | None = None,
        *,
        eligibility: SupplierEligibility | None = None,
        must_be_accepted: bool = False,
        threshold: float = DEFAULT_FRACTION,
    ) -> None:
        """Prepare for handing out jobs.

        Args:
            database: the database.
            catalogue: the suppliers.
            layout: what there is of each GPU model; None for what the catalogue says.
            eligibility: which suppliers can run what, and for whom.
            must_be_accepted: nothing is placed while another catalogue is the accepted one. Where none has to be, jobs
                of a kind, simulated or real, that nobody in the catalogue takes are left alone.
            threshold: the fraction of a key's cap at which subscribers are told, unless the key has its own.
        """
        self._database = database
        self._catalogue = catalogue
        # While a snapshot is open PostgreSQL cannot remove what an index says of jobs that were due and are no more.
        # Whoever began at the first would pass over all of them each time: so everything is looked at now and then,
        # and in between only what may have fallen due since.
        self._floor: int | None = None
        self._next_sweep = 0.0
        self._layout = Layout.of(catalogue) if layout is None else layout
        self._eligibility = eligibility or SupplierEligibility()
        self._must_be_accepted = must_be_accepted
        self._threshold = threshold
        self._next_wake = 0.0
        # One from before this was recorded may be under way with either.
        self._is_ours = (
            true()
            if must_be_accepted or (catalogue.has_real and catalogue.has_simulated)
            else or_(jobs.c.simulated.is_(None), jobs.c.simulated == catalogue.has_simulated)
        )
        Slots(database, self._layout).lay_out(self._may_place)
        self._passes = Passes(
            database,
            catalogue,
            self._layout,
            is_agreed=must_be_accepted,
            eligibility=self._eligibility,
            may_place=self._may_place,
            threshold=threshold,
        )

    def next_due(self, real_now: int) -> int | None:
        """Return the earliest time at which a job that nobody holds falls due; None where none will."""
        query = self.first_due_query(self._floor).where(_is_nobodys(real_now))
        with self._database.read() as connection:
            first: int | None = connection.execute(query).scalar_one()
        return first

    def claim(
        self,
        owner: str,
        *,
        now: int,
        real_now: int,
        lease_ms: int,
        limit: int,
        busy: frozenset[str] = frozenset(),
        unreachable: frozenset[str] = frozenset(),
        drained: frozenset[str] = frozenset(),
    ) -> tuple[int, list[Claim]]:
        """Claim due jobs, longest due first, and place jobs that wait, as far as there is room.

        A due job without an open attempt gets one, or ends if no supplier is left. Where GPUs are counted, or no
        supplier can take it yet, it waits instead, and is not due, until it is placed.

        The attempt is on record before any driver learns of it: after a crash it is submitted again under the same
        number, and the driver adopts what it already has.

        Args:
            owner: who claims.
            now: the time, in Unix milliseconds.
            real_now: the real time, in Unix milliseconds.
            lease_ms: for how long.
            limit: the most claims.
            busy: suppliers of whose jobs none is wanted now.
            unreachable: suppliers that cannot be asked now: to a job they are as if they were full.
            drained: suppliers that are given nothing new.

        Returns:
            How many jobs were dealt with, and which of them a driver must be asked about.
        """
        stand = Standing(owner, now, real_now + lease_ms, busy, unreachable, drained)
        self._wake_now_and_then(now)
        dealt_with, claims = self._lease(stand, real_now, limit)
        try:
            placed, theirs = self._passes.run_due(stand, limit=limit)
        except DatabaseUnavailable:
            if not claims:
                raise
            placed, theirs = 0, []  # What is claimed is dealt with; the next claim will say.
        return dealt_with + placed, claims + theirs

    def _wake_now_and_then(self, now: int) -> None:
        """Wake what waits for budget, in case whoever made room has not come to it."""
        if time.monotonic() >= self._next_wake:
            self._next_wake = time.monotonic() + WAKE_SECONDS
            waiting_jobs.wake(self._database, now)

    def _may_place(self, connection: Connection) -> bool:
        """Say whether this process goes by the suppliers that all processes of the database agreed on."""
        return not self._must_be_accepted or is_accepted(connection, self._catalogue.sha256)

    def _lease(self, stand: Standing, real_now: int, limit: int) -> tuple[int, list[Claim]]:
        """Claim due jobs; return how many were due, and the claims."""
        now = stand.now
        with self._database.write() as connection:
            floor = self._floor_at(connection, now)
            due = self._due(connection, now, real_now, limit, floor, stand)
            if not due:
                return 0, []
            circumstances = Circumstances(outages_now(connection), stand.drained, stand.unreachable)
            ended = ends_in_queue(connection, due, now)
            over = {step.job.seq for step in ended}
            undecided = [job for job in due if job.seq not in over]
            history = closed_attempts(connection, [job.id for job in undecided if job.attempt and not job.open_attempt])
            to_wait = [job for job in undecided if self._waits(job)]
            self._queue(connection, [(job, history[job.id]) for job in to_wait], now)
            waiting = {job.seq for job in to_wait}
            leased = [
                replace(job, generation=job.generation + 1, lease_owner=stand.owner)
                for job in undecided
                if job.seq not in waiting
            ]
            open_attempts = _open_attempts(connection, [job for job in leased if job.open_attempt])
            claims = [
                Claim(
                    job,
                    open_attempts[job.id],
                    open_attempts[job.id].supplier in circumstances.outages,
                    is_first=job.status == JobStatus.QUEUED.value and job.phase is None,
                )
                for job in leased
                if job.open_attempt
            ]
            unplaced = [(job, self._wants(job, history[job.id], now)[0]) for job in leased if not job.open_attempt]
            placed = place_directly(
                connection, unplaced, ended, self._catalogue, circumstances, now, threshold=self._threshold
            )
            self._queue(connection, [(job, history[job.id]) for job in placed.to_wait], now)
            claims += placed.claims
            if claims:
                connection.execute(
                    _CLAIM,
                    [
                        {
                            "of_seq": claim.job.seq,
                            "to_generation": claim.job.generation,
                            "to_owner": stand.owner,
                            "to_until": stand.until,
                            "to_phase": SUBMITTING if claim.is_first else claim.job.phase,
                        }
                        for claim in claims
                    ],
                )
        waiting_jobs.wake(self._database, now, placed.released)
        return len(due), claims

    def _waits(self, job: JobRecord) -> bool:
        """Say whether a due job waits for its turn, like all that are not placed yet where turns are taken."""
        is_placed = job.open_attempt or job.cancel_requested_at is not None
        return not is_placed and job.simulated is not None and self._layout.takes_turns(job.gpu)

    def _queue(
        self, connection: Connection, unplaced: Sequence[tuple[JobRecord, Sequence[ClosedAttempt]]], now: int
    ) -> None:
        """Have jobs wait: none is due before something changes for it by itself."""
        rows = []
        for job, history in unplaced:
            wants, again_at = self._wants(job, history, now)
            again_at = min((at for at in (again_at, job.queue_deadline) if at is not None), default=None)
            rows.append(
                {
                    "of_seq": job.seq,
                    "since": now,
                    "queue": wants.queue,
                    "again_at": again_at,
                    "detail": detail_of(wants),
                }
            )
            self._passes.wake(job.gpu, is_new=not job.attempt)
        if rows:
            connection.execute(_QUEUE, rows)

    def _wants(self, job: JobRecord, history: Sequence[ClosedAttempt], now: int) -> tuple[Wants, int | None]:
        unable = self._eligibility.unable_of(job)
        return wants_of(job, history, self._catalogue, now, unable)

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

    def holds(self, owner: str, job: JobRecord, *, real_now: int) -> bool:
        """Say whether a claim is still its owner's: nobody has claimed the job since, or may by now."""
        query = select(jobs.c.seq).where(
            jobs.c.seq == job.seq,
            jobs.c.generation == job.generation,
            jobs.c.lease_owner == owner,
            jobs.c.lease_until >= real_now,
        )
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

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
        waiting_jobs.wake(
            self._database,
            now,
            {each.job.key_id for each in written if each.changes and each.changes[-1].to.is_terminal},
        )
        return len(written)

    def postpone(self, owner: str, job: JobRecord, *, due_at: int) -> None:
        """Give a claim back without any word of what became of it."""
        with self._database.write() as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.seq == job.seq, jobs.c.lease_owner == owner, jobs.c.generation == job.generation)
                .values(lease_owner=None, lease_until=None, due_at=due_at)
            )

    def give_back(self, owner: str, claim: Claim, *, due_at: int) -> None:
        """Give a claim back of which nobody has been asked anything: the job is what it was before."""
        job = claim.job
        with self._database.write() as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.seq == job.seq, jobs.c.lease_owner == owner, jobs.c.generation == job.generation)
                .values(lease_owner=None, lease_until=None, due_at=due_at, phase=job.phase)
            )

    def first_due_query(self, floor: int | None) -> Select[Any]:
        """Return the query of the earliest time at which a job falls due, not before a floor."""
        query = select(func.min(jobs.c.due_at)).where(jobs.c.due_at.is_not(None), self._is_ours)
        return query if floor is None else query.where(jobs.c.due_at >= floor)

    def due_query(
        self,
        now: int,
        real_now: int,
        limit: int,
        floor: int | None,
        busy: frozenset[str] = frozenset(),
        unreachable: frozenset[str] = frozenset(),
        *,
        may_place: bool = True,
    ) -> Select[Any]:
        """Return the query of the jobs that are due and nobody's, longest due first, not before a floor.

        Those of busy suppliers are left out, and where nothing may be placed, those that would be. What has just been
        placed, and not been sent yet, is left out as well where its supplier is unreachable; not for long, and not once
        it is to be cancelled: then it can be placed elsewhere, or end, without its supplier.
        """
        query = (
            select(*JOB_FIELDS)
            .where(jobs.c.due_at <= now, _is_nobodys(real_now))
            .where(self._is_ours)
            .order_by(jobs.c.due_at, jobs.c.seq)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        if busy:
            query = query.where(or_(jobs.c.supplier.is_(None), jobs.c.supplier.not_in(sorted(busy))))
        if busy or unreachable:
            # One that no supplier has accepted yet has its supplier in its attempt alone.
            is_sent = and_(jobs.c.phase.is_not(None), attempts.c.supplier.in_(sorted(busy)))
            is_unsent = and_(
                jobs.c.phase.is_(None),
                jobs.c.cancel_requested_at.is_(None),
                attempts.c.placed_at > now - LEFT_TO_OTHERS_MS,
            )
            is_left = exists().where(
                attempts.c.job_id == jobs.c.id,
                attempts.c.attempt == jobs.c.attempt,
                attempts.c.supplier.in_(sorted(busy | unreachable)),
                or_(is_sent, is_unsent),
            )
            is_queued = jobs.c.status == JobStatus.QUEUED.value
            query = query.where(~and_(jobs.c.open_attempt, is_queued, is_left))
        if not may_place:
            query = query.where(or_(jobs.c.open_attempt, jobs.c.cancel_requested_at.is_not(None)))
        return query if floor is None else query.where(jobs.c.due_at >= floor)

    def _first_due(self, connection: Connection, floor: int | None) -> int | None:
        first: int | None = connection.execute(self.first_due_query(floor)).scalar_one()
        return first

    def _due(
        self, connection: Connection, now: int, real_now: int, limit: int, floor: int | None, stand: Standing
    ) -> list[JobRecord]:
        may_place = self._may_place(connection)
        query = self.due_query(now, real_now, limit, floor, stand.busy, stand.unreachable, may_place=may_place)
        return [JobRecord(*row) for row in connection.execute(query)]


def _is_nobodys(real_now: int) -> ColumnElement[bool]:
    return or_(jobs.c.lease_until.is_(None), jobs.c.lease_until < real_now)


def _open_attempts(connection: Connection, with_attempt: Sequence[JobRecord]) -> dict[str, AttemptRecord]:
    if not with_attempt:
        return {}
    job_ids = [job.id for job in with_attempt]
    query = select(*ATTEMPT_FIELDS).where(attempts.c.job_id.in_(job_ids), attempts.c.outcome.is_(None))
    return {row.job_id: AttemptRecord(*row) for row in connection.execute(query)}
