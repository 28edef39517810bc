"""Metering into Stripe, as rules: when an event may be sent, what an answer means, what a summary says of a doubt.

Pure. Times are Unix milliseconds, timestamps of events Unix seconds, amounts micro-USD. The limits are
those of https://docs.stripe.com/api/billing/meter-event/create, each with a margin: identifiers are unique for a
rolling period of at least 24 h, timestamps at most 35 days back and 5 minutes ahead.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from itertools import combinations

RESEND_MS = 23 * 3_600_000
"""How long after it may first have arrived an event may be sent again: its repeat is recognised for 24 h."""

SETTLE_MS = 3_600_000
"""How long after the last call a meter's summary counts: events are added up some time after they are accepted."""

TOO_OLD_MS = 34 * 86_400_000
"""How old an event may be when it is sent."""

AHEAD_MS = 4 * 60_000
"""How far ahead of now an event may be when it is sent."""

LEASE_MS = 60_000
"""How long an exporter holds the events of a customer: one call at a time, each far shorter than that."""

MINUTE = 60
LONGEST_IDENTIFIER = 100
LONGEST_EVENT_NAME = 100

PENDING = "pending"
DELIVERED = "delivered"
REJECTED = "rejected"
TOO_OLD = "too_old"
UNKNOWN = "unknown"
SKIPPED = "skipped"
NOTHING = "nothing"
STATES = (PENDING, DELIVERED, REJECTED, TOO_OLD, UNKNOWN, SKIPPED, NOTHING)
"""What may have become of an event. `skipped`: it is older than metering; `nothing`: its amount is zero."""

DIFFERENCES = (REJECTED, TOO_OLD, UNKNOWN)
"""What makes what is billed less than what the ledger says: each is a row of the customer's ledger."""

_BACKOFF_MS = 1000
_LONGEST_BACKOFF_MS = 300_000
_PATIENT_MS = 3_600_000
_MOST_TRIED = 12
_CUSTOMER = re.compile(r"cus_[A-Za-z0-9_]{1,60}\Z")
_REPEATED = "already exists with identifier"
# Faults of how the account is set up, not of the event: they pass once somebody sets that right.
_SET_UP = re.compile(r"\bno such customer|\bmeter\b", re.IGNORECASE)


class Step(enum.Enum):
    """What is to be done with an event that is pending."""

    SEND = enum.auto()
    LOOK = enum.auto()
    """Read the meter's summary first: nobody knows whether it arrived, and a repeat would not be recognised."""
    WAIT = enum.auto()
    GIVE_UP = enum.auto()
    """It never arrived, and is too old to be sent."""


class Answer(enum.Enum):
    """What an answer to an event means."""

    TAKEN = enum.auto()
    """It is there, by this call or by an earlier one."""
    REFUSED = enum.auto()
    """It was not taken, and never will be."""
    BUSY = enum.auto()
    """It was not taken; later it may be."""
    SET_UP = enum.auto()
    """It was not taken, nor will any be until key, meter or customer are set right."""
    UNKNOWN = enum.auto()
    """It may have been taken."""


def is_stripe_customer(text: str) -> bool:
    """Say whether this has the form of a Stripe customer's id, `cus_…`."""
    return _CUSTOMER.match(text) is not None


def is_too_old(timestamp: int, now: int) -> bool:
    """Say whether an event may not be sent any more."""
    return now - timestamp * 1000 > TOO_OLD_MS


def next_step(timestamp: int, first_sent_at: int | None, last_sent_at: int | None, now: int) -> Step:
    """Decide what is to be done with a pending event.

    Args:
        timestamp: when it happened.
        first_sent_at: when it may first have arrived; None if it certainly never did.
        last_sent_at: when it was last sent; None if never.
        now: the time.
    """
    if first_sent_at is None:
        if is_too_old(timestamp, now):
            return Step.GIVE_UP
        return Step.WAIT if timestamp * 1000 > now + AHEAD_MS else Step.SEND
    if not is_too_old(timestamp, now) and now < first_sent_at + RESEND_MS:
        return Step.SEND
    return Step.LOOK if last_sent_at is None or now >= last_sent_at + SETTLE_MS else Step.WAIT


def next_look(timestamp: int, first_sent_at: int | None, last_sent_at: int | None, now: int) -> int:
    """Return when an event whose step is `WAIT` is to be looked at again."""
    if first_sent_at is None:
        return max(now + 1000, timestamp * 1000 - AHEAD_MS)
    return max(now + 1000, (last_sent_at or 0) + SETTLE_MS)


def read_answer(status: int | None, message: str, identifier: str) -> Answer:
    """Say what an answer means.

    Args:
        status: of HTTP; None where no answer came.
        message: of the error, if there is one.
        identifier: the event's.
    """
    if status is None:
        return Answer.UNKNOWN
    if 200 <= status < 300:
        return Answer.TAKEN
    if status == 400 and _REPEATED in message and identifier in message:
        return Answer.TAKEN
    if status in (400, 413, 422):
        return Answer.SET_UP if _SET_UP.search(message) else Answer.REFUSED
    if status == 429:
        return Answer.BUSY
    return Answer.SET_UP if status in (401, 402, 403, 404) else Answer.UNKNOWN


def state_after(answer: Answer, *, was_in_doubt: bool) -> str:
    """Return what an event is after an answer; one that may have arrived by an earlier call is not refused by this."""
    if answer is Answer.TAKEN:
        return DELIVERED
    return REJECTED if answer is Answer.REFUSED and not was_in_doubt else PENDING


def may_have_arrived(answer: Answer) -> bool:
    """Say whether a call that was answered like this may have brought its event there."""
    return answer in (Answer.TAKEN, Answer.UNKNOWN)


def backoff_ms(tries: int, chance: float) -> int:
    """Return how long a customer's events rest after so many calls in a row that took none; `chance` is from 0 to 1."""
    whole = min(_LONGEST_BACKOFF_MS, _BACKOFF_MS << min(max(tries - 1, 0), 20))
    return round(whole * (0.8 + 0.4 * chance))


def rest_ms(first_sent_at: int | None, now: int) -> int:
    """Return how long an event rests by itself, so that one in doubt for an hour does not hold up those after it."""
    return _PATIENT_MS if first_sent_at is not None and now - first_sent_at > _PATIENT_MS else 0


def minute_of(timestamp: int) -> int:
    """Return the first second of a timestamp's minute: summaries are of whole minutes."""
    return timestamp - timestamp % MINUTE


def which(total: int, amounts: Sequence[int]) -> frozenset[int] | None:
    """Say which of some amounts, all above 0, make up a total: their positions; None where that is not certain.

    >>> which(7, [3, 4, 5]), which(0, [3]), which(3, [3, 3])
    (frozenset({0, 1}), frozenset(), None)
    """
    everything = sum(amounts)
    if total == 0:
        return frozenset()
    if total == everything:
        return frozenset(range(len(amounts)))
    if not 0 < total < everything or len(amounts) > _MOST_TRIED:
        return None
    found: list[frozenset[int]] = []
    for count in range(1, len(amounts)):
        for chosen in combinations(range(len(amounts)), count):
            if sum(amounts[at] for at in chosen) == total:
                found.append(frozenset(chosen))
                if len(found) > 1:
                    return None
    return found[0] if found else None
