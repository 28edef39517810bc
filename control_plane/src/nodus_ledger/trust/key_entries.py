"""What the Trust Ledger records about a key and its budget: never the key, its hash or its secret. In micro-USD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from nodus_core.rate_limits import RateLimit, rate_limit_text
from nodus_core.times import timestamp

from ..database.schema import api_keys
from ..errors import BudgetFigures
from .log import Entry, append_all

MINTED = "key.minted"
REPLACED = "key.replaced"
REVOKED = "key.revoked"
ROTATED = "key.rotated"
CAP_SET = "key.cap_set"
THRESHOLD_REACHED = "budget.threshold_reached"
EXCEEDED = "budget.exceeded"

_SETTINGS = (
    "label",
    "is_test",
    "signing_required",
    "monthly_cap",
    "threshold_millionths",
    "rate_per_second",
    "rate_burst",
    "expires_at",
)


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """Whose key it is: what every row about a key names."""

    key_id: str
    customer_id: str
    principal_kind: str


def minted(owner: KeyOwner, at: int, settings: Mapping[str, Any], *, is_new: bool = True) -> Entry:
    """Record a new key, or that another took its place under the same id; `settings` are columns of `api_keys`."""
    payload: dict[str, object] = {
        "label": settings["label"],
        "is_test": bool(settings["is_test"]),
        "signing_required": bool(settings["signing_required"]),
        "monthly_cap_micros": settings["monthly_cap"],
    }
    if settings["threshold_millionths"] is not None:
        payload["threshold"] = f"{settings['threshold_millionths'] / 1_000_000:g}"
    if settings["rate_per_second"] is not None:
        own = RateLimit(settings["rate_per_second"], settings["rate_burst"]) if settings["rate_per_second"] else None
        payload["rate_limit"] = rate_limit_text(own)
    if settings["expires_at"] is not None:
        payload["expires_at"] = timestamp(settings["expires_at"])
    return _about(owner, MINTED if is_new else REPLACED, at, payload)


def revoked(owner: KeyOwner, at: int) -> Entry:
    """Record that a key has ended."""
    return _about(owner, REVOKED, at, {})


def rotated(owner: KeyOwner, at: int) -> Entry:
    """Record that a key has a new signing secret."""
    return _about(owner, ROTATED, at, {})


def cap_set(owner: KeyOwner, at: int, cap: int | None, previous: int | None) -> Entry:
    """Record a new monthly cap; None for no cap."""
    return _about(owner, CAP_SET, at, {"monthly_cap_micros": cap, "previous_monthly_cap_micros": previous})


def threshold_reached(owner: KeyOwner, at: int, figures: BudgetFigures, fraction: str) -> Entry:
    """Record that a key's month crossed a fraction of its cap: `"0.8"`, as text, because it is not a whole number."""
    return _about(owner, THRESHOLD_REACHED, at, {**_month(figures), "fraction": fraction})


def exceeded(owner: KeyOwner, at: int, figures: BudgetFigures, estimated: int) -> Entry:
    """Record that the cap stopped a submission, for which `estimated` at least would have had to be reserved."""
    return _about(owner, EXCEEDED, at, {**_month(figures), "estimated_micros": estimated})


def record_all_again(connection: Connection) -> None:
    """Begin empty logs with the keys that there are, as if each were minted as it is now."""
    rows = connection.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)).mappings().all()
    entries = []
    for row in rows:
        owner = KeyOwner(row["id"], row["customer_id"], row["principal_kind"])
        settings = {name: row[name] for name in _SETTINGS}
        entries.append(minted(owner, row["created_at"], settings))
        if row["revoked_at"] is not None:
            entries.append(revoked(owner, row["revoked_at"]))
    append_all(connection, entries)


def _month(figures: BudgetFigures) -> dict[str, Any]:
    return {
        "monthly_cap_micros": figures.cap,
        "realised_micros": figures.realised,
        "in_flight_micros": figures.in_flight,
    }


def _about(owner: KeyOwner, kind: str, at: int, payload: Mapping[str, object]) -> Entry:
    return Entry(owner.customer_id, kind, at, payload, key_id=owner.key_id, principal_kind=owner.principal_kind)
