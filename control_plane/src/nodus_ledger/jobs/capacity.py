"""Who is placed next where GPUs are counted: pure decisions, from what there is, what is free and who waits.

The customer who holds the fewest GPUs of the model comes first, then the one who was placed longest ago, and of that
customer the oldest job that fits. What is simulated counts apart from what is real. A job that was passed over for want
of GPUs is in the end kept what comes free.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from nodus_core.catalogue import Catalogue

RESERVES_AFTER_MS = 300_000
"""How long a job may be passed over for want of GPUs until those that come free are kept for it."""

PLACES = ""
"""The model under which places for jobs are counted, where only so many run at once."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What there is to be counted. A pool is a supplier's own, or what several suppliers share.

    Attributes:
        pools: by supplier; a supplier that is not here counts by itself, and takes any number of jobs.
        gpus: how many GPUs there are, by pool and model.
        places: how many jobs run at once at most, by pool, where that is limited.
        exclusive: the models that suppliers offer who take one customer only.
        simulated: the pools where nothing runs.
    """

    pools: Mapping[str, str] = field(default_factory=dict)
    gpus: Mapping[tuple[str, str], int] = field(default_factory=dict)
    places: Mapping[str, int] = field(default_factory=dict)
    exclusive: frozenset[str] = frozenset()
    simulated: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, catalogue: Catalogue, places: Mapping[str, int] | None = None, one_customer: Collection[str] = ()
    ) -> Layout:
        """Make the layout of a catalogue: each supplier that says what it has is a pool.

        `places` are how many jobs run at once at suppliers that limit that, and `one_customer` those that take one.
        """
        counted = {name: supplier.gpus for name, supplier in catalogue.suppliers.items() if supplier.gpus is not None}
        gpus = {(name, gpu): count for name, has in counted.items() for gpu, count in has.items()}
        exclusive = {gpu for name in one_customer for gpu in catalogue.suppliers[name].micros_per_gpu_hour}
        simulated = frozenset(name for name in counted if catalogue.suppliers[name].is_simulated)
        return cls({name: name for name in counted}, gpus, places or {}, frozenset(exclusive), simulated)

    def slots(self) -> Iterator[tuple[str, str, int]]:
        """Yield pool, model and index of everything that there is."""
        for (pool, gpu), count in self.gpus.items():
            yield from ((pool, gpu, index) for index in range(count))
        for pool, count in self.places.items():
            yield from ((pool, PLACES, index) for index in range(count))

    def takes_turns(self, gpu: str) -> bool:
        """Say whether jobs for this model wait for their turn: where it is counted, or goes to one customer only."""
        return gpu in self.exclusive or any(model == gpu for _, model in self.gpus)


@dataclass(frozen=True, slots=True)
class Room:
    """What is free of one GPU model, what there is of it, and how many more jobs may run where that is limited."""

    free: Mapping[str, int]
    total: Mapping[str, int]
    places: Mapping[str, int] = field(default_factory=dict)


class Share(NamedTuple):
    """What is counted together: a customer's simulated jobs, or all others of that customer."""

    customer: str
    is_simulated: bool


