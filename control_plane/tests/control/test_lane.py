"""The calls of one engine: how many at once, what becomes of those that hang, and when nothing is asked any more."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import pytest
from patience import PATIENCE_SECONDS, eventually
from scarcity import no_thread

from nodus_control.dispatch.circuit import LONGEST_PAUSE_SECONDS, THRESHOLD
from nodus_control.dispatch.lane import THREADS, Call, CallAbandoned, Dealt, Lane
from nodus_ledger.jobs.claiming import Claim
from nodus_ledger.jobs.settlement import Step


class Engine:
    """Answers when it is let, on a clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lets_go = threading.Event()
        self.asked: list[Claim] = []
        self.answers: bool | None = True
        self.changes_something = False

    def deal(self, call: Call) -> Dealt:
        """Deal with a claim."""
        call.limit(3, changes_something=self.changes_something)
        self.asked.append(cast("Claim", call.claim or "a probe"))
        assert self.lets_go.wait(PATIENCE_SECONDS)
        return Dealt(call.claim, cast("Step", f"of {call.claim}"), self.answers)


@contextmanager
def opened(engine: Engine) -> Iterator[Lane]:
    """A lane, whose threads end with the block."""
    lane = Lane("lab", engine.deal, lambda: None, lambda: engine.now, lambda: engine.now)
    try:
        yield lane
    finally:
        engine.lets_go.set()
        lane.close(0)


def give(lane: Lane, count: int) -> list[Claim]:
    """Give it so many claims: nothing looks into them."""
    claims = [cast("Claim", f"job {number}") for number in range(count)]
    for claim in claims:
        lane.give(claim)
    return claims


def collected(lane: Lane, count: int) -> list[Dealt]:
    """Collect until there is so much."""
    found: list[Dealt] = []

    def look() -> bool:
        found.extend(lane.collect())
        return len(found) >= count

    eventually(look, lambda: str(found))
    return found


def holds(condition: Callable[[], bool]) -> bool:
    """Wait until it does."""
    eventually(condition)
    return True


def test_at_most_eight_are_asked_at_once_and_all_in_the_end() -> None:
    """What waits is held meanwhile, so that its leases are renewed."""
    engine = Engine()
    with opened(engine) as lane:
        claims = give(lane, 2 * THREADS)
        assert holds(lambda: len(engine.asked) == THREADS)
        assert sorted(map(str, lane.held)) == sorted(map(str, claims))
        assert lane.free == -THREADS
        engine.lets_go.set()
        dealt = collected(lane, len(claims))

    assert {str(each.claim): str(each.step) for each in dealt} == {str(claim): f"of {claim}" for claim in claims}
    assert (lane.is_busy, lane.free) == (False, THREADS)


def test_each_is_there_when_it_is_ready() -> None:
    """A slow one keeps nobody waiting."""
    engine = Engine()
    engine.lets_go.set()
    slow = threading.Event()

    def deal(call: Call) -> Dealt:
        if str(call.claim) == "job 0":
            assert slow.wait(PATIENCE_SECONDS)
        return engine.deal(call)

    lane = Lane("lab", deal, lambda: None, lambda: engine.now, lambda: engine.now)
    claims = give(lane, 3)
    quick = {each.claim for each in collected(lane, 2)}
    slow.set()
    last = collected(lane, 1)
    lane.close(0)

    assert quick == set(claims[1:])
    assert [each.claim for each in last] == claims[:1]


def test_a_call_is_abandoned_at_its_limit_and_what_it_says_later_is_dropped() -> None:
    """Its thread is not free until it returns; whether it may still begin something is said."""
    engine = Engine()
    engine.changes_something = True
    with opened(engine) as lane:
        (claim,) = give(lane, 1)
        assert holds(lambda: bool(engine.asked))
        engine.now = 2.9
        early = lane.collect()
        engine.now = 3.0
        late = lane.collect()
        free, held = lane.free, lane.held
        engine.lets_go.set()
        assert holds(lambda: lane.free == THREADS)

        assert early == []
        assert late == [Dealt(claim, None, answered=False, may_go_on=True, is_sent=True)]
        assert (free, held) == (THREADS - 1, [])
        assert lane.collect() == []


