"""Who is placed next where GPUs are counted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count

import pytest
from entries import catalogue_of, layout_of_one_machine, supplier
from hypothesis import given
from hypothesis import strategies as st

from nodus_core.catalogue import default_catalogue
from nodus_core.suppliers_file import DriverName
from nodus_ledger.jobs.capacity import (
    RESERVES_AFTER_MS,
    Head,
    Layout,
    Room,
    Share,
    Turn,
    kept_for,
    next_turn,
    pools_with_room,
    reservations,
)

ENTRIES = {
    "lab": supplier("lab", {"a10g": 1}, {"a10g": 8}),
    "rack": supplier("rack", {"a10g": 1}, {"a10g": 4}),
    "cluster": supplier("cluster", {"a10g": 1}),
}
LAB = Room({"lab": 8}, {"lab": 8})
MINUTE = 60_000


def head(seq: int, customer: str = "a", gpus: int = 1, *pools: str, **more: object) -> Head:
    return replace(Head(seq, customer, gpus, pools or ("lab",)), **more)  # type: ignore[arg-type]


def turn(
    *heads: Head, room: Room = LAB, held: dict[str, int] | None = None, turns: dict[str, int] | None = None
) -> Turn:
    """Say whose turn it is, of those who want something real."""
    return next_turn(heads, room, real(held or {}), real(turns or {}))


def real(numbers: dict[str, int]) -> dict[Share, int]:
    return {Share(customer, is_simulated=False): number for customer, number in numbers.items()}


def test_whoever_holds_the_fewest_gpus_comes_first() -> None:
    """However long the other's jobs have waited."""
    assert turn(head(1, "a"), head(2, "b"), held={"a": 2, "b": 1}).head == head(2, "b")


def test_of_those_who_hold_as_many_the_one_who_was_placed_longest_ago_comes_first() -> None:
    """And one who never was before everybody."""
    assert turn(head(1, "a"), head(2, "b"), turns={"a": 7, "b": 3}).head == head(2, "b")
    assert turn(head(1, "a"), head(2, "b"), turns={"a": 7}).head == head(2, "b")


def test_what_is_simulated_counts_for_what_is_simulated_alone() -> None:
    """Neither the GPUs that a customer holds there, nor its last turn, puts it behind others who want real ones."""
    room = Room({"lab": 8, "mock": 8}, {"lab": 8, "mock": 8})
    mine, theirs = Share("a", is_simulated=True), Share("b", is_simulated=False)

    def simulated(seq: int, customer: str) -> Head:
        return head(seq, customer, 1, "mock", is_simulated=True)

    for alike in ({mine: 8, theirs: 1}, {mine: 8}, {}):
        assert next_turn([head(1, "a"), head(2, "b")], room, alike, {mine: 7, theirs: 3}).head == head(1, "a")
    assert next_turn([simulated(1, "a"), simulated(2, "b")], room, {mine: 8, theirs: 9}, {}).head == simulated(2, "b")
    assert next_turn([simulated(1, "a"), simulated(2, "b")], room, {}, {mine: 7}).head == simulated(2, "b")


def test_of_a_customer_the_oldest_job_that_fits_is_taken() -> None:
    """Of two customers who are alike in all else, it is that of the older job."""
    room = Room({"lab": 4}, {"lab": 8})

    assert turn(head(3, "b"), head(2, "a"), head(1, "a", 8), room=room) == Turn(head(2, "a"), (head(1, "a", 8),))


def test_nobody_is_placed_where_nothing_fits() -> None:
    """Neither with too few GPUs, nor in a pool where the job cannot go."""
    room = Room({"lab": 1, "rack": 8}, {"lab": 8, "rack": 8})

    assert turn(head(1, "a", 2), room=room) == Turn(None)
    assert turn(head(1, "a", 2, "rack"), room=room).head == head(1, "a", 2, "rack")


def test_where_nobody_counts_there_is_always_room() -> None:
    """An engine with a queue of its own takes any number."""
    assert turn(head(1, "a", 2, is_unlimited=True), room=Room({}, {})).head is not None


def test_a_pool_without_a_place_for_a_job_takes_none() -> None:
    """Whatever GPUs are free."""
    assert turn(head(1), room=Room({"lab": 8}, {"lab": 8}, {"lab": 0})) == Turn(None)
    assert turn(head(1), room=Room({"lab": 8}, {"lab": 8}, {"lab": 1})).head == head(1)


