"""Which connections are kept: those that wait for nothing give way."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from nodus_control.serving.connections import Connections


def test_what_does_not_come_in_time_is_overdue() -> None:
    """A whole request is not; and what is kept alive has no deadline."""
    connections: Connections[str] = Connections(10)
    for name in ("slow", "answered", "idle"):
        assert list(connections.opened(name, "a", deadline=10)) == []
    connections.busy("answered")
    connections.busy("idle")
    connections.idle("idle")
    assert list(connections.expects("answered", 30)) == []

    assert connections.overdue(9) == []
    assert connections.overdue(10) == ["slow"]
    assert connections.overdue(30) == ["slow", "answered"]


def test_the_address_with_the_most_gives_way() -> None:
    """Its oldest connection is closed, unless it is being answered."""
    connections: Connections[str] = Connections(6)
    for name in ("busy0", "busy1"):
        list(connections.opened(name, "attacker", 10))
        connections.busy(name)
    for name in ("bad0", "bad1", "bad2"):
        list(connections.opened(name, "attacker", 10))
    closed = list(connections.opened("good", "other", 10))
    closed += list(connections.opened("bad3", "attacker", 10))

    assert closed == ["bad0", "bad1"]


def test_where_all_are_busy_the_new_one_is_refused() -> None:
    """It would have to wait for ever."""
    connections: Connections[int] = Connections(2)
    for number in range(2):
        list(connections.opened(number, "a", 10))
        connections.busy(number)

    assert list(connections.opened(2, "b", 10)) == [2]
    assert len(connections) == 2


def test_who_takes_no_more_closes_what_comes() -> None:
    """What there is stays as it is."""
    connections: Connections[str] = Connections(4)
    list(connections.opened("before", "a", 10))
    connections.take_no_more()

    assert list(connections.opened("after", "a", 10)) == ["after"]
    assert connections.overdue(10) == ["before"]
    assert len(connections) == 1


def test_the_idle_go_before_the_unfinished() -> None:
    """Their clients have what they asked for."""
    connections: Connections[str] = Connections(4)
    for name in ("unfinished", "busy0", "busy1", "idle"):
        list(connections.opened(name, "a", 10))
        if name != "unfinished":
            connections.busy(name)
    connections.idle("idle")

    assert list(connections.opened("new", "b", 10)) == ["idle"]


@given(st.integers(0, 2**32), st.integers(2, 12))
def test_there_are_never_too_many(seed: int, most: int) -> None:
    """Of all, and of the unfinished; what is closed is forgotten."""
    chance = random.Random(seed)
    connections: Connections[int] = Connections(most)
    open_ones: set[int] = set()
    for number in range(200):
        action = chance.random()
        closed: list[int] = []
        if action < 0.4 or not open_ones:
            open_ones.add(number)
            closed = list(connections.opened(number, chance.choice("abc"), number))
        else:
            which = chance.choice(sorted(open_ones))
            if action < 0.6:
                connections.busy(which)
            elif action < 0.75:
                connections.idle(which)
            elif action < 0.9:
                closed = list(connections.expects(which, number))
            else:
                connections.closed(which)
                open_ones.discard(which)
        open_ones -= set(closed)

        assert len(connections) == len(open_ones) <= most
        assert connections.unfinished <= max(1, most // 2)
        assert set(connections.overdue(1000)) <= open_ones
