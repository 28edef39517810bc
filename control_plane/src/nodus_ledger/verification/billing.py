"""Adding up what is billed against the ledger: every difference is named, and every name is a row of the ledger.

Pure. What the ledger says was spent is what is delivered, what waits to be, what was left out when metering began, and
differences: events that were rejected, too old or in doubt for good, and amounts of a minute that a meter lacks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nodus_core import meter_rules
from nodus_core.times import timestamp

from ..trust import meter_entries
from .logs import Fault, Row

_STATE_OF = {kind: state for state, kind in meter_entries.KIND_OF.items()}
KINDS = frozenset(_STATE_OF)
"""The kinds of the ledger's rows that name a difference."""

GAPS = "SELECT customer_id, minute, amount FROM meter_gaps"


class GapRow(NamedTuple):
    """What a meter lacks of a customer's minute, in micro-USD."""

    customer_id: str
    minute: int
    amount: int


@dataclass(slots=True)
class Billing:
    """What is billed of a customer's live spend, and what is not, in micro-USD.

    Attributes:
        spent: what the ledger says, of jobs that have an event.
        delivered: what was accepted, and is billed.
        pending: what waits to be sent.
        skipped: what is older than metering.
        differences: each of what is not billed, or not known to be.
    """

    spent: int = 0
    delivered: int = 0
    pending: int = 0
    skipped: int = 0
    differences: list[str] = field(default_factory=list)


@dataclass
class BillingTally:
    """Takes the rows of all logs and all meter events, and holds them against each other."""

    _named: dict[str, tuple[str, object]] = field(default_factory=dict)
    _gaps: Counter[tuple[str, str]] = field(default_factory=Counter)
    _states: dict[str, str] = field(default_factory=dict)
    _of_customer: defaultdict[str, Billing] = field(default_factory=lambda: defaultdict(Billing))

    def add(self, row: Row, recorded: dict[str, Any]) -> Iterator[Fault]:
        """Take in a row that names a difference."""
        identifier, amount = recorded["identifier"], recorded["amount_micros"]
        is_live = not recorded["simulated"]
        if identifier is None:
            self._gaps[row.customer_id, recorded["minute"]] += amount
            if is_live:
                billing = self._of_customer[row.customer_id]
                billing.delivered -= amount
                billing.differences.append(f"{amount} micro-USD of the minute {recorded['minute']}: {row.kind}")
            return
        if identifier in self._named:
            yield Fault(row.customer_id, row.seq, f"the meter event {identifier} is named twice")
        self._named[identifier] = (_STATE_OF[row.kind], amount)

    def event(self, customer_id: str, identifier: str, state: str, amount: int, *, is_live: bool) -> Iterator[Fault]:
        """Take in a meter event."""
        named = self._named.pop(identifier, None)
        expected = (state, amount) if state in meter_rules.DIFFERENCES else None
        if state not in meter_rules.STATES:
            yield Fault(customer_id, None, f"the meter event {identifier} is {state!r}, which is no state")
        elif named != expected:
            what = "nothing of it" if named is None else f"{named[0]!r} of {named[1]} micro-USD"
            yield Fault(customer_id, None, f"the meter event {identifier} is {state!r}, and the ledger says {what}")
        if not is_live or type(amount) is not int:
            return
        billing = self._of_customer[customer_id]
        billing.spent += amount
        if state == meter_rules.DELIVERED:
            billing.delivered += amount
        elif state == meter_rules.PENDING:
            billing.pending += amount
        elif state == meter_rules.SKIPPED:
            billing.skipped += amount
        elif state in meter_rules.DIFFERENCES:
            billing.differences.append(f"{amount} micro-USD of the event {identifier}: {state}")

    def gap(self, row: GapRow) -> Iterator[Fault]:
        """Take in what a meter lacks of a minute; several of one customer's in Stripe may be of one minute."""
        self._gaps[row.customer_id, timestamp(row.minute * 1000)] -= row.amount
        yield from ()

    def rest(self) -> Iterator[Fault]:
        """Say what is in the ledger alone, or in the tables alone, once all was taken in."""
        for identifier in self._named:
            yield Fault("", None, f"the meter event {identifier} is in the ledger alone")
        for (customer_id, minute), amount in self._gaps.items():
            if amount:
                what = f"what its meter lacks of the minute {minute} differs from the ledger by {amount} micro-USD"
                yield Fault(customer_id, None, what)

    def billings(self) -> dict[str, Billing]:
        """Return what is billed of each customer that has live events."""
        return dict(sorted(self._of_customer.items()))
