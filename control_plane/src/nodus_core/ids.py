"""Time-ordered ids: UUIDv7 (RFC 9562, section 5.7), from a time and a random source that are passed in."""

from __future__ import annotations

import uuid
from collections.abc import Callable

RandomBits = Callable[[int], int]
"""Gives a non-negative integer of at most so many random bits: `random.Random.getrandbits`, `secrets.randbits`."""

_TAIL_DIGITS = 15


def uuid7(milliseconds: int, random_bits: RandomBits) -> uuid.UUID:
    """Make a UUIDv7 of Unix time in milliseconds and 74 random bits.

    Raises:
        ValueError: the time does not fit into 48 bits.
    """
    if not 0 <= milliseconds < 1 << 48:
        raise ValueError("`milliseconds` must fit into 48 bits")
    value = milliseconds << 80 | 0x7 << 76 | random_bits(12) << 64 | 0b10 << 62 | random_bits(62)
    return uuid.UUID(int=value)


def random_part(identifier: str) -> str:
    """Return the digits of a UUIDv7 that do not depend on its time.

    What happens to a simulated job is derived from these, so that the same seed and submissions give the same
    transcript whenever they are made.
    """
    return identifier[-_TAIL_DIGITS:]
