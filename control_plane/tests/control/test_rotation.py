"""What waits is taken one of each flow at a time, so that nobody waits behind all of another's."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from nodus_control.concurrency.rotation import Rotation


def filled(*items: str) -> Rotation[str]:
    """A rotation of items; the flow of each is its first letter."""
    rotation: Rotation[str] = Rotation()
    for item in items:
        rotation.add(item[0], item)
    return rotation


def test_flows_take_turns() -> None:
    """However many of one flow came first."""
    rotation = filled("a0", "a1", "a2", "a3", "b0", "b1")

    assert rotation.take(3) == ["a0", "b0", "a1"]
    assert rotation.take(3) == ["b1", "a2", "a3"]
    assert not rotation


def test_who_comes_late_is_in_the_next_batch() -> None:
    """Behind one item of each flow that was there."""
    rotation = filled("a0", "a1", "a2", "a3")
    assert rotation.take(2) == ["a0", "a1"]

    rotation.add("b", "b0")

    assert rotation.take(2) == ["a2", "b0"]


def test_a_flow_alone_gets_all_there_is() -> None:
    """There is nobody to leave a part for."""
    assert filled("a0", "a1", "a2").take(16) == ["a0", "a1", "a2"]


def test_what_was_removed_is_not_taken() -> None:
    """And what was taken cannot be removed."""
    rotation = filled("a0", "a1", "b0")

    assert rotation.remove("a", "a0")
    assert rotation.take(1) == ["a1"]
    assert not rotation.remove("a", "a1")
    assert rotation.remove_if(lambda item: item == "b0") == ["b0"]
    assert not rotation


@given(st.integers(0, 2**32), st.integers(1, 9))
def test_nothing_is_lost_and_no_flow_is_passed_over(seed: int, most: int) -> None:
    """Whatever the order: items of one flow keep theirs, and between two of one flow comes one of each that waited."""
    chance = random.Random(seed)
    rotation: Rotation[tuple[str, int]] = Rotation()
    waiting: list[tuple[str, int]] = []
    for number in range(100):
        flow = chance.choice("abc")
        action = chance.random()
        if action < 0.6:
            rotation.add(flow, (flow, number))
            waiting.append((flow, number))
        elif action < 0.9:
            flows = {each for each, _ in waiting}
            taken = rotation.take(most)
            assert len(taken) == min(most, len(waiting))
            assert {each for each, _ in taken[: len(flows)]} == flows or len(taken) < len(flows)
            for each in "abc":
                of_flow = [item for item in waiting if item[0] == each]
                mine = [item for item in taken if item[0] == each]
                assert mine == of_flow[: len(mine)]
            waiting = [item for item in waiting if item not in taken]
        elif waiting:
            gone = waiting.pop(chance.randrange(len(waiting)))
            assert rotation.remove(gone[0], gone)

        assert len(rotation) == len(waiting)
        assert sorted(rotation) == sorted(waiting)
