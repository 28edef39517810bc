"""Calendar months in UTC, as they are written in queries and statements: `2026-10`."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import NamedTuple

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])\Z")
_LAST_YEAR = 9998  # the month after December of the next could not be written


class Month(NamedTuple):
    """A month: its name, and Unix milliseconds from its first moment to the first of the next."""

    name: str
    start: int
    end: int


def parse_month(text: str) -> Month:
    """Read a month.

    >>> parse_month("1970-01")
    Month(name='1970-01', start=0, end=2678400000)

    Raises:
        ValueError: it is none, or not of the years 1970 to 9998.
    """
    found = _MONTH.match(text)
    if found is None or not 1970 <= int(found[1]) <= _LAST_YEAR:
        raise ValueError("a month is written as a year from 1970 on and a month, such as 2026-10")
    return _month(int(found[1]), int(found[2]))


def month_at(milliseconds: int) -> Month:
    """Return the month of a time in Unix milliseconds.

    >>> month_at(2_678_400_000).name
    '1970-02'
    """
    at = datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    return _month(at.year, at.month)


def _month(year: int, month: int) -> Month:
    following = (year + 1, 1) if month == 12 else (year, month + 1)
    return Month(f"{year:04}-{month:02}", _first_moment(year, month), _first_moment(*following))


def _first_moment(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=timezone.utc).timestamp()) * 1000