def test_gpus_are_kept_for_a_job_that_was_passed_over_for_five_minutes() -> None:
    """Not before, and for the one that has been so the longest where several want them."""
    since = 1000
    early, late = head(5, "a", 8, passed_over_at=since), head(1, "b", 8, passed_over_at=since + 1)

    assert reservations([early, late], LAB, since + RESERVES_AFTER_MS - 1) == {}
    assert reservations([late, early], LAB, since + RESERVES_AFTER_MS + 1) == {5: "lab"}
    assert reservations([head(1, "b", 8)], LAB, 10**9) == {}
    assert reservations([head(1, "b", 9, passed_over_at=0)], LAB, 10**9) == {}


def test_what_is_kept_for_a_job_is_nobody_elses() -> None:
    """It is placed as soon as there is enough; what is beyond that stays for everybody."""
    large = head(1, "a", 6, passed_over_at=0, reserves="lab")

    assert turn(large, head(2, "b"), room=Room({"lab": 5}, {"lab": 8}), held={"a": 3}) == Turn(None)
    assert turn(large, head(2, "b"), room=Room({"lab": 7}, {"lab": 8}), held={"a": 3}).head == large
    assert pools_with_room(head(2, "b"), kept_for([large]), Room({"lab": 7}, {"lab": 8})) == {"lab"}


def test_a_job_that_can_no_longer_go_there_has_nothing_kept() -> None:
    """Its supplier is out: another has the GPUs kept, and it has others."""
    moved = head(1, "a", 4, "rack", passed_over_at=0, reserves="lab")
    room = Room({"lab": 0, "rack": 0}, {"lab": 8, "rack": 8})

    assert reservations([moved, head(2, "b", 2, passed_over_at=1)], room, RESERVES_AFTER_MS * 2) == {
        1: "rack",
        2: "lab",
    }


def test_a_layout_follows_the_catalogue() -> None:
    """A supplier that says nothing is not counted; one machine has the same for all suppliers.

    Where a supplier takes one customer, jobs wait for their turn too: it decides whose the supplier is.
    """
    plain = default_catalogue()
    machine = layout_of_one_machine(plain, gpus=2, at_once=3)

    assert Layout.of(plain) == Layout()
    assert not Layout.of(plain).takes_turns("a10g")
    assert machine.takes_turns("a10g")
    assert len({*machine.slots()}) == 2 * 5 + 3
    assert Layout.of(plain, one_customer=["aws"]).takes_turns("a10g")


def test_a_layout_knows_what_is_simulated() -> None:
    """Only what is counted is a pool."""
    simulated = {name: replace(entry, driver=DriverName.SIMULATED) for name, entry in ENTRIES.items()}
    mixed = catalogue_of(ENTRIES["lab"], simulated["rack"], simulated["cluster"])

    assert Layout.of(mixed).simulated == {"rack"}
    assert Layout.of(catalogue_of(*ENTRIES.values())).simulated == frozenset()


@dataclass
class Engine:
    """A model of all that decides: one GPU model, a few pools, jobs that run for a while, minute by minute."""

    total: dict[str, int]
    now: int = 0
    waiting: list[Head] = field(default_factory=list)
    running: list[tuple[int, str, Head]] = field(default_factory=list)
    turns: dict[Share, int] = field(default_factory=dict)
    placed_at: dict[int, int] = field(default_factory=dict)

    def held(self) -> dict[Share, int]:
        found: dict[Share, int] = {}
        for _, _, job in self.running:
            found[job.share] = found.get(job.share, 0) + job.gpus
        return found

    def room(self) -> Room:
        used = {pool: sum(job.gpus for _, where, job in self.running if where == pool) for pool in self.total}
        return Room({pool: self.total[pool] - used[pool] for pool in self.total}, self.total)

    def heads(self) -> list[Head]:
        queues: dict[tuple[str, int, tuple[str, ...]], Head] = {}
        for job in sorted(self.waiting, key=lambda job: job.seq):
            queues.setdefault((job.customer, job.gpus, job.pools), job)
        return list(queues.values())

    def change(self, seq: int, **changes: object) -> None:
        self.waiting = [
            replace(job, **changes) if job.seq == seq else job  # type: ignore[arg-type]
            for job in self.waiting
        ]

    def minute(self, lengths: dict[int, int]) -> None:
        self.now += MINUTE
        self.running = [each for each in self.running if each[0] > self.now]
        while True:
            for seq, pool in reservations(self.heads(), self.room(), self.now).items():
                self.change(seq, reserves=pool)
            heads, room = self.heads(), self.room()
            chosen = next_turn(heads, room, self.held(), self.turns)
            job = chosen.head
            if job is None:
                return
            pool = next(pool for pool in job.pools if pool in pools_with_room(job, kept_for(heads), room))
            for other in chosen.skipped:
                if pool in other.pools and other.passed_over_at is None:
                    self.change(other.seq, passed_over_at=self.now)
            self.waiting = [other for other in self.waiting if other.seq != job.seq]
            self.running.append((self.now + lengths[job.seq] * MINUTE, pool, job))
            self.turns[job.share] = max(self.turns.values(), default=0) + 1
            self.placed_at[job.seq] = self.now
            assert min(self.room().free.values()) >= 0


