"""Reading what operators type: amounts, fractions, names. What is wrong is a usage error."""

from __future__ import annotations

import argparse
import re
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation

from nodus_core.meter_rules import is_stripe_customer
from nodus_core.money import MICROS_PER_USD
from nodus_core.rate_limits import OwnLimit, parse_rate_limit

NO_CAP = "none"
_LARGEST_USD = Decimal(10) ** 12


def cap(text: str) -> int:
    """Read an amount in USD as micro-USD."""
    try:
        amount = Decimal(text.strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and 0 <= amount < _LARGEST_USD):
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount in USD of 0 or more, such as 2500")
    micros: Decimal = amount * MICROS_PER_USD
    if micros != micros.to_integral_value():
        raise argparse.ArgumentTypeError(f"{text!r} has more than six decimals")
    return int(micros)


def cap_or_none(text: str) -> int | None:
    """Read an amount in USD as micro-USD, or `none`."""
    return None if text.strip().lower() == NO_CAP else cap(text)


def fraction(text: str) -> float:
    """Read a fraction of a cap: above 0, at most 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.000_001 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a fraction above 0 and up to 1, such as 0.8")
    return value


def rate_limit(text: str) -> OwnLimit:
    """Read a key's own rate limit."""
    try:
        return OwnLimit(parse_rate_limit(text))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


def moment(text: str) -> int:
    """Read a date (its first moment, UTC) or a time (RFC 3339) as Unix milliseconds."""
    try:
        value = datetime.fromisoformat(re.sub(r"[zZ]\Z", "+00:00", text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a date or time, such as 2027-01-01 or 2027-01-01T12:00:00Z"
        ) from None
    if value.tzinfo is None:
        value = value.replace(tzinfo=timezone.utc)
    return round(value.timestamp() * 1000)


def name(text: str) -> str:
    """Read a name that is printed and written to the ledger."""
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError("it must not be empty, nor hold control characters")
    return text


def customer(text: str) -> str:
    """Read the name of a customer: those that begin with `_` are the control plane's own."""
    if text.startswith("_"):
        raise argparse.ArgumentTypeError("names that begin with _ are the control plane's own: choose another")
    return name(text)


def label(text: str) -> str:
    """Read a name that may be left empty."""
    return name(text) if text else text


def stripe_customer(text: str) -> str:
    """Read the id of a customer in Stripe."""
    if not is_stripe_customer(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the id of a Stripe customer, such as cus_NffrFeUfNV2Hib")
    return text
