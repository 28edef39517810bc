"""Turns an error into the lines that its user reads: what happened, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping

from .._errors import (
    APIConnectionError,
    AuthenticationError,
    BudgetExceededError,
    NodusError,
    NotFoundError,
    RateLimitError,
    SignatureError,
    SupplierUnavailableError,
)
from .output import Output, printable

# Replaces messages of the library that speak of Python.
_MESSAGES = {
    "missing_api_key": "No API key. Set the environment variable NODUS_API_KEY: export NODUS_API_KEY=nk_live_...",
}

_SIGNATURE_HINTS = {
    "signature_invalid": "Sign with the secret that belongs to this key: set NODUS_SIGNING_SECRET.",
    "signature_stale": "Correct this machine's clock; `nodus doctor` shows how far off it is.",
    "signing_secret_unavailable": "The server no longer has the key's signing secret: rotate the key.",
}


def show_error(output: Output, error: NodusError, advice: list[str]) -> None:
    """Write an error to stderr.

    Args:
        output: where to.
        error: what happened.
        advice: lines on how to go on with what was under way.
    """
    text = _MESSAGES.get(error.code) or str(error)
    output.note(output.paint_note("Error:", "red") + " " + printable(text))
    found = hint(error)
    if found:
        output.note(printable(found))
    for line in advice:
        output.note(line)


def hint(error: NodusError) -> str:
    """Return one sentence on what to do about an error, or an empty string if its message says it all."""
    if isinstance(error, BudgetExceededError):
        return _budget_hint(error.payload)
    if isinstance(error, SignatureError):
        return _SIGNATURE_HINTS.get(error.code, "")
    if isinstance(error, NotFoundError) and error.code not in ("job_not_found", "http_error"):
        return ""
    if error.status_code == 403:
        return "The key is known, but may not do this: set NODUS_API_KEY to one that may."
    if error.retry_after is not None:
        return f"Try again in {error.retry_after:g} s, as the server asks."
    for kind, text in _HINTS.items():
        if isinstance(error, kind):
            return text
    return ""


_HINTS: dict[type[NodusError], str] = {
    AuthenticationError: "Check NODUS_API_KEY; `nodus doctor` tests it.",
    NotFoundError: "`nodus list` shows your jobs.",
    RateLimitError: "Wait a moment and try again.",
    SupplierUnavailableError: "Try again later, ask for another --gpu, or leave out --require-tier.",
    APIConnectionError: "Check the network and NODUS_BASE_URL; `nodus doctor` tests both.",
}


def _budget_hint(payload: object) -> str:
    figures = payload if isinstance(payload, Mapping) else {}
    cap, spent = figures.get("monthly_spend_cap_usd"), figures.get("month_to_date_usd")
    if not isinstance(cap, (int, float)) or not isinstance(spent, (int, float)):
        return "Ask for fewer GPUs or a shorter --max-runtime-seconds, or have the key's cap raised."
    quoted = figures.get("estimated_cost_usd")
    asked = f"; this job might cost ${quoted:,.2f}" if isinstance(quoted, (int, float)) else ""
    return (
        f"${max(cap - spent, 0):,.2f} of the monthly ${cap:,.2f} is left{asked}. Ask for fewer GPUs or a shorter "
        f"--max-runtime-seconds, or have the cap raised."
    )
