"""Times as text: RFC 3339 in UTC, to the millisecond."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

_ONE_MOMENT_SECONDS = 0.1
_READINGS = 5


def timestamp(milliseconds: int) -> str:
    """Give Unix milliseconds as RFC 3339 in UTC.

    >>> timestamp(1_767_225_600_007)
    '2026-01-01T00:00:00.007Z'
    """
    whole = datetime.fromtimestamp(milliseconds // 1000, timezone.utc)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


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
    for _ in range(_READINGS):
        real, after = real_time(), monotonic()
        if after - before < _ONE_MOMENT_SECONDS:
            break
        before = after
    return real, after
