"""What is on record of meter events that were sent: the final word on each, and what a meter should say of a minute."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection, and_, bindparam, or_, select, update

from nodus_core import meter_rules

from ..database.trust_schema import meter_events, meter_gaps
from ..trust.log import append_all
from ..trust.meter_entries import not_billed

_events = meter_events.c
_OPEN = (
    select(meter_events)
    .where(
        _events.identifier.in_(bindparam("identifiers", expanding=True)),
        _events.state.in_((meter_rules.PENDING, meter_rules.DELIVERED)),
    )
    .order_by(_events.identifier)
    .with_for_update()
)
_EVENT = update(meter_events).where(_events.identifier == bindparam("of_identifier"))
_OF_MINUTE = (
    select(
        _events.identifier,
        _events.customer_id,
        _events.value,
        _events.state,
        _events.first_sent_at,
        _events.last_sent_at,
        _events.exported_at,
    )
    .where(
        _events.stripe_customer == bindparam("stripe_customer"),
        _events.meter_name == bindparam("meter_name"),
        _events.livemode == bindparam("livemode"),
        _events.timestamp >= bindparam("begins"),
        _events.timestamp < bindparam("ends"),
        _events.state.in_((meter_rules.PENDING, meter_rules.DELIVERED)),
    )
    .order_by(_events.identifier)
    .with_for_update()
)
_GAP = select(meter_gaps.c.amount).where(
    meter_gaps.c.stripe_customer == bindparam("stripe_customer"),
    meter_gaps.c.meter_name == bindparam("meter_name"),
    meter_gaps.c.livemode == bindparam("livemode"),
    meter_gaps.c.minute == bindparam("begins"),
)


class Sent(Protocol):
    """What says which meter an event is counted by, and when."""

    @property
    def stripe_customer(self) -> str: ...

    @property
    def meter_name(self) -> str: ...

    @property
    def livemode(self) -> bool: ...

    @property
    def timestamp(self) -> int: ...


@dataclass(frozen=True, slots=True)
class MinuteFacts:
    """What is on record of a minute.

    Attributes:
        counted: what its meter should say of it, in micro-USD, apart from what is in doubt.
        doubtful: the events in doubt, with their amounts.
        delivered: those that the meter has, with their amounts and whose they are.
        last_change: when something of it last changed that the meter may not have added up yet.
    """

    counted: int
    doubtful: Sequence[tuple[str, int]]
    delivered: Sequence[tuple[str, int, str]]
    last_change: int

    def is_moving(self, now: int) -> bool:
        """Say whether it is too early for its summary to count."""
        return now < self.last_change


@dataclass(frozen=True, slots=True, order=True)
class Minute:
    """A minute of a customer's meter; `begins` is its first second, Unix."""

    stripe_customer: str
    meter_name: str
    livemode: bool
    begins: int

    @classmethod
    def of(cls, sent: Sent) -> Minute:
        """Return the minute in which an event is counted."""
        return cls(sent.stripe_customer, sent.meter_name, sent.livemode, meter_rules.minute_of(sent.timestamp))

    def facts(self, connection: Connection) -> MinuteFacts:
        """Read what is on record, and lock its events."""
        where = {
            "stripe_customer": self.stripe_customer,
            "meter_name": self.meter_name,
            "livemode": self.livemode,
            "begins": self.begins,
        }
        rows = connection.execute(_OF_MINUTE, {**where, "ends": self.begins + meter_rules.MINUTE}).all()
        delivered = [row for row in rows if row.state == meter_rules.DELIVERED]
        doubtful = [row for row in rows if row.state == meter_rules.PENDING and row.first_sent_at is not None]
        gap = connection.execute(_GAP, where).scalar() or 0
        # An error report about what was accepted may still be on its way when that is added up.
        changes = [row.exported_at + 2 * meter_rules.SETTLE_MS for row in delivered]
        changes += [(row.last_sent_at or 0) + meter_rules.SETTLE_MS for row in doubtful]
        return MinuteFacts(
            sum(row.value for row in delivered) - gap,
            [(row.identifier, row.value) for row in doubtful],
            [(row.identifier, row.value, row.customer_id) for row in delivered],
            max(changes, default=0),
        )


def finish(connection: Connection, identifiers: Sequence[str], state: str, now: int, reason: str) -> int:
    """Write that events are not billed, or that nobody can say, in their customers' ledgers too; return how many.

    Those of which something else is the final word already stay as they are. What is written is never sent again.
    """
    if not identifiers:
        return 0
    rows = connection.execute(_OPEN, {"identifiers": list(identifiers)}).mappings().all()
    if not rows:
        return 0
    connection.execute(_EVENT.values(state=state), [{"of_identifier": row["identifier"]} for row in rows])
    entries = []
    for row in rows:
        about = json.loads(row["payload"])
        entries.append(
            not_billed(
                row["customer_id"],
                state,
                now,
                identifier=row["identifier"],
                amount=row["value"],
                minute=meter_rules.minute_of(row["timestamp"]),
                stripe_customer=row["stripe_customer"],
                reason=reason,
                is_simulated=not row["livemode"],
                key_id=about.get("key_id"),
                principal_kind=about.get("principal_kind"),
            )
        )
    append_all(connection, entries)
    return len(rows)


def minutes_reached(connection: Connection, *, livemode: bool, begins: int, ends: int) -> Iterator[Minute]:
    """Yield the minutes of the events that may have reached Stripe from one time to another, in Unix milliseconds.

    One may have been there long before an answer said so: for as long as it was sent again.
    """
    known = and_(
        _events.state == meter_rules.DELIVERED,
        _events.exported_at >= begins,
        _events.exported_at <= ends + meter_rules.RESEND_MS,
    )
    query = select(_events.stripe_customer, _events.meter_name, _events.timestamp).where(
        _events.livemode == livemode,
        _events.stripe_customer.is_not(None),
        _events.first_sent_at <= ends,
        or_(known, _events.state == meter_rules.PENDING),
    )
    found = {
        Minute(row.stripe_customer, row.meter_name, livemode, meter_rules.minute_of(row.timestamp))
        for row in connection.execute(query)
    }
    yield from sorted(found)
