"""Whether a webhook is from Stripe: its signature, over the bytes as they came (https://docs.stripe.com/webhooks)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

TOLERANCE_SECONDS = 300
_SCHEME = "v1"


def is_signed(body: bytes, header: str | None, secrets: Sequence[str], now: float) -> bool:
    """Say whether `Stripe-Signature` is that of a body under one of some secrets, made within 300 s of now.

    Args:
        body: as it came.
        header: the value of `Stripe-Signature`; None if there is none.
        secrets: of the endpoint, `whsec_…`: while one is being replaced, there are two.
        now: Unix seconds.
    """
    moment, given = _read(header or "")
    if moment is None or abs(now - int(moment)) > TOLERANCE_SECONDS:
        return False
    signed = moment.encode() + b"." + body
    expected = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return any(hmac.compare_digest(ours.encode(), theirs.encode()) for ours in expected for theirs in given)


def _read(header: str) -> tuple[str | None, list[str]]:
    """Read the time, as it is signed, and the signatures of the scheme; the time is None if it is no number."""
    moments, given = [], []
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            moments.append(value)
        elif name == _SCHEME:
            given.append(value)
    usable = len(moments) == 1 and moments[0].isascii() and moments[0].isdigit() and len(moments[0]) <= 12
    return (moments[0] if usable else None), given
