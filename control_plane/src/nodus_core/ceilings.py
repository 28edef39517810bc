"""What a placement can cost at most, and how long it may run for that: pure arithmetic, in integer micro-USD."""

from __future__ import annotations

from .money import MILLISECONDS_PER_HOUR, cost_micros

_SECONDS_PER_HOUR = 3600
_MINUTE_MS = 60_000


def reservation_micros(
    micros_per_gpu_hour: int, gpu_count: int, max_runtime_seconds: int, max_cost_micros: int | None = None
) -> int:
    """Return what is set aside for a placement: what it can cost at most, rounded up, or its ceiling where less.

    >>> reservation_micros(3_990_000, 1, 61)
    67609
    >>> reservation_micros(3_990_000, 1, 61, max_cost_micros=67_600)
    67600
    """
    whole = -(-micros_per_gpu_hour * gpu_count * max_runtime_seconds // _SECONDS_PER_HOUR)
    return whole if max_cost_micros is None else min(whole, max_cost_micros)


def limit_ms(
    micros_per_gpu_hour: int, gpu_count: int, max_runtime_seconds: int, max_cost_micros: int | None = None
) -> int:
    """Return how long a placement may run, in milliseconds.

    That is `max_runtime_seconds`, or where it is less the longest time whose cost, rounded as costs are, is not above
    the ceiling. Without `max_cost_micros` the reservation is the ceiling, which no time within the limit can pass.

    >>> limit_ms(3_600_000, 1, 3600, max_cost_micros=1_000_000)
    1000000
    """
    longest = max_runtime_seconds * 1000
    per_hour = micros_per_gpu_hour * gpu_count
    if max_cost_micros is None or per_hour == 0:
        return longest
    # Rounded half up, a cost is at most C where 2 × rate × time < (2 × C + 1) × hour.
    return min(longest, ((2 * max_cost_micros + 1) * MILLISECONDS_PER_HOUR - 1) // (2 * per_hour))


def first_minute_micros(micros_per_gpu_hour: int, gpu_count: int) -> int:
    """Return what the first minute costs: an offer where that is above a job's ceiling is not taken."""
    return cost_micros(micros_per_gpu_hour, gpu_count, _MINUTE_MS)
