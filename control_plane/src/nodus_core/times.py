"""Times: as text, RFC 3339 in UTC to the millisecond; and two clocks read at one moment."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1)

# RFC 3339, section 5.6.
_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d)))?",
    re.ASCII,
)
_NANOSECONDS = 9
_NANOSECONDS_OF_A_MILLISECOND = 1_000_000

_ONE_MOMENT_SECONDS = 0.1
_MORE_READINGS = 4


def timestamp(milliseconds: int) -> str:
    """Give Unix milliseconds as RFC 3339 in UTC.

    >>> timestamp(1_767_225_600_007)
    '2026-01-01T00:00:00.007Z'
    """
    return _timestamp(milliseconds)


# What is written down at one moment has the same time in several places.
@lru_cache(maxsize=256)
def _timestamp(milliseconds: int) -> str:
    # `strftime` would ask the system for its time zone, which costs as much as all of this again.
    return (_EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds") + "Z"


def milliseconds(text: str) -> int:
    """Read what `timestamp` wrote: Unix milliseconds.

    >>> milliseconds("2026-01-01T00:00:00.007Z")
    1767225600007

    Raises:
        ValueError: it is not of that form.
    """
    whole = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    return int(whole.replace(microsecond=0).timestamp()) * 1000 + whole.microsecond // 1000


def read_time(text: str) -> int:
    """Read a time as others write it: RFC 3339, or a date alone, which is its beginning in UTC. Unix milliseconds.

    What lies between two milliseconds becomes the later one, so that a time is before the same milliseconds as before.

    >>> read_time("2026-01-01T01:00:00.0001+01:00")
    1767225600001
    >>> read_time("2026-01-01")
    1767225600000

    Raises:
        ValueError: it is neither.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("not a time of RFC 3339, nor a date")
    date, time, fraction, sign, hours, minutes = found.groups()
    try:
        whole = datetime.strptime(f"{date} {time or '00:00:00'}", "%Y-%m-%d %H:%M:%S")
    except ValueError:
        raise ValueError("there is no such day, or no such time of day") from None
    seconds = (whole - _EPOCH) // timedelta(seconds=1)
    if sign:
        ahead = int(hours) * 3600 + int(minutes) * 60
        seconds -= -ahead if sign == "-" else ahead
    nanoseconds = int((fraction or "").ljust(_NANOSECONDS, "0"))
    return seconds * 1000 - (-nanoseconds // _NANOSECONDS_OF_A_MILLISECOND)


def at_one_moment(real_time: Callable[[], float], monotonic: Callable[[], float]) -> tuple[float, float]:
    """Read two clocks at one moment, in seconds: again, where the process was held up in between."""
    before = monotonic()
    real, after = real_time(), monotonic()
    for _ in range(_MORE_READINGS):
        if after - before < _ONE_MOMENT_SECONDS:
            break
        before = after
        real, after = real_time(), monotonic()
    return real, after
