"""Placing jobs that wait: one pass for each GPU model, which reads one job of each queue, however long the queues are.

A pass is due where a job has begun to wait, something has become free, or a supplier is out or back; in any case all
are gone through every `SWEEP_SECONDS`, in case another process knows of something that this one does not.

What a pass places is claimed by the worker that runs it, in the same transaction: another one might not reach that
engine. Only where that worker has its hands full is it left to whoever can.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import CTE, BigInteger, Connection, and_, bindparam, func, insert, select, text, tuple_, update

from nodus_core.catalogue import Catalogue, Offer
from nodus_core.routing import Decision, decide

from ..database.database import Database
from ..database.rows import JOB_FIELDS, JobRecord
from ..database.schema import attempts, jobs, passes
from ..errors import DatabaseUnavailable
from ..keys import waiting_jobs
from ..keys.thresholds import DEFAULT_FRACTION
from . import supplier_eligibility
from .capacity import Head, Layout, Room, kept_for, next_turn, pools_with_room, reservations
from .claiming import Claim, Standing
from .one_pass import OnePass, Possible, WaitingHeads
from .outages import outages_now
from .placements import Decided, attempt_row, decided, no_supplier, nowhere
from .reserving import Months, needed
from .settlement import Step, write_steps
from .slots import Slots, free
from .supplier_eligibility import SupplierEligibility
from .wants import Circumstances, Wants, ceiling_of, of_queue

SWEEP_SECONDS = 1.0

_LOOKS = 16
"""How many jobs a pass looks at, at most, for each that it may place: those that go on waiting cost time too."""

_logger = logging.getLogger(__name__)

_OF_MODEL = and_(jobs.c.waiting_since.is_not(None), jobs.c.gpu == bindparam("of_gpu"))
_OF_QUEUE = and_(_OF_MODEL, jobs.c.waiting_in == bindparam("queue"))
# By the time of their submission, which no other index has: by their number alone they might be sought among all jobs.
_OLDEST_FIRST = (jobs.c.created_at, jobs.c.seq)
NEXT_IN_QUEUE = (
    select(jobs.c.seq)
    .where(
        _OF_QUEUE,
        tuple_(*_OLDEST_FIRST)
        > tuple_(bindparam("after_at", type_=BigInteger()), bindparam("after_seq", type_=BigInteger())),
    )
    .order_by(*_OLDEST_FIRST)
    .limit(1)
)
_CREATED_AT = select(jobs.c.created_at).where(jobs.c.seq == bindparam("of_seq"))
_LOCK_JOB = (
    select(*JOB_FIELDS)
    .where(jobs.c.seq == bindparam("of_seq"), jobs.c.waiting_since.is_not(None), jobs.c.open_attempt.is_(False))
    .with_for_update(skip_locked=True)
)
_LOCK_OLDEST = (
    select(*JOB_FIELDS)
    .where(_OF_QUEUE, jobs.c.open_attempt.is_(False))
    .order_by(*_OLDEST_FIRST)
    .limit(bindparam("at_most"))
    .with_for_update(skip_locked=True)
)
PASSED_OVER = select(jobs.c.seq, jobs.c.passed_over_at, jobs.c.reserves).where(
    jobs.c.gpu == bindparam("of_gpu"), jobs.c.passed_over_at.is_not(None)
)
_MOVE = update(jobs).where(jobs.c.seq == bindparam("of_seq")).values(waiting_in=bindparam("to_queue"))
_BEGIN_MODEL = text("INSERT INTO passes (gpu) VALUES (:of_gpu) ON CONFLICT DO NOTHING")
_LOCK_MODEL = select(passes.c.gpu).where(passes.c.gpu == bindparam("of_gpu")).with_for_update()


def _leaps(column: Any, *conditions: Any) -> CTE:
    """Name the distinct values of a column of waiting jobs, by leaps through their index."""
    first = select(func.min(column).label("value")).where(jobs.c.waiting_since.is_not(None), *conditions)
    found = first.cte("found", recursive=True)
    following = (
        select(func.min(column))
        .where(jobs.c.waiting_since.is_not(None), *conditions, column > found.c.value)
        .scalar_subquery()
    )
    return found.union_all(select(following).where(found.c.value.is_not(None)))


_MODELS = _leaps(jobs.c.gpu)
MODELS_WAITED_FOR = select(_MODELS.c.value).where(_MODELS.c.value.is_not(None))
_QUEUES = _leaps(jobs.c.waiting_in, jobs.c.gpu == bindparam("of_gpu"))
_HEAD = select(jobs.c.seq).where(_OF_MODEL, jobs.c.waiting_in == _QUEUES.c.value).order_by(*_OLDEST_FIRST).limit(1)
HEADS_OF_QUEUES = select(_QUEUES.c.value, _HEAD.scalar_subquery().label("seq")).where(_QUEUES.c.value.is_not(None))
"""The queues of a GPU model, each with the oldest job in it."""


class Passes:
    """Places waiting jobs, of all GPU models."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        layout: Layout,
        *,
        is_agreed: bool = False,
        eligibility: SupplierEligibility | None = None,
        may_place: Callable[[Connection], bool] = lambda _: True,
        threshold: float = DEFAULT_FRACTION,
    ) -> None:
        """Prepare for passes.

        Args:
            database: the database.
            catalogue: the suppliers.
            layout: what there is of each GPU model.
            is_agreed: all who place jobs go by this catalogue. Else jobs of a kind, simulated or real, that nobody in
                it takes are left to others, who may have suppliers for them.
            eligibility: which suppliers can run what, and for whom.
            may_place: asked in the transaction that would place something, or end it.
            threshold: the fraction of a key's cap at which subscribers are told, unless the key has its own.
        """
        self._threshold = threshold
        self._may_place = may_place
        self._database = database
        self._catalogue = catalogue
        self._layout = layout
        self._slots = Slots(database, layout)
        self._is_agreed = is_agreed
        self._eligibility = eligibility or SupplierEligibility()
        self._arrived: set[str] = set()
        self._news: set[str] = set()
        self._failing: set[str] = set()
        self._seen: dict[str, tuple[Circumstances, Room]] = {}
        self._placed_last: dict[str, int] = {}
        self._next_sweep = 0.0

    def wake(self, gpu: str, *, is_new: bool) -> None:
        """Say that a job of a model has begun to wait; a new one can only be placed, another may have lost its hope."""
        (self._arrived if is_new else self._news).add(gpu)

    def run_due(self, stand: Standing, *, limit: int) -> tuple[int, list[Claim]]:
        """Place what waits, as far as there is room, `limit` jobs at most.

        Returns:
            How many jobs were placed, or ended because nobody will ever take them; and those that are claimed.
        """
        claims: list[Claim] = []
        with self._database.read() as connection:
            models = connection.execute(MODELS_WAITED_FOR).scalars().all()
            if not models:
                return 0, claims
            circumstances = Circumstances(outages_now(connection), stand.drained, stand.unreachable)
            rooms = {gpu: self._slots.room(connection, gpu) for gpu in models}
        is_sweep = time.monotonic() >= self._next_sweep
        if is_sweep:
            self._next_sweep = time.monotonic() + SWEEP_SECONDS
        due = [gpu for gpu in models if self._is_due(gpu, circumstances, rooms[gpu], is_sweep=is_sweep)]
        # Where models share places for jobs, each has its turn at one: the one first that was placed longest ago.
        at_once = 1 if self._layout.places else limit
        done = 0
        while due and done < limit:
            gpu = min(due, key=lambda gpu: (self._placed_last.get(gpu, 0), gpu))
            self._arrived.discard(gpu)
            self._news.discard(gpu)
            try:
                count = self._run(gpu, circumstances, stand, min(at_once, limit - done), claims)
            except DatabaseUnavailable:
                self._news.add(gpu)
                if not claims:
                    raise
                break  # What is claimed is dealt with; the next pass will say.
            except Exception:
                if gpu not in self._failing:
                    _logger.exception("jobs that wait for %s cannot be placed; others are, and it is tried again", gpu)
                self._failing.add(gpu)
                count = 0
            else:
                self._failing.discard(gpu)
            done += count
            # Where a pass has ended before it had to, the next one goes on at once.
            if count < at_once and not (count and gpu in self._news):
                due.remove(gpu)
        return done, claims

    def _is_due(self, gpu: str, circumstances: Circumstances, room: Room, *, is_sweep: bool) -> bool:
        if gpu in self._news or self._seen.get(gpu) != (circumstances, room):
            return True
        return (is_sweep or gpu in self._arrived) and (self._is_unlimited(gpu) or _has_something(room))

    def _is_unlimited(self, gpu: str) -> bool:
        return any(offer.supplier not in self._layout.pools for offer in self._catalogue.offers(gpu))

    def _run(self, gpu: str, circumstances: Circumstances, stand: Standing, limit: int, claims: list[Claim]) -> int:
        """Place and end jobs of a model, and add what is claimed; return how many were dealt with."""
        work, hopeless = self._place(gpu, circumstances, stand, limit)
        claims += work.claims
        placed = len(work.placed)
        self._seen[gpu] = (circumstances, work.room)
        if placed:
            self._placed_last[gpu] = max(self._placed_last.values(), default=0) + 1
        if work.done >= limit or work.is_stale or work.moved:
            self._news.add(gpu)  # There may be more.
        waiting_jobs.wake(self._database, stand.now, work.months.released)
        if ended := self._end(gpu, hopeless, circumstances, stand.now, limit):
            self._news.add(gpu)
        return work.done + ended

    def _end(self, gpu: str, hopeless: Sequence[str], circumstances: Circumstances, now: int, limit: int) -> int:
        """End jobs that no supplier takes, or will: in a transaction of its own, which locks their keys."""
        if not hopeless:
            return 0
        moved = 0
        ended: list[Step] = []
        rows: list[dict[str, Any]] = []
        with self._database.write() as connection:
            if not self._may_place(connection):
                return 0
            owners = self._eligibility.owners(connection)
            for queue in hopeless:
                if len(ended) + moved >= limit:
                    break
                limits = {"of_gpu": gpu, "queue": queue, "at_most": limit - len(ended) - moved}
                wants = of_queue(queue)
                for job in [JobRecord(*row) for row in connection.execute(_LOCK_OLDEST, limits)]:
                    if self._moves(connection, job, queue):
                        moved += 1
                        continue
                    number = job.attempt + 1
                    decision = self._decide(gpu, wants, circumstances, owners, job=job)
                    ended.append(Step(replace(job, attempt=number), [no_supplier(now, decision)], None, nowhere(now)))
                    rows.append(attempt_row(job.id, number, None, now, self._written(decision, gpu)))
            if rows:
                connection.execute(insert(attempts), rows)
            write_steps(connection, ended, self._catalogue)
        waiting_jobs.wake(self._database, now, {step.job.key_id for step in ended})
        return len(ended) + moved

    def _decide(
        self,
        gpu: str,
        wants: Wants,
        circumstances: Circumstances,
        owners: Mapping[str, str],
        headroom: int | None = None,
        **more: Any,
    ) -> Decision:
        """Ask the router; `more` is what `Wants.requirements` takes beside."""
        requirements = wants.requirements(
            self._catalogue, circumstances, anothers=supplier_eligibility.anothers(owners, wants.customer), **more
        )
        if headroom is not None:
            requirements = replace(requirements, headroom_micros=headroom)
        return decide(self._catalogue.offers_for(gpu, simulated=wants.simulated is not False), requirements)

    def _place(self, gpu: str, circumstances: Circumstances, stand: Standing, limit: int) -> tuple[OnePass, list[str]]:
        """Place jobs while it is somebody's turn.

        Returns:
            What was done, and the queues of those that nobody will ever take.
        """
        with self._database.write() as connection:
            connection.execute(_BEGIN_MODEL, {"of_gpu": gpu})
            connection.execute(_LOCK_MODEL, {"of_gpu": gpu})
            room = self._slots.room(connection, gpu)
            months = Months(connection, stand.now)
            work = OnePass(connection, gpu, room, self._slots.held(connection, gpu), stand, months)
            if not self._may_place(connection):
                return work, []
            work.owners = self._eligibility.owners(connection, keep=True)
            waiting = self._queues(connection, gpu, circumstances, work.owners)
            work.read_turns({head.share for head in waiting.heads.values()})
            looks = 0
            while work.done < limit and looks < _LOOKS * limit and not work.is_stale:
                looks += 1
                self._reserve(work, waiting)
                turn = next_turn(list(waiting.heads.values()), work.room, work.held, work.turns)
                if turn.head is None:
                    break
                self._take_turn(work, waiting, turn.head, turn.skipped, circumstances)
            work.write(waiting, self._threshold)
            return work, waiting.hopeless

    def _reserve(self, work: OnePass, waiting: WaitingHeads) -> None:
        heads = list(waiting.heads.values())
        for seq, pool in reservations(heads, work.room, work.now).items():
            waiting.change(seq, reserves=pool)

    def _take_turn(
        self,
        work: OnePass,
        waiting: WaitingHeads,
        head: Head,
        skipped: Sequence[Head],
        circumstances: Circumstances,
    ) -> None:
        """Place the job whose turn it is, if nobody has it in hands, and let the next of its queue come forward."""
        queue = waiting.queues[head.seq]
        row = work.connection.execute(_LOCK_JOB, {"of_seq": head.seq}).first()
        if row is not None:
            job = JobRecord(*row)
            wants = replace(of_queue(queue), unable=self._eligibility.unable_of(job))
            with_room = pools_with_room(head, kept_for(waiting.heads.values()), work.room)
            full = [supplier for supplier, pool in self._layout.pools.items() if pool not in with_room]

            def again(headroom: int | None = None) -> Decision:
                return self._decide(work.gpu, wants, circumstances, work.owners, headroom, job=job, full=full)

            decision = again()
            if decision.chosen is not None and needed(decision) != job.reserved:
                if work.months.is_anothers(job.key_id):
                    # So that no two passes ever wait for each other's keys, each changes one; the next one goes on.
                    work.is_stale = True
                    return
                work.months.lock([job.key_id])
                decision = work.months.within(job, decision, again)
            if decision.waits_for_budget:
                work.months.have_wait(job, decision)
            elif decision.chosen is not None:
                if not self._opens(work, waiting, job, decision, decision.chosen, skipped):
                    return
            elif self._moves(work.connection, job, queue):
                # Other suppliers can run it than when it began to wait: from now on it waits for those.
                work.moved += 1
        after_at = work.connection.execute(_CREATED_AT, {"of_seq": head.seq}).scalar()
        after = {"of_gpu": work.gpu, "queue": queue, "after_at": after_at, "after_seq": head.seq}
        waiting.advance(head, work.connection.execute(NEXT_IN_QUEUE, after).scalar())

    def _opens(
        self,
        work: OnePass,
        waiting: WaitingHeads,
        job: JobRecord,
        decision: Decision,
        offer: Offer,
        skipped: Sequence[Head],
    ) -> bool:
        """Open an attempt at an offer; False where somebody else has been faster, so that all must be judged anew."""
        number = job.attempt + 1
        pool = self._layout.pools.get(offer.supplier)
        indices = None
        if pool is not None:
            indices = self._slots.take(
                work.connection,
                pool,
                work.gpu,
                job.gpu_count,
                customer_id=job.customer_id,
                job_id=job.id,
                attempt=number,
            )
            if indices is None:
                work.room = replace(work.room, free={**work.room.free, pool: 0})
                return False
        if not self._is_for(work, offer.supplier, job.customer_id):
            free(work.connection, [(job.id, number)])
            return False
        if pool is not None:
            work.took(pool, job)
            for other in skipped:
                if pool in other.pools and other.passed_over_at is None:
                    waiting.change(other.seq, passed_over_at=work.now)
        retail = self._catalogue.retail_micros_per_gpu_hour(work.gpu, simulated=offer.simulated)
        written = self._written(decision, work.gpu)
        row = attempt_row(job.id, number, offer, work.now, written, indices, retail)
        work.places(job, offer, needed(decision), row, written.sha256)
        return True

    def _written(self, decision: Decision, gpu: str) -> Decided:
        return decided(decision, gpu, self._catalogue.sha256)

    def _moves(self, connection: Connection, job: JobRecord, queue: str) -> bool:
        """Move a job to another queue if other suppliers can run it than when it began to wait; say whether it was."""
        wants = of_queue(queue)
        offers = self._catalogue.offers_for(job.gpu, simulated=job.is_simulated)
        present = replace(wants, unable=self._eligibility.unable_of(job), ceiling=ceiling_of(job, offers))
        if present == wants:
            return False
        connection.execute(_MOVE, {"of_seq": job.seq, "to_queue": present.queue})
        return True

    def _is_for(self, work: OnePass, supplier: str, customer_id: str) -> bool:
        """Say whether a supplier takes a customer, whose it is from now on if it takes one only and was nobody's."""
        if supplier not in self._eligibility.one_customer or work.owners.get(supplier) == customer_id:
            return True
        work.is_stale = True
        return supplier_eligibility.take(work.connection, supplier, customer_id) == customer_id

    def _queues(
        self, connection: Connection, gpu: str, circumstances: Circumstances, owners: Mapping[str, str]
    ) -> WaitingHeads:
        """Read the head of each queue, and judge where its jobs could go now."""
        marks = {row.seq: row for row in connection.execute(PASSED_OVER, {"of_gpu": gpu})}
        waiting = WaitingHeads(marks)
        judged: dict[tuple[Wants, frozenset[str]], Possible | None] = {}
        for queue, seq in connection.execute(HEADS_OF_QUEUES, {"of_gpu": gpu}):
            wants = of_queue(queue)
            if not self._is_agreed and not self._knows(wants.simulated):
                continue
            alike = (replace(wants, customer=""), supplier_eligibility.anothers(owners, wants.customer))
            if alike not in judged:
                judged[alike] = self._judge(gpu, wants, circumstances, owners)
            possible = judged[alike]
            if possible is None:
                waiting.hopeless.append(queue)
            else:
                head = Head(
                    seq,
                    wants.customer,
                    wants.gpu_count,
                    possible.pools,
                    possible.is_unlimited,
                    is_simulated=wants.simulated is not False,
                )
                waiting.put(queue, head)
        return waiting

    def _knows(self, simulated: bool | None) -> bool:
        """Say whether anybody in the catalogue takes jobs of this kind."""
        return self._catalogue.has_real if simulated is False else self._catalogue.has_simulated

    def _judge(
        self, gpu: str, wants: Wants, circumstances: Circumstances, owners: Mapping[str, str]
    ) -> Possible | None:
        """Say where a job could go now, the best first; None if it never can."""
        decision = self._decide(gpu, wants, circumstances, owners)
        if decision.chosen is None and not decision.may_wait:
            return None
        pools = self._layout.pools
        possible = [candidate.offer.supplier for candidate in decision.candidates if candidate.rejected is None]
        return Possible(
            tuple(dict.fromkeys(pools[supplier] for supplier in possible if supplier in pools)),
            any(supplier not in pools for supplier in possible),
        )


def _has_something(room: Room) -> bool:
    return any(free > 0 and room.places.get(pool, 1) > 0 for pool, free in room.free.items())
