"""What Stripe says afterwards: events that were accepted, and are not billed after all.

The inbox holds ids of error reports; the report itself is fetched with our own key. Its samples name events, which are
booked one by one. Where it counts more errors than it names, the meter's summaries say what is missing, minute by
minute: what is missing is never sent again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select, text, update

from nodus_core import meter_rules

from ..database.database import Database
from ..database.trust_schema import stripe_events
from ..trust.log import append_all
from ..trust.meter_entries import gap
from .meter_outcomes import Minute, finish, minutes_reached

_RETRY_MS = 300_000
_SLACK_MS = 600_000
_NEW = text(
    "INSERT INTO stripe_events (id, livemode, received_at, due_at) VALUES (:id, :livemode, :now, :now) "
    "ON CONFLICT DO NOTHING"
)
_DUE = (
    select(stripe_events)
    .where(stripe_events.c.due_at <= bindparam("now"), stripe_events.c.livemode == bindparam("livemode"))
    .order_by(stripe_events.c.due_at, stripe_events.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_AGAIN = update(stripe_events).where(stripe_events.c.id == bindparam("of_id"))
_ADD_GAP = text(
    "INSERT INTO meter_gaps (stripe_customer, meter_name, livemode, minute, customer_id, amount) VALUES "
    "(:stripe_customer, :meter_name, :livemode, :minute, :customer_id, :amount) "
    "ON CONFLICT (stripe_customer, meter_name, livemode, minute) "
    "DO UPDATE SET amount = meter_gaps.amount + excluded.amount"
)


@dataclass(frozen=True, slots=True)
class Announced:
    """An error report that was announced, and is not booked yet; `received_at` is in Unix milliseconds."""

    id: str
    livemode: bool
    received_at: int


@dataclass(frozen=True, slots=True)
class Sample:
    """An event that a report names, and why it was rejected."""

    identifier: str
    reason: str


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """An error report: how many errors, those that it names, and from when to when, in Unix milliseconds."""

    errors: int
    samples: Sequence[Sample]
    begins: int
    ends: int

    @property
    def names_all(self) -> bool:
        """Whether it names every event that was rejected."""
        return len({sample.identifier for sample in self.samples}) >= self.errors


class MeterReports:
    """The error reports of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def announce(self, event_id: str, *, livemode: bool, now: int) -> None:
        """Remember that there is a report; the same id again changes nothing."""
        with self._database.write() as connection:
            connection.execute(_NEW, {"id": event_id, "livemode": livemode, "now": now})

    def claim(self, *, livemode: bool, now: int) -> Announced | None:
        """Take a report that is due, which nobody else then looks at for five minutes; None if there is none."""
        with self._database.write() as connection:
            row = connection.execute(_DUE, {"now": now, "livemode": livemode}).first()
            if row is None:
                return None
            connection.execute(_AGAIN.values(due_at=now + _RETRY_MS), {"of_id": row.id})
            return Announced(row.id, row.livemode, row.received_at)

    def book_samples(self, report: ErrorReport, now: int) -> int:
        """Write that the events which a report names are rejected; return how many were not known to be."""
        booked = 0
        for sample in report.samples:
            with self._database.write() as connection:
                booked += finish(connection, [sample.identifier], meter_rules.REJECTED, now, sample.reason)
        return booked

    def minutes(self, report: ErrorReport, *, livemode: bool) -> list[Minute]:
        """Return the minutes of what may have arrived around a report's time: what it does not name is there."""
        begins, ends = report.begins - _SLACK_MS, report.ends + _SLACK_MS
        with self._database.read() as connection:
            return list(minutes_reached(connection, livemode=livemode, begins=begins, ends=ends))

    def book_minute(self, minute: Minute, found: int, now: int) -> bool:
        """Hold a minute's summary, in micro-USD, against what was delivered; False where it is too early.

        Where it is certain which events are missing, they are rejected; else the amount is named, with customer and
        minute.
        """
        with self._database.write() as connection:
            facts = minute.facts(connection)
            if facts.is_moving(now) or facts.doubtful:
                return False
            missing = facts.counted - found
            if missing == 0:
                return True
            which = meter_rules.which(missing, [amount for _, amount, _ in facts.delivered])
            if which:
                named = [facts.delivered[at][0] for at in sorted(which)]
                finish(connection, named, meter_rules.REJECTED, now, "its meter lacks it")
                return True
            customer_id = facts.delivered[0][2]
            values = {
                "stripe_customer": minute.stripe_customer,
                "meter_name": minute.meter_name,
                "livemode": minute.livemode,
                "minute": minute.begins,
                "customer_id": customer_id,
                "amount": missing,
            }
            connection.execute(_ADD_GAP, values)
            entry = gap(
                customer_id,
                now,
                amount=missing,
                minute=minute.begins,
                stripe_customer=minute.stripe_customer,
                reason="its meter lacks it, and nobody can say which events it is of",
                is_simulated=not minute.livemode,
            )
            append_all(connection, [entry])
        return True

    def put_off(self, announced: Announced, until: int) -> None:
        """Look at a report again at a time."""
        with self._database.write() as connection:
            connection.execute(_AGAIN.values(due_at=until), {"of_id": announced.id})

    def done(self, announced: Announced) -> None:
        """Write that a report is booked."""
        with self._database.write() as connection:
            connection.execute(_AGAIN.values(due_at=None), {"of_id": announced.id})