@dataclass(frozen=True, slots=True)
class Head:
    """The oldest of a customer's waiting jobs that can go to the same suppliers. `seq` is the order of submission.

    Attributes:
        seq: of the job.
        customer: whose it is.
        gpus: how many it needs, in one pool.
        pools: where it can go, the best first.
        is_unlimited: it can also go where nobody counts.
        is_simulated: it goes where nothing runs, and never elsewhere.
        passed_over_at: when another was first placed where there were too few GPUs for it.
        reserves: the pool that keeps GPUs for it.
    """

    seq: int
    customer: str
    gpus: int
    pools: tuple[str, ...]
    is_unlimited: bool = False
    passed_over_at: int | None = None
    reserves: str | None = None
    is_simulated: bool = False

    @property
    def share(self) -> Share:
        """What it is counted with."""
        return Share(self.customer, self.is_simulated)


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is; None where nothing fits. `skipped` are those whose turn it was before, but who did not fit."""

    head: Head | None
    skipped: tuple[Head, ...] = ()


def kept_for(heads: Iterable[Head]) -> dict[str, Head]:
    """Return for whom GPUs are kept, by pool."""
    return {head.reserves: head for head in heads if head.reserves is not None}


def free_in(room: Room, pool: str, kept: int = 0) -> int:
    """Return how many GPUs of a pool a job could have now, of which so many are kept for another one.

    There are none where no more jobs may run at once, whatever is free.
    """
    return max(0, room.free[pool] - kept) if room.places.get(pool, 1) > 0 else 0


def pools_with_room(head: Head, kept: Mapping[str, Head], room: Room) -> frozenset[str]:
    """Return the pools in which there is room for a job now, given what is kept for others."""

    def for_others(pool: str) -> int:
        other = kept.get(pool)
        return other.gpus if other is not None and other.seq != head.seq else 0

    return frozenset(pool for pool in room.free if free_in(room, pool, for_others(pool)) >= head.gpus)


def next_turn(heads: Sequence[Head], room: Room, held: Mapping[Share, int], turns: Mapping[Share, int]) -> Turn:
    """Say who is placed next.

    Args:
        heads: of each customer the oldest jobs.
        room: what is free.
        held: how many GPUs of the model a customer holds, simulated or real.
        turns: which placement of the model was a customer's last, of that kind: the greater, the later.
    """

    kept = kept_for(heads)

    known: dict[tuple[int, str | None], frozenset[str]] = {}

    def fits(head: Head) -> bool:
        if head.is_unlimited:
            return True
        alike = (head.gpus, head.reserves)
        if alike not in known:
            known[alike] = pools_with_room(head, kept, room)
        return not known[alike].isdisjoint(head.pools)

    for head in _by_patience(kept.values()):
        if fits(head):
            return Turn(head)
    oldest: dict[Share, int] = {}
    for head in heads:
        share = head.share
        oldest[share] = min(head.seq, oldest.get(share, head.seq))

    def order(head: Head) -> tuple[int, int, int, int]:
        share = head.share
        return (held.get(share, 0), turns.get(share, 0), oldest[share], head.seq)

    chosen = min(filter(fits, heads), key=order, default=None)
    if chosen is None:
        return Turn(None)
    first = order(chosen)
    return Turn(chosen, tuple(other for other in heads if order(other) < first))


def reservations(heads: Sequence[Head], room: Room, now: int) -> dict[int, str | None]:
    """Return for which jobs something else is to be kept than is, by `seq`: in which pool, or None for nothing more.

    A pool keeps GPUs for one job at a time, and a job has them kept in one pool: so whoever is kept something gets it
    once enough others have ended. Among several who were passed over for long enough it is the first to be so.
    """
    changes: dict[int, str | None] = {}
    taken: set[str] = set()

    def may_have(head: Head, pool: str) -> bool:
        return pool in head.pools and pool not in taken and room.total.get(pool, 0) >= head.gpus

    patient = _by_patience(head for head in heads if head.passed_over_at is not None or head.reserves is not None)
    for head in patient:
        if head.reserves is not None and may_have(head, head.reserves):
            taken.add(head.reserves)
        elif head.reserves is not None:
            changes[head.seq] = None
    for head in patient:
        has_one = head.reserves is not None and head.seq not in changes
        if has_one or head.passed_over_at is None or now - head.passed_over_at < RESERVES_AFTER_MS:
            continue
        pool = next((pool for pool in head.pools if may_have(head, pool)), None)
        if pool is not None:
            taken.add(pool)
            changes[head.seq] = pool
    return changes


def _by_patience(heads: Iterable[Head]) -> list[Head]:
    return sorted(heads, key=lambda head: (head.passed_over_at is None, head.passed_over_at or 0, head.seq))
