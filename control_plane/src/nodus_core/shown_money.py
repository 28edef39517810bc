"""Amounts of money as people read them: exactly, with two decimals, and more only where there are any."""

from __future__ import annotations

from .money import MICROS_PER_USD

_LEAST_DECIMALS = 2


def dollars(micros: int) -> str:
    """Write micro-USD as US dollars.

    >>> dollars(1_234_500_000), dollars(-123)
    ('$1,234.50', '-$0.000123')
    """
    whole, fraction = divmod(abs(micros), MICROS_PER_USD)
    return f"{'-' if micros < 0 else ''}${whole:,}.{f'{fraction:06}'.rstrip('0').ljust(_LEAST_DECIMALS, '0')}"
