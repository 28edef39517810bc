"""Times as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_core.times import at_one_moment, milliseconds, read_time, timestamp


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


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01", 0),
        ("2026-11-01", 1_793_491_200_000),
        ("2026-11-01T00:00:00Z", 1_793_491_200_000),
        ("2026-11-01t00:00:00z", 1_793_491_200_000),
        ("2026-11-01 00:00:00Z", 1_793_491_200_000),
        ("2026-11-01T02:00:00+02:00", 1_793_491_200_000),
        ("2026-10-31T18:30:00-05:30", 1_793_491_200_000),
        ("2026-11-01T00:00:00.5Z", 1_793_491_200_500),
        ("2026-11-01T00:00:00.001000Z", 1_793_491_200_001),
        ("2026-11-01T00:00:00.000001Z", 1_793_491_200_001),
        ("2026-10-31T23:59:59.999999999Z", 1_793_491_200_000),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_a_time_of_others_is_read(text: str, at: int) -> None:
    """RFC 3339, or a date; what lies between two milliseconds is before the same milliseconds as the later one."""
    assert read_time(text) == at


@given(st.integers(0, 253_402_300_799_999))
def test_a_time_of_ours_is_read_as_it_was(at: int) -> None:
    """To the millisecond."""
    assert read_time(timestamp(at)) == at


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11",
        "2026-13-01",
        "2026-11-31",
        "0000-01-01",
        "2026-11-01T00:00:00",
        "2026-11-01T00:00Z",
        "2026-11-01T24:00:00Z",
        "2026-11-01T00:00:61Z",
        "2026-11-01T00:00:00 02:00",
        "2026-11-01T00:00:00+02:60",
        "2026-11-01T00:00:00.Z",
        "2026-11-01\n",
        "\u0662026-11-01",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """Without an offset nobody knows when it is."""
    with pytest.raises(ValueError, match=r"not a time of RFC 3339|no such day"):
        read_time(text)
