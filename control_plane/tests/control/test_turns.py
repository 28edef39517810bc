"""Whose turn it is: nobody holds more than half, and nobody is passed over."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from nodus_control.concurrency.turns import Turns


def test_a_lane_never_holds_more_than_half() -> None:
    """Even if nobody else is there: who comes then finds the other half."""
    turns: Turns[str] = Turns(8)

    assert [turns.take("a") for _ in range(6)] == [True] * 4 + [False] * 2
    assert [turns.take("b") for _ in range(4)] == [True] * 4


def test_those_who_wait_are_served_in_rotation() -> None:
    """A flow that queued many calls first does not go first with all of them."""
    turns: Turns[str] = Turns(4, 4)
    assert all(turns.take("a") for _ in range(4))
    for number in range(3):
        turns.wait("a", f"a{number}")
    turns.wait("b", "b0")
    turns.wait("b", "b1")

    assert [turns.release("a") for _ in range(4)] == ["a0", "b0", "a1", "b1"]


def test_who_gives_up_is_not_served() -> None:
    """A waiter that gives up is passed over, unless its turn has come already."""
    turns: Turns[str] = Turns(2)
    assert turns.take("a")
    turns.wait("a", "first")
    turns.wait("a", "second")

    assert turns.give_up("a", "first")
    assert turns.release("a") == "second"
    assert not turns.give_up("a", "second")


@given(st.integers(0, 2**32), st.integers(1, 9))
def test_no_place_is_lost_or_given_twice(seed: int, places: int) -> None:
    """Whatever the order; and no place is free while somebody waits who may have it."""
    chance = random.Random(seed)
    turns: Turns[int] = Turns(places)
    most = max(1, places // 2)
    holders: list[str] = []
    waiting: list[tuple[str, int]] = []
    for number in range(200):
        flow = chance.choice("abc")
        action = chance.random()
        if action < 0.5:
            if turns.take(flow):
                holders.append(flow)
            else:
                turns.wait(flow, number)
                waiting.append((flow, number))
        elif action < 0.9 and holders:
            served = turns.release(holders.pop(chance.randrange(len(holders))))
            if served is not None:
                (whose,) = [each for each in waiting if each[1] == served]
                waiting.remove(whose)
                holders.append(whose[0])
        elif waiting:
            whose = waiting.pop(chance.randrange(len(waiting)))
            assert turns.give_up(*whose)

        assert turns.taken == len(holders) <= places
        assert turns.waiting == len(waiting)
        assert all(holders.count(each) == turns.held(each) <= most for each in "abc")
        if len(holders) < places:
            assert all(holders.count(each) == most for each, _ in waiting)