@pytest.mark.parametrize("asked_before", [None, False, True])
def test_what_an_abandoned_call_had_not_sent_it_never_sends(asked_before: bool | None) -> None:
    """Whatever is said of what it had sent; that an earlier request may have begun something stays true."""
    engine = Engine()
    went_on: list[bool] = []

    def deal(call: Call) -> Dealt:
        if asked_before is not None:
            call.limit(3, changes_something=asked_before)
        dealt = engine.deal(call)
        with contextlib.suppress(CallAbandoned):
            call.limit(3, changes_something=True)
            went_on.append(True)
        return dealt

    lane = Lane("lab", deal, lambda: None, lambda: engine.now, lambda: engine.now)
    (claim,) = give(lane, 1)
    assert holds(lambda: bool(engine.asked))
    engine.now = 3.0
    late = lane.collect()
    engine.lets_go.set()
    assert holds(lambda: lane.free == THREADS)
    lane.close(0)

    assert late == [Dealt(claim, None, answered=False, may_go_on=False, is_sent=bool(asked_before))]
    assert went_on == []


def test_a_request_that_did_not_leave_was_not_sent() -> None:
    """As whoever made it knows."""
    call = Call(None, lambda: 0.0)
    call.limit(3, changes_something=True)
    was_sent = call.is_sent
    call.nothing_was_sent()

    assert (was_sent, call.is_sent) == (True, False)


def test_an_engine_that_holds_every_thread_is_unreachable() -> None:
    """What comes then is given back as not asked, rather than kept for a thread that never comes."""
    engine = Engine()
    with opened(engine) as lane:
        give(lane, THREADS + 2)
        assert holds(lambda: len(engine.asked) == THREADS)
        engine.now = 3.0
        dealt = lane.collect()
        engine.now += 10 * LONGEST_PAUSE_SECONDS
        (more,) = give(lane, 1)
        again = lane.collect()

        assert lane.is_unreachable
        assert sorted(map(str, (each.answered for each in dealt))) == ["False"] * THREADS + ["None"] * 2
        assert again == [Dealt(more, None, answered=None)]
        assert len(engine.asked) == THREADS


def test_after_failures_one_probe_is_let_through() -> None:
    """Its answer closes the circuit again."""
    engine = Engine()
    engine.answers = False
    engine.lets_go.set()
    with opened(engine) as lane:
        for _ in range(THRESHOLD):
            give(lane, 1)
            collected(lane, 1)
        give(lane, 1)
        refused = lane.collect()
        was_unreachable = lane.is_unreachable
        engine.answers = True
        engine.now = LONGEST_PAUSE_SECONDS
        give(lane, 1)
        probed = collected(lane, 1)

        assert [each.answered for each in refused] == [None]
        assert was_unreachable
        assert [each.answered for each in probed] == [True]
        assert not lane.is_unreachable
        assert len(engine.asked) == THRESHOLD + 1


def test_an_engine_without_jobs_is_probed_all_the_same() -> None:
    """Once it has been left alone for long enough, and only while the circuit is open."""
    engine = Engine()
    engine.lets_go.set()
    with opened(engine) as lane:
        lane.probe()
        engine.answers = False
        for _ in range(THRESHOLD):
            give(lane, 1)
            collected(lane, 1)
        lane.probe()
        too_early = len(engine.asked)
        engine.answers = True
        engine.now = LONGEST_PAUSE_SECONDS
        lane.probe()
        probed = collected(lane, 1)

        assert too_early == THRESHOLD
        assert [str(claim) for claim in engine.asked[THRESHOLD:]] == ["a probe"]
        assert [each.claim for each in probed] == [None]
        assert not lane.is_unreachable


def test_closing_gives_back_what_has_not_begun() -> None:
    """And does not wait for what hangs longer than it was told."""
    engine = Engine()
    with opened(engine) as lane:
        claims = give(lane, THREADS + 1)
        assert holds(lambda: len(engine.asked) == THREADS)
        left = lane.close(0)

    assert left == claims[-1:]


def test_what_no_thread_comes_for_is_given_back_as_not_asked() -> None:
    """And threads are begun when they can be had again, however often they could not."""
    engine = Engine()
    engine.lets_go.set()
    with opened(engine) as lane:
        with no_thread("nodus-lab"):
            claims = give(lane, 2 * THREADS)
            refused = lane.collect()
        was_free = lane.free
        give(lane, 1)
        dealt = collected(lane, 1)

    assert refused == [Dealt(claim, None, answered=None) for claim in claims]
    assert was_free == THREADS
    assert [each.answered for each in dealt] == [True]


def test_a_few_threads_do_the_work_of_many_until_there_are_more() -> None:
    """What waits for them is not given back; it is all in other hands once there are threads."""
    engine = Engine()
    with opened(engine) as lane:
        give(lane, 1)
        assert holds(lambda: len(engine.asked) == 1)
        with no_thread("nodus-lab"):
            give(lane, 3)
            meanwhile = lane.collect(), lane.free
        assert holds(lambda: lane.collect() == [] and len(engine.asked) == 4)
        engine.lets_go.set()
        dealt = collected(lane, 4)

    assert meanwhile == ([], THREADS - 4)
    assert len(dealt) == 4
