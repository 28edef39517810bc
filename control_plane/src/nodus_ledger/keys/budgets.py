"""What a key has spent and reserved. Everything here runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection, and_, bindparam, insert, select, update

from nodus_core.months import month_at

from ..database.prepared import Parameters, Prepared
from ..database.schema import api_keys, monthly_spend, reservations
from ..errors import BudgetExceeded, BudgetFigures

# Of a key there is one row, and of a month; but whoever does not say that the last will do reads their former versions
# too (see `reservations`).
_OF_KEY = reservations.c.key_id == bindparam("key")
_LAST_CHANGE = select(reservations.c.changes).where(_OF_KEY).order_by(reservations.c.changes.desc()).limit(1)
_KEY_ROW = (
    select(api_keys.c.monthly_cap, reservations.c.in_flight)
    .join_from(api_keys, reservations, reservations.c.key_id == api_keys.c.id)
    .where(api_keys.c.id == bindparam("key"))
    .order_by(reservations.c.changes.desc())
    .limit(1)
)
_KEY = Prepared(_KEY_ROW)
_LOCKED_KEY = Prepared(_KEY_ROW.with_for_update())
_LOCKED_IN_FLIGHT = Prepared(_LAST_CHANGE.with_for_update())
_OF_MONTH = and_(monthly_spend.c.key_id == bindparam("key"), monthly_spend.c.month == bindparam("of_month"))
_LAST_OF_MONTH = select(monthly_spend.c.changes).where(_OF_MONTH).order_by(monthly_spend.c.changes.desc()).limit(1)
_REALISED = Prepared(
    select(monthly_spend.c.realised).where(_OF_MONTH).order_by(monthly_spend.c.changes.desc()).limit(1)
)
_CHANGE = (
    update(reservations)
    .where(_OF_KEY, reservations.c.changes == _LAST_CHANGE.correlate(None).scalar_subquery())
    .values(changes=reservations.c.changes + 1, in_flight=reservations.c.in_flight + bindparam("amount"))
)
_CHANGE_IN_FLIGHT = Prepared(_CHANGE)
_RESERVE_UNCAPPED = Prepared(
    _CHANGE.where(
        select(api_keys.c.id).where(api_keys.c.id == bindparam("key"), api_keys.c.monthly_cap.is_(None)).exists()
    )
)
_ADD_REALISED = (
    update(monthly_spend)
    .where(_OF_MONTH, monthly_spend.c.changes == _LAST_OF_MONTH.correlate(None).scalar_subquery())
    .values(changes=monthly_spend.c.changes + 1, realised=monthly_spend.c.realised + bindparam("amount"))
)


def figures(connection: Connection, key_id: str, now: int, *, lock: bool = False) -> BudgetFigures:
    """Read a key's month; with `lock`, nobody else changes it before the transaction ends."""
    row = (_LOCKED_KEY if lock else _KEY).first(connection, {"key": key_id})
    assert row is not None  # keys are kept for ever
    cap, in_flight = row
    month = month_at(now)
    spent = _REALISED.first(connection, {"key": key_id, "of_month": month.name})
    return BudgetFigures(cap, 0 if spent is None else spent[0], in_flight, month.end)


def reserve(
    connection: Connection, key_id: str, amount: int, now: int, locked: BudgetFigures | None
) -> BudgetFigures | None:
    """Set an amount aside for a job, for as long as it is in flight; return the month of a capped key after it.

    `locked` is the key's month, if that has been read and locked; None for a key that had no cap when it was read. It
    may have got one since, and others may be changing what it has in flight.

    Raises:
        BudgetExceeded: the key is capped, and this would pass its cap.
    """
    if locked is None and _RESERVE_UNCAPPED.change(connection, {"key": key_id, "amount": amount}) == 1:
        return None
    present = locked or figures(connection, key_id, now, lock=True)
    if present.headroom is not None and amount > present.headroom:
        raise BudgetExceeded(amount, present)
    _change_in_flight(connection, key_id, amount)
    return replace(present, in_flight=present.in_flight + amount)


def change(connection: Connection, key_id: str, amount: int) -> None:
    """Change what a key has in flight by an amount; whoever raises it has read and locked the key's month."""
    _change_in_flight(connection, key_id, amount)


def settle(connection: Connection, released: Mapping[str, int], realised: Mapping[tuple[str, str], int]) -> None:
    """Turn reservations into spend: `released` by key id, `realised` by key id and month."""
    for key_id, amount in sorted(released.items()):
        _change_in_flight(connection, key_id, -amount)
    # Nobody else is here: each of these keys is among those above.
    for (key_id, month), amount in sorted(realised.items()):
        present = connection.execute(_ADD_REALISED, {"key": key_id, "of_month": month, "amount": amount})
        if present.rowcount == 0:
            connection.execute(insert(monthly_spend).values(key_id=key_id, month=month, changes=0, realised=amount))


def _change_in_flight(connection: Connection, key_id: str, amount: int) -> None:
    change: Parameters = {"key": key_id, "amount": amount}
    if _CHANGE_IN_FLIGHT.change(connection, change) == 0:
        # Another changed it after this statement had begun, and has committed by now. The statement has locked the new
        # version all the same, so the key's own row must not be waited for: whoever has that may be waiting here.
        _LOCKED_IN_FLIGHT.first(connection, {"key": key_id})
        if _CHANGE_IN_FLIGHT.change(connection, change) == 0:
            raise RuntimeError(f"what the key {key_id} has in flight cannot be changed: it has no row")
