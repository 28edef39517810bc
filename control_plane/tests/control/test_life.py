"""Silence is counted from sign to sign, and begins with the first look."""

from __future__ import annotations

import pytest

from nodus_control.suppliers.life import LOST_SECONDS, SignsOfLife


def test_silence_counts_from_the_last_new_sign() -> None:
    """The same one again is none, and nor is a file that is just being written."""
    life = SignsOfLife()
    life.hear("100", 10.0)
    life.hear("110", 20.0)
    for now in (30.0, 40.0):
        life.hear("110", now)
        life.hear("", now)

    assert life.silent_seconds("110", 45.0) == 25.0


def test_silence_begins_with_the_first_look() -> None:
    """Of an attempt whose script another process heard last, however long ago."""
    life = SignsOfLife()

    assert life.silent_seconds("", 1000.0) == 0.0
    assert life.silent_seconds("", 1020.0) == 20.0
    assert life.silent_seconds("", 1040.0) == 40.0


@pytest.mark.parametrize("looks_first", [True, False])
def test_time_in_which_nobody_looked_is_little_silence(looks_first: bool) -> None:
    """Whoever looks stood still, before a look or in the middle of one, and what it looks at perhaps too."""
    life = SignsOfLife()
    life.hear("100", 10.0)
    if looks_first:
        life.hear("100", 500.0)
    at_first = life.silent_seconds("100", 500.0)
    life.hear("100", 510.0)
    later = life.silent_seconds("100", 515.0)
    life.hear("516", 517.0)

    assert at_first == LOST_SECONDS / 4
    assert later == at_first + 15.0
    assert life.silent_seconds("516", 518.0) == 1.0


def test_silence_is_as_long_as_it_was_looked_for() -> None:
    """However the looks are spaced, as long as they are not too far apart."""
    life = SignsOfLife(longest_gap_seconds=2.0)
    life.hear("100", 10.0)
    for now in (11.0, 13.0, 13.5, 13.5, 100.0, 101.0):
        life.hear("100", now)

    assert life.silent_seconds("100", 101.0) == 6.5
