"""When a key's monthly spend reaches a fraction of its cap: reported once per key, month and fraction."""

from __future__ import annotations

from fractions import Fraction

from sqlalchemy import Connection, insert, select

from nodus_core.months import month_at

from ..database.webhook_schema import thresholds
from ..errors import BudgetFigures

DEFAULT_FRACTION = 0.8

_MILLION = 1_000_000


def is_reached(figures: BudgetFigures, fraction: float) -> bool:
    """Say whether a month's spend has reached this fraction of the cap."""
    if figures.cap is None:
        return False
    return figures.month_to_date >= Fraction(millionths(fraction), _MILLION) * figures.cap


def newly_reached(connection: Connection, key_id: str, figures: BudgetFigures, fraction: float, now: int) -> bool:
    """Say whether a key's month has reached the fraction and this was not reported yet; record that it is.

    The caller holds the lock of the key's row.
    """
    if not is_reached(figures, fraction):
        return False
    told = {"key_id": key_id, "month": month_at(now).name, "fraction_millionths": millionths(fraction)}
    if connection.execute(select(thresholds.c.reached_at).filter_by(**told)).first() is not None:
        return False
    connection.execute(insert(thresholds).values(reached_at=now, **told))
    return True


def millionths(fraction: float) -> int:
    """Return a fraction as it is stored."""
    return round(fraction * _MILLION)