arrivals = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from("abc"),
        st.integers(1, 8),
        st.sampled_from([("lab",), ("rack",), ("lab", "rack")]),
        st.integers(1, 20),
    ),
    max_size=40,
)


def play(wanted: list[tuple[int, str, int, tuple[str, ...], int]], minutes: int) -> Engine:
    """Let jobs come one after the other, and go on for a while; those that no pool can hold are not taken in."""
    engine = Engine({"lab": 8, "rack": 4})
    lengths: dict[int, int] = {}
    numbers = count(1)
    for pause, customer, gpus, pools, length in wanted:
        for _ in range(pause):
            engine.minute(lengths)
        fitting = tuple(pool for pool in pools if engine.total[pool] >= gpus)
        if fitting:
            seq = next(numbers)
            lengths[seq] = length
            engine.waiting.append(Head(seq, customer, gpus, fitting))
    for _ in range(minutes):
        engine.minute(lengths)
    return engine


@given(arrivals)
def test_everybody_is_placed_in_the_end_and_nothing_is_given_twice(
    wanted: list[tuple[int, str, int, tuple[str, ...], int]],
) -> None:
    """Forty jobs of twenty minutes at most, one after the other if need be; the same ones always in the same order."""
    engine = play(wanted, 40 * 25)

    assert engine.waiting == []
    assert engine.placed_at == play(wanted, 40 * 25).placed_at


@given(st.integers(2, 8), st.integers(1, 3), st.lists(st.integers(2, 9), min_size=8, max_size=20))
def test_a_large_job_does_not_starve_behind_small_ones_that_never_end(
    gpus: int, customers: int, minutes: list[int]
) -> None:
    """With more small ones than there is room for, all the time: it waits five minutes, and for those that run then."""
    engine = Engine({"lab": 8})
    numbers = count(1)
    lengths = {0: 1, **{seq: minutes[seq % len(minutes)] for seq in range(1, 1000)}}

    def pass_a_minute() -> None:
        while len(engine.waiting) < 12:
            seq = next(numbers)
            engine.waiting.append(Head(seq, f"small {seq % customers}", 1, ("lab",)))
        engine.minute(lengths)

    pass_a_minute()
    engine.waiting.append(Head(0, "large", gpus, ("lab",)))
    # What it is passed over by first may come only when the first of those that run are over.
    for _ in range(RESERVES_AFTER_MS // MINUTE + 2 * max(minutes) + 1):
        pass_a_minute()

    assert 0 in engine.placed_at


@pytest.mark.parametrize("backlog", [10, 1000])
def test_a_long_queue_of_one_customer_costs_another_one_freed_gpu(backlog: int) -> None:
    """Their first job is the next that is placed."""
    engine = Engine({"lab": 8})
    lengths = {seq: seq % 7 + 1 for seq in range(backlog + 1)}
    engine.waiting = [Head(seq, "many", 1, ("lab",)) for seq in range(backlog)]
    engine.minute(lengths)
    engine.waiting.append(Head(backlog, "one", 1, ("lab",)))
    before = len(engine.placed_at)
    while backlog not in engine.placed_at:
        engine.minute(lengths)

    assert sorted(engine.placed_at, key=lambda seq: (engine.placed_at[seq], seq != backlog))[before] == backlog
