"""The budget of the agent's key: its cap, which the user of a playground may change, and the jobs that wait for it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from nodus_core.money import MICROS_PER_USD, micros_from_usd, usd
from nodus_ledger.keys import waiting_jobs
from nodus_ledger.keys.keys import PrincipalKind, UnknownKey

from ..control_plane import ControlPlane
from ..errors import ApiError
from .endpoints import Control
from .seeded import AGENT_CAP_USD, AGENT_ID

_FIELD = "monthly_spend_cap_usd"
_MOST_USD = 10**9


def waiting_view(control_plane: ControlPlane) -> list[dict[str, Any]]:
    """Return which jobs of the agent wait for budget, the oldest first, and what they need, in words."""
    waiting = waiting_jobs.of_key(control_plane.database, AGENT_ID)
    return [{"job_id": job_id, "detail": detail} for job_id, detail in waiting]


def headroom(control_plane: ControlPlane) -> int | None:
    """Return what the agent's key has left of this month, in micro-USD; None for no cap."""
    return control_plane.keys.budget(AGENT_ID, control_plane.clock.now()).headroom


def set_cap(control: Control) -> dict[str, Any]:
    """Give the agent's key another monthly cap, and wake what waits for it."""
    if control.caller is not None and control.caller.principal_kind == PrincipalKind.AGENT.value:
        raise ApiError(403, "forbidden_principal", "An agent may not change its own cap: use the person's key.")
    cap = _read(control.body().get(_FIELD, ""))
    try:
        control.control_plane.keys.set_cap(AGENT_ID, cap, control.control_plane.clock.now())
    except UnknownKey:
        raise ApiError(404, "key_not_found", "The agent's key is revoked, so it has no cap.") from None
    control.control_plane.wake()
    return {_FIELD: None if cap is None else usd(cap)}


def restore_cap(control_plane: ControlPlane) -> None:
    """Give the agent's key, unless it is revoked, the cap that it has at the beginning."""
    try:
        control_plane.keys.set_cap(AGENT_ID, micros_from_usd(AGENT_CAP_USD), control_plane.clock.now())
    except UnknownKey:
        return


def _read(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _MOST_USD:
        micros = Decimal(repr(value)) * MICROS_PER_USD
        if micros == micros.to_integral_value():
            return int(micros)
    raise ApiError(
        422,
        "invalid_request",
        f"`{_FIELD}` must be a number from 0 to {_MOST_USD:,} with at most six decimals, or null for no cap.",
    )
