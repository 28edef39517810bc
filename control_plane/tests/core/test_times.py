"""Times as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_core.times import at_one_moment, milliseconds, timestamp


@given(st.integers(0, 253_402_300_799_999))
def test_what_was_written_is_read_again(at: int) -> None:
    """To the millisecond, until the year 9999."""
    assert milliseconds(timestamp(at)) == at


@given(st.integers(0, 253_402_300_799_999), st.integers(0, 253_402_300_799_999))
def test_times_sort_as_text(one: int, other: int) -> None:
    """What compares rows of the ledger need not read them."""
    assert (one < other) == (timestamp(one) < timestamp(other))


@pytest.mark.parametrize("text", ["", "2026-11-30", "2026-11-30T01:02:03Z", "2026-13-01T00:00:00.000Z", "now"])
def test_what_is_of_another_form_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match=r"does not match|unconverted"):
        milliseconds(text)


@pytest.mark.parametrize(
    ("held_up", "read_at"), [([0.0], 0.0), ([0.05], 0.05), ([600.0, 2.0, 0.0], 602.0), ([1.0, 1.0, 1.0, 1.0, 1.0], 5.0)]
)
def test_two_clocks_are_read_at_one_moment(held_up: list[float], read_at: float) -> None:
    """Where the process was held up in between they are read again, though not for ever."""
    passed = 0.0

    def wall() -> float:
        nonlocal passed
        at = passed
        passed += held_up.pop(0)
        return 1_790_000_000 + at

    real, monotonic = at_one_moment(wall, lambda: passed)

    assert monotonic == read_at
    assert held_up == []
    assert real - 1_790_000_000 >= monotonic - 1.0
