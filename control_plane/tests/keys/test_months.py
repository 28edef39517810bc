"""The months of budgets: UTC calendar months."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from nodus_core.times import timestamp
from nodus_ledger.keys.budgets import month_end, month_of


def at(text: str) -> int:
    """Read a time in UTC as Unix milliseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp() * 1000)


@pytest.mark.parametrize(
    ("now", "month", "end"),
    [
        ("2026-11-01T00:00:00", "2026-11", "2026-12-01T00:00:00.000Z"),
        ("2026-11-30T23:59:59.999", "2026-11", "2026-12-01T00:00:00.000Z"),
        ("2026-12-01T00:00:00", "2026-12", "2027-01-01T00:00:00.000Z"),
        ("2026-12-31T23:59:59.999", "2026-12", "2027-01-01T00:00:00.000Z"),
        ("2028-02-29T12:00:00", "2028-02", "2028-03-01T00:00:00.000Z"),
    ],
)
def test_a_month_ends_where_the_next_begins(now: str, month: str, end: str) -> None:
    """December ends in January of the next year."""
    assert month_of(at(now)) == month
    assert timestamp(month_end(at(now))) == end
