"""What the Trust Ledger records about metering: whatever keeps what is billed from being what was spent. Micro-USD."""

from __future__ import annotations

from nodus_core import meter_rules
from nodus_core.times import timestamp

from .log import OPERATOR, Entry

REJECTED = "meter.rejected"
TOO_OLD = "meter.too_old"
UNKNOWN = "meter.unknown"
BEGUN = "meter.begun"
STRIPE_CUSTOMER_SET = "customer.stripe_customer_set"

KIND_OF = {meter_rules.REJECTED: REJECTED, meter_rules.TOO_OLD: TOO_OLD, meter_rules.UNKNOWN: UNKNOWN}
"""The kind of the row for each outcome that is none of `delivered`, `skipped` and `nothing`."""


def not_billed(
    customer_id: str,
    state: str,
    at: int,
    *,
    identifier: str,
    amount: int,
    minute: int,
    stripe_customer: str | None,
    reason: str,
    is_simulated: bool,
    key_id: str | None,
    principal_kind: str | None,
) -> Entry:
    """Record what has become of an event that is not billed, or of which nobody can say; it is never sent again."""
    payload = {
        "simulated": is_simulated,
        "identifier": identifier,
        "amount_micros": amount,
        "minute": timestamp(minute * 1000),
        "stripe_customer": stripe_customer,
        "reason": reason,
    }
    return Entry(customer_id, KIND_OF[state], at, payload, identifier.removeprefix("job_"), key_id, principal_kind)


def gap(
    customer_id: str, at: int, *, amount: int, minute: int, stripe_customer: str, reason: str, is_simulated: bool
) -> Entry:
    """Record an amount of a minute that a meter lacks, of which nobody can say which events it is of."""
    payload = {
        "simulated": is_simulated,
        "identifier": None,
        "amount_micros": amount,
        "minute": timestamp(minute * 1000),
        "stripe_customer": stripe_customer,
        "reason": reason,
    }
    return Entry(customer_id, UNKNOWN, at, payload)


def begun(at: int, since: int | None, events: int, amount: int) -> Entry:
    """Record that metering began, and what it leaves out; `since` is None where it leaves out nothing."""
    payload = {
        "since": None if since is None else timestamp(since),
        "skipped_events": events,
        "skipped_micros": amount,
    }
    return Entry(OPERATOR, BEGUN, at, payload)


def stripe_customer_set(customer_id: str, at: int, stripe_customer: str, previous: str | None) -> Entry:
    """Record who a customer is in Stripe."""
    payload = {"customer_id": customer_id, "stripe_customer": stripe_customer, "previous": previous}
    return Entry(OPERATOR, STRIPE_CUSTOMER_SET, at, payload)
