"""Times as text: RFC 3339 in UTC, to the millisecond."""

from __future__ import annotations

from datetime import datetime, timezone


def timestamp(milliseconds: int) -> str:
    """Give Unix milliseconds as RFC 3339 in UTC.

    >>> timestamp(1_767_225_600_007)
    '2026-01-01T00:00:00.007Z'
    """
    whole = datetime.fromtimestamp(milliseconds // 1000, timezone.utc)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"
