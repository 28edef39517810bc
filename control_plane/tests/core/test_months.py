"""Months, as queries name them."""

from __future__ import annotations

import pytest

from nodus_core.months import month_at, parse_month
from nodus_core.times import timestamp


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("1970-01", "1970-01-01", "1970-02-01"),
        ("2026-12", "2026-12-01", "2027-01-01"),
        ("2028-02", "2028-02-01", "2028-03-01"),
        ("9998-12", "9998-12-01", "9999-01-01"),
    ],
)
def test_a_month_goes_from_its_first_moment_to_that_of_the_next(text: str, start: str, end: str) -> None:
    """In UTC."""
    month = parse_month(text)

    assert month.name == text
    assert (timestamp(month.start), timestamp(month.end)) == (f"{start}T00:00:00.000Z", f"{end}T00:00:00.000Z")


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-00", "2026-13", "2026-1", "1969-12", "9999-01", "2026-10-01", "2026-10\n", "٢٠٢٦-10"]
)
def test_what_is_no_month_is_refused(text: str) -> None:
    """Neither guessed nor cut off."""
    with pytest.raises(ValueError, match="such as 2026-10"):
        parse_month(text)


@pytest.mark.parametrize("text", ["1970-01", "2026-12", "2028-02"])
def test_a_time_is_in_the_month_that_it_lies_in(text: str) -> None:
    """To the last millisecond."""
    month = parse_month(text)

    assert month_at(month.start) == month_at(month.end - 1) == month
    assert month_at(month.end) != month
