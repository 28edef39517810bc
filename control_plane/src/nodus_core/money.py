"""Money as integer micro-USD; rounding happens only where a cost is computed."""

from __future__ import annotations

MICROS_PER_USD = 1_000_000
MILLISECONDS_PER_HOUR = 3_600_000


def cost_micros(micros_per_gpu_hour: int, gpu_count: int, milliseconds: int) -> int:
    """Return the cost of `gpu_count` GPUs for `milliseconds`, in micro-USD, rounded half up.

    Raises:
        ValueError: an argument is negative.

    >>> cost_micros(3_990_000, 8, 3_600_000)
    31920000
    """
    if micros_per_gpu_hour < 0 or gpu_count < 0 or milliseconds < 0:
        raise ValueError("rate, GPU count and milliseconds must be non-negative")
    return (2 * micros_per_gpu_hour * gpu_count * milliseconds + MILLISECONDS_PER_HOUR) // (2 * MILLISECONDS_PER_HOUR)


def usd(micros: int) -> float:
    """Return micro-USD as the JSON number of the wire: the nearest double.

    `plain_numbers` writes it with at most six decimals.
    """
    return micros / MICROS_PER_USD


def micros_from_usd(amount: float) -> int:
    """Return the micro-USD nearest to an amount in USD."""
    return round(amount * MICROS_PER_USD)
