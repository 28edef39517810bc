"""Times as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_core.times import milliseconds, timestamp


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
