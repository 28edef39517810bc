"""One pass over the jobs that wait for a GPU model: the heads of their queues, and what it has done so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, text, update

from nodus_core.catalogue import Offer

from ..database.rows import AttemptRecord, JobRecord
from ..database.schema import attempts, jobs, turns
from ..trust import job_entries, log
from ..trust.log import Entry
from .capacity import Head, Room, Share
from .claiming import Claim, Standing
from .reserving import Months
from .settlement import SUBMITTING
from .wants import WAITS_NO_MORE

# Without waiting for a row: whoever has one is about to end that job.
_LOCK_WAITING = (
    select(jobs.c.seq)
    .where(jobs.c.seq.in_(bindparam("seqs", expanding=True)), jobs.c.waiting_since.is_not(None))
    .order_by(jobs.c.seq)
    .with_for_update(skip_locked=True)
)
_NOTE = (
    update(jobs)
    .where(jobs.c.seq == bindparam("of_seq"))
    .values(passed_over_at=bindparam("to_passed_over_at"), reserves=bindparam("to_reserves"))
)
_PLACE = (
    update(jobs)
    .where(jobs.c.seq == bindparam("of_seq"))
    .values(
        attempt=bindparam("to_attempt"),
        open_attempt=True,
        due_at=bindparam("to_due_at"),
        generation=bindparam("to_generation"),
        lease_owner=bindparam("to_owner"),
        lease_until=bindparam("to_until"),
        reserved=bindparam("to_reserved"),
        reserved_at=bindparam("to_reserved_at"),
        estimated=None,
        **{**WAITS_NO_MORE, "phase": bindparam("to_phase")},
    )
)
_TURNS = select(turns.c.customer_id, turns.c.turn).where(
    turns.c.gpu == bindparam("of_gpu"), turns.c.customer_id.in_(bindparam("customers", expanding=True))
)
_LAST_TURN = select(func.max(turns.c.turn)).where(turns.c.gpu == bindparam("of_gpu"))
_PUT_TURN = text(
    "INSERT INTO turns (gpu, customer_id, turn) VALUES (:gpu, :customer_id, :turn) "
    "ON CONFLICT (gpu, customer_id) DO UPDATE SET turn = excluded.turn"
)


@dataclass(frozen=True, slots=True)
class Possible:
    """Where a job could go now: in which pools, and whether also where nobody counts."""

    pools: tuple[str, ...]
    is_unlimited: bool


@dataclass(slots=True)
class WaitingHeads:
    """The queues of one model in the course of a pass: heads by their number, and what is on record of some jobs."""

    marks: Mapping[int, Any]
    heads: dict[int, Head] = field(default_factory=dict)
    queues: dict[int, str] = field(default_factory=dict)
    hopeless: list[str] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)

    def put(self, queue: str, head: Head) -> None:
        """Add the head of a queue, with what is on record of it."""
        mark = self.marks.get(head.seq)
        if mark is not None:
            head = replace(head, passed_over_at=mark.passed_over_at, reserves=mark.reserves)
        self.heads[head.seq] = head
        self.queues[head.seq] = queue

    def change(self, seq: int, **changes: Any) -> None:
        """Change what is on record of a head."""
        self.heads[seq] = replace(self.heads[seq], **changes)
        self.changed.add(seq)

    def advance(self, head: Head, seq: int | None) -> None:
        """Let the next job of a queue be its head."""
        queue = self.queues.pop(head.seq)
        del self.heads[head.seq]
        self.changed.discard(head.seq)
        if seq is not None:
            self.put(queue, replace(head, seq=seq, passed_over_at=None, reserves=None))


@dataclass(slots=True)
class OnePass:
    """What a pass has done so far."""

    connection: Connection
    gpu: str
    room: Room
    held: dict[Share, int]
    stand: Standing
    months: Months
    owners: Mapping[str, str] = field(default_factory=dict)
    is_stale: bool = False
    moved: int = 0
    turns: dict[Share, int] = field(default_factory=dict)
    last_turn: int = 0
    served: set[Share] = field(default_factory=set)
    rows: list[dict[str, Any]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    placed: list[dict[str, Any]] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    @property
    def done(self) -> int:
        """How many jobs have left their place in a queue."""
        return len(self.placed) + self.months.waiting + self.moved

    @property
    def now(self) -> int:
        """The time of all that it does, in Unix milliseconds."""
        return self.stand.now

    def read_turns(self, shares: set[Share]) -> None:
        """Read whose turn it was when."""
        for is_simulated in {share.is_simulated for share in shares}:
            of_kind = {"of_gpu": _counted_as(self.gpu, is_simulated=is_simulated)}
            customers = sorted(share.customer for share in shares if share.is_simulated is is_simulated)
            found = self.connection.execute(_TURNS, {**of_kind, "customers": customers})
            self.turns.update((Share(row.customer_id, is_simulated), row.turn) for row in found)
            self.last_turn = max(self.last_turn, self.connection.execute(_LAST_TURN, of_kind).scalar() or 0)

    def next_turn(self) -> int:
        """Count one more placement."""
        self.last_turn += 1
        return self.last_turn

    def took(self, pool: str, job: JobRecord) -> None:
        """Count what a job has been given."""
        room = self.room
        self.room = replace(
            room,
            free={**room.free, pool: room.free[pool] - job.gpu_count},
            places={**room.places, pool: room.places[pool] - 1} if pool in room.places else room.places,
        )
        share = Share(job.customer_id, job.is_simulated)
        self.held[share] = self.held.get(share, 0) + job.gpu_count

    def places(self, job: JobRecord, offer: Offer, reserved: int, row: Mapping[str, Any], sha256: str) -> None:
        """Count a job that is placed, and claim it, unless the worker has its hands full there."""
        stand = self.stand
        number, rate = row["attempt"], offer.micros_per_gpu_hour
        self.months.change(job, reserved)
        is_claimed = offer.supplier not in stand.busy
        generation = job.generation + is_claimed
        self.rows.append(dict(row))
        self.entries.append(job_entries.attempted(job, number, offer, reserved, sha256, self.now))
        self.placed.append(
            {
                "of_seq": job.seq,
                "to_attempt": number,
                "to_due_at": self.now,
                "to_generation": generation,
                "to_owner": stand.owner if is_claimed else None,
                "to_until": stand.until if is_claimed else None,
                "to_phase": SUBMITTING if is_claimed else None,
                "to_reserved": reserved,
                "to_reserved_at": self.now,
            }
        )
        share = Share(job.customer_id, job.is_simulated)
        self.turns[share] = self.next_turn()
        self.served.add(share)
        if is_claimed:
            opened = replace(
                job,
                attempt=number,
                open_attempt=True,
                generation=generation,
                lease_owner=stand.owner,
                reserved=reserved,
                reserved_at=self.now,
                estimated=None,
                budget_needs=None,
                phase=None,
                phase_detail=None,
            )
            attempt = AttemptRecord(
                job.id, number, offer.supplier, offer.region, rate, self.now, gpu_indices=row["gpu_indices"]
            )
            self.claims.append(Claim(opened, attempt, supplier_is_out=False, is_first=True))

    def write(self, waiting: WaitingHeads, threshold: float) -> None:
        """Write what is on record of jobs that go on waiting, and of those that were placed; the ledger last."""
        connection = self.connection
        if waiting.changed:
            locked = set(connection.execute(_LOCK_WAITING, {"seqs": sorted(waiting.changed)}).scalars())
            notes = [
                {"of_seq": head.seq, "to_passed_over_at": head.passed_over_at, "to_reserves": head.reserves}
                for head in waiting.heads.values()
                if head.seq in locked
            ]
            if notes:
                connection.execute(_NOTE, notes)
        entries = self.months.write(threshold)
        if self.placed:
            self._write_placed(connection)
        log.append_all(connection, [*entries, *self.entries])

    def _write_placed(self, connection: Connection) -> None:
        connection.execute(_PLACE, self.placed)
        connection.execute(insert(attempts), self.rows)
        connection.execute(
            _PUT_TURN,
            [
                {
                    "gpu": _counted_as(self.gpu, is_simulated=share.is_simulated),
                    "customer_id": share.customer,
                    "turn": self.turns[share],
                }
                for share in sorted(self.served)
            ],
        )


def _counted_as(gpu: str, *, is_simulated: bool) -> str:
    """Return the name under which turns at a model are counted: simulated ones under one that no model can have."""
    return f"{gpu} simulated" if is_simulated else gpu
