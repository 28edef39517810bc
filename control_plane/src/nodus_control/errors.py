"""Errors as callers see them: a status, a stable code and a message, which never repeats what they sent."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from starlette.responses import Response

from nodus_core.json_numbers import plain_numbers
from nodus_core.largest_fitting import LargestFitting
from nodus_core.money import usd
from nodus_core.shown_money import dollars
from nodus_core.spec import InvalidSpec
from nodus_core.times import timestamp
from nodus_core.usage import MAX_GROUPS
from nodus_ledger import errors as ledger

_DATABASE_RETRY_SECONDS = 2


class ApiError(Exception):
    """An error response. `extra` is added to the envelope's three fields; it is sent `hold_seconds` later."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        hold_seconds: float = 0.0,
    ) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})
        self.hold_seconds = hold_seconds

    def response(self, request_id: str) -> Response:
        """Return the answer in the error envelope."""
        content = {"error": self.code, "message": self.message, "request_id": request_id, **self.extra}
        text = plain_numbers(json.dumps(content))
        return Response(text, status_code=self.status, headers=self.headers, media_type="application/json")

    def as_item(self) -> dict[str, Any]:
        """Return what stands for it in an answer that has several: the status, and `retry_after` for that header."""
        wait = self.headers.get("Retry-After")
        more = {} if wait is None else {"retry_after": int(wait)}
        return {"status": self.status, "error": self.code, "message": self.message, **more, **self.extra}


def translate(refusal: ledger.Refused | InvalidSpec) -> ApiError:
    """Return the response to a refusal by the domain or the ledger."""
    if isinstance(refusal, InvalidSpec):
        return ApiError(422, "invalid_spec", refusal.message, extra={"field": refusal.field} if refusal.field else None)
    if isinstance(refusal, ledger.BudgetExceeded):
        return _budget_exceeded(refusal)
    if isinstance(refusal, ledger.MaxCostTooLow):
        return _max_cost_too_low(refusal)
    if isinstance(refusal, ledger.CannotRun):
        return ApiError(422, "cannot_run", refusal.message)
    if isinstance(refusal, ledger.DatabaseUnavailable):
        return _database_unavailable(nothing_was_done=refusal.nothing_was_done)
    if isinstance(refusal, ledger.NoSuchOffer):
        return _no_such_offer(refusal)
    status, code, message = _ANSWERS[type(refusal)]
    return ApiError(status, code, message)


_ANSWERS: Mapping[type[ledger.Refused], tuple[int, str, str]] = {
    ledger.IdempotencyKeyReused: (
        422,
        "idempotency_key_reused",
        "This idempotency key came with another spec before: use a new key for a new job.",
    ),
    ledger.SimulationsOnly: (
        422,
        "no_such_offer",
        "Suppliers are simulated here and run nothing, so they take test keys only, and this is a live key: submit "
        "with an `nk_test_…` key, which `mint --test` makes.",
    ),
    ledger.NothingSimulated: (
        422,
        "no_such_offer",
        "Suppliers really run jobs here, so they take live keys only, and this is a test key: submit with an "
        "`nk_live_…` key.",
    ),
    ledger.NoSupplier: (
        503,
        "no_supplier",
        "Every supplier that offers this is out right now: try again later, or allow more tiers.",
    ),
    ledger.UnknownJob: (404, "job_not_found", "There is no such job."),
    ledger.ForbiddenPrincipal: (
        403,
        "forbidden_principal",
        "An agent's key may do this only to jobs that it submitted itself, and a test key only to simulated jobs.",
    ),
    ledger.TooManyGroups: (
        400,
        "too_many_groups",
        f"That is more than {MAX_GROUPS:,} groups: ask for a shorter span, or group by less.",
    ),
    ledger.UnusableCursor: (
        400,
        "invalid_cursor",
        "`cursor` must be a `next_cursor` of an earlier page of the same listing, with the same filters.",
    ),
}


def _database_unavailable(*, nothing_was_done: bool) -> ApiError:
    outcome = (
        "nothing was done; try again."
        if nothing_was_done
        else "whether this was done is not known; try again with the same idempotency key."
    )
    return ApiError(
        503,
        "database_unavailable",
        f"The control plane cannot use its database right now: {outcome}",
        headers={"Retry-After": str(_DATABASE_RETRY_SECONDS)},
    )


def invalid_idempotency_key() -> ApiError:
    """Return the refusal of an idempotency key that none can be."""
    return ApiError(400, "invalid_idempotency_key", "An idempotency key is 1 to 128 printable ASCII characters.")


def fitting_view(fitting: LargestFitting) -> dict[str, Any]:
    """Return what would fit a budget, as callers see it."""
    return asdict(fitting)


def _budget_exceeded(refusal: ledger.BudgetExceeded) -> ApiError:
    estimated, figures = refusal.estimated, refusal.figures
    return ApiError(
        402,
        "budget_exceeded",
        f"This job could cost up to {dollars(estimated)}; "
        f"{dollars(figures.headroom or 0)} of the key's monthly cap are left.",
        extra={
            "estimated_cost_usd": usd(estimated),
            "month_to_date_usd": usd(figures.month_to_date),
            "monthly_spend_cap_usd": usd(figures.cap or 0),
            "realised_usd": usd(figures.realised),
            "in_flight_usd": usd(figures.in_flight),
            "resets_at": timestamp(figures.resets_at),
            "largest_fitting": fitting_view(refusal.largest_fitting),
        },
    )


def _max_cost_too_low(refusal: ledger.MaxCostTooLow) -> ApiError:
    minute = refusal.cheapest_minute
    return ApiError(
        422,
        "max_cost_too_low",
        f"The first minute alone costs {dollars(minute)} where it is cheapest, which is above `max_cost_usd`: "
        "raise that, or ask for fewer GPUs, or for another model.",
        extra={"cheapest_minute_usd": usd(minute), "largest_fitting": fitting_view(refusal.largest_fitting)},
    )


def _no_such_offer(refusal: ledger.NoSuchOffer) -> ApiError:
    if refusal.is_too_many:
        message = "No supplier has so many of this GPU under these tiers: change `gpu_count` or `require_tiers`."
    elif refusal.gpu in refusal.gpus:
        message = "No supplier offers this GPU under these tiers: change `gpu` or `require_tiers`."
    else:
        near = difflib.get_close_matches(refusal.gpu, refusal.gpus, n=1, cutoff=0)
        nearest = f"; the nearest is {near[0]!r}" if near else ""
        message = f"No supplier offers this GPU: `gpu` must be one of {', '.join(refusal.gpus)}{nearest}."
    return ApiError(422, "no_such_offer", message, extra={"gpus": list(refusal.gpus)})
