"""Times: as text, RFC 3339 in UTC to the millisecond; and two clocks read at one moment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1)

_ONE_MOMENT_SECONDS = 0.1
_MORE_READINGS = 4


def timestamp(milliseconds: int) -> str:
    """Give Unix milliseconds as RFC 3339 in UTC.

    >>> timestamp(1_767_225_600_007)
    '2026-01-01T00:00:00.007Z'
    """
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
