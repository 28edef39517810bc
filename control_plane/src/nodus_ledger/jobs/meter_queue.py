"""The way out for meter events: who may be sent now, and what has become of it.

Before an event is sent, it is on record that it may have arrived; what is known afterwards is written by itself. So
whoever dies in between leaves a doubt, and never an event that might be sent twice where nobody would recognise it. A
customer's events are held by one exporter at a time, for a lease (`meter_rules.LEASE_MS`); each claim has a name of its
own, by which one that came too late is known.

Locks are taken in the order customer, meter events, heads of logs.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, exists, func, select, update

from nodus_core import meter_rules
from nodus_core.meter_rules import Answer, Step

from ..database import settings
from ..database.database import Database
from ..database.schema import customers
from ..database.settings import Settings
from ..database.trust_schema import meter_events
from ..trust.log import append_all
from ..trust.meter_entries import begun
from .meter_events import EVENT_NAME
from .meter_outcomes import Minute, finish

SINCE = "meter since"
"""The setting that says since when spend is metered, in Unix milliseconds; 0 for all of it."""

_INCARNATION = "meter incarnation"

_events, _customers = meter_events.c, customers.c
_DUE = and_(
    _events.state == meter_rules.PENDING,
    _events.livemode == bindparam("livemode"),
    _events.next_at <= bindparam("now"),
)
_DUE_CUSTOMER = (
    select(_customers.customer_id, _customers.stripe_customer, _customers.meter_tries)
    .where(
        _customers.stripe_customer.is_not(None),
        _customers.meter_next_at <= bindparam("now"),
        _customers.meter_lease_until <= bindparam("now"),
        exists().where(_events.customer_id == _customers.customer_id, _DUE),
    )
    .order_by(_customers.meter_next_at, _customers.customer_id)
    .limit(1)
    .with_for_update(of=customers, skip_locked=True)
)
_OLDEST = (
    select(meter_events)
    .where(_events.customer_id == bindparam("customer"), _DUE)
    .order_by(_events.timestamp, _events.identifier)
    .limit(1)
    .with_for_update()
)
_LEASE = update(customers).where(_customers.customer_id == bindparam("of_customer"))
_EVENT = update(meter_events).where(_events.identifier == bindparam("of_identifier"))
_ADOPT = update(meter_events).where(
    _events.customer_id == bindparam("of_customer"),
    _events.state == meter_rules.PENDING,
    _events.first_sent_at.is_not(None),
    _events.stripe_customer.is_(None),
)
_ANYBODY: dict[str, Any] = {"stripe_customer": None, "meter_name": None}
"""Not sent to anybody yet: the next time it goes to who its customer is then."""

_LOCKED_LEASE = (
    select(_customers.meter_lease, _customers.meter_tries)
    .where(_customers.customer_id == bindparam("customer"))
    .with_for_update()
)
_LOCKED_STATE = select(_events.state).where(_events.identifier == bindparam("identifier")).with_for_update()
_PENDING_CUSTOMERS = (
    select(_events.customer_id, func.count(), func.sum(_events.value), _customers.stripe_customer)
    .join(customers, _customers.customer_id == _events.customer_id, isouter=True)
    .where(_events.state == meter_rules.PENDING, _events.livemode == bindparam("livemode"))
    .group_by(_events.customer_id, _customers.stripe_customer)
    .order_by(_events.customer_id)
)


class NotBegun(Exception):
    """Nobody has said yet since when spend is metered."""


class BegunAlready(Exception):
    """Spend is metered since another time; `since` is that, in Unix milliseconds, 0 for all of it."""

    def __init__(self, since: int) -> None:
        super().__init__(since)
        self.since = since


@dataclass(frozen=True, slots=True)
class Work:
    """One event that an exporter holds, and what is to be done with it; `name` is that of the claim."""

    name: str
    step: Step
    identifier: str
    customer_id: str
    stripe_customer: str
    meter_name: str
    timestamp: int
    livemode: bool
    value: int
    payload: str
    first_sent_at: int | None
    """As it was before this claim."""
    last_sent_at: int | None

    def wire(self) -> dict[str, Any]:
        """Return the four fields that Stripe takes: made now, for who the customer is there."""
        payload = {**json.loads(self.payload), "stripe_customer_id": self.stripe_customer}
        return {
            "event_name": self.meter_name,
            "payload": payload,
            "identifier": self.identifier,
            "timestamp": self.timestamp,
        }


@dataclass(frozen=True, slots=True)
class Waiting:
    """The events of a customer that wait; `stripe_customer` is None where nobody has said who that is."""

    customer_id: str
    events: int
    amount: int
    stripe_customer: str | None


class MeterQueue:
    """The meter events of a database.

    Args:
        database: the database.
        meter_name: the `event_name` of the meter that is to count them.
    """

    def __init__(self, database: Database, meter_name: str = EVENT_NAME) -> None:
        self._database = database
        self._meter_name = meter_name

    def begin(self, since: int | None, now: int) -> None:
        """Say since when spend is metered, in Unix milliseconds, 0 for all of it; None where it was said before.

        What is older is skipped for good, in one row of the operator's ledger.

        Raises:
            NotBegun: nobody has said it yet.
            BegunAlready: it was another time.
        """
        Settings(self._database).incarnation()
        with self._database.write() as connection:
            self._database.lock_name(connection, SINCE)
            kept = settings.get(connection, SINCE)
            if kept is None and since is None:
                raise NotBegun
            if kept is not None:
                if since not in (None, int(kept)):
                    raise BegunAlready(int(kept))
                return
            assert since is not None
            settings.put(connection, SINCE, str(since))
            older = and_(_events.state == meter_rules.PENDING, _events.timestamp * 1000 < since)
            events, amount = connection.execute(select(func.count(), func.sum(_events.value)).where(older)).one()
            connection.execute(update(meter_events).where(older).values(state=meter_rules.SKIPPED))
            append_all(connection, [begun(now, since or None, events, int(amount or 0))])

    def claim(self, *, livemode: bool, now: int) -> Work | None:
        """Take the oldest due event of a customer whose turn it is; None where nothing is due.

        One that is to be sent counts as sent from here on.
        """
        with self._database.write() as connection:
            self._doubt_what_was_restored(connection, now)
            customer = connection.execute(_DUE_CUSTOMER, {"livemode": livemode, "now": now}).first()
            if customer is None:
                return None
            wanted = {"customer": customer.customer_id, "livemode": livemode, "now": now}
            event = connection.execute(_OLDEST, wanted).mappings().first()
            if event is None:
                return None
            step = meter_rules.next_step(event["timestamp"], event["first_sent_at"], event["last_sent_at"], now)
            work = Work(
                name=secrets.token_hex(8),
                step=step,
                identifier=event["identifier"],
                customer_id=event["customer_id"],
                stripe_customer=event["stripe_customer"] or customer.stripe_customer,
                meter_name=event["meter_name"] or self._meter_name,
                timestamp=event["timestamp"],
                livemode=livemode,
                value=event["value"],
                payload=event["payload"],
                first_sent_at=event["first_sent_at"],
                last_sent_at=event["last_sent_at"],
            )
            lease = {"meter_lease": work.name, "meter_lease_until": now + meter_rules.LEASE_MS}
            connection.execute(_LEASE.values(lease), {"of_customer": work.customer_id})
            if step is Step.LOOK and event["stripe_customer"] is None:
                # In doubt since a restore, before anybody had said who its customer is.
                adopted = {"stripe_customer": work.stripe_customer, "meter_name": work.meter_name}
                connection.execute(_ADOPT.values(adopted), {"of_customer": work.customer_id})
            if step is Step.SEND:
                sent = {
                    "stripe_customer": work.stripe_customer,
                    "meter_name": work.meter_name,
                    "first_sent_at": now if work.first_sent_at is None else work.first_sent_at,
                    "last_sent_at": now,
                }
                connection.execute(_EVENT.values(sent), {"of_identifier": work.identifier})
        return work

    def answered(self, work: Work, answer: Answer, reason: str, *, now: int, chance: float) -> None:
        """Write what the answer to an event means for it, and for when its customer's turn comes again."""
        was_in_doubt = work.first_sent_at is not None
        state = meter_rules.state_after(answer, was_in_doubt=was_in_doubt)
        with self._database.write() as connection:
            is_ours, tries = self._release(connection, work)
            if is_ours:
                tries = tries + 1 if state == meter_rules.PENDING else 0
                rest = meter_rules.backoff_ms(tries, chance) if tries else 0
                again = {"meter_next_at": now + rest, "meter_tries": tries}
                connection.execute(_LEASE.values(again), {"of_customer": work.customer_id})
            present = connection.execute(_LOCKED_STATE, {"identifier": work.identifier}).scalar_one()
            if present != meter_rules.PENDING:
                return  # an error report was faster
            if state == meter_rules.DELIVERED:
                values: dict[str, Any] = {"state": state, "exported_at": now}
            elif not is_ours:
                return  # another has it, and may be sending it
            elif state == meter_rules.REJECTED:
                finish(connection, [work.identifier], state, now, reason)
                return
            else:
                rest = meter_rules.rest_ms(work.first_sent_at, now)
                values = {"next_at": now + rest if rest else 0}
                if not meter_rules.may_have_arrived(answer):
                    # As it was before this call.
                    values |= {"first_sent_at": work.first_sent_at, "last_sent_at": work.last_sent_at}
                    if not was_in_doubt:
                        values |= _ANYBODY
            connection.execute(_EVENT.values(values), {"of_identifier": work.identifier})

    def put_off(self, work: Work, until: int) -> None:
        """Look at an event again at a time, and go on with the others of its customer."""
        with self._database.write() as connection:
            self._release(connection, work)
            connection.execute(_EVENT.values(next_at=until), {"of_identifier": work.identifier})

    def give_up(self, work: Work, now: int) -> None:
        """Write that an event never arrived, and is too old to be sent."""
        with self._database.write() as connection:
            self._release(connection, work)
            finish(connection, [work.identifier], meter_rules.TOO_OLD, now, "it is more than 34 days old")

    def resolve(self, work: Work, found: int, *, now: int) -> bool:
        """Decide by a meter's summary of its minute about all that is in doubt there; False where it is too early.

        Args:
            work: whose minute it is.
            found: what the summary says, in micro-USD.
            now: the time.
        """
        minute = Minute.of(work)
        with self._database.write() as connection:
            self._release(connection, work)
            facts = minute.facts(connection)
            if facts.is_moving(now):
                connection.execute(
                    _EVENT.values(next_at=now + meter_rules.SETTLE_MS), {"of_identifier": work.identifier}
                )
                return False
            doubtful = facts.doubtful
            arrived = meter_rules.which(found - facts.counted, [amount for _, amount in doubtful])
            if arrived is None:
                what = f"its minute's summary of {found} micro-USD fits no choice, or several, of those in doubt"
                finish(connection, [each for each, _ in doubtful], meter_rules.UNKNOWN, now, what)
                return True
            old = []
            for at, (identifier, _) in enumerate(doubtful):
                if at in arrived:
                    values: dict[str, Any] = {"state": meter_rules.DELIVERED, "exported_at": now}
                else:
                    # It never arrived, and is as new.
                    values = {"first_sent_at": None, "last_sent_at": None, "next_at": 0, **_ANYBODY}
                    if meter_rules.is_too_old(work.timestamp, now):
                        old.append(identifier)
                connection.execute(_EVENT.values(values), {"of_identifier": identifier})
            finish(connection, old, meter_rules.TOO_OLD, now, "it never arrived, and is more than 34 days old")
        return True

    def waiting(self, *, livemode: bool) -> list[Waiting]:
        """Return what waits to be sent, by customer."""
        with self._database.read() as connection:
            rows = connection.execute(_PENDING_CUSTOMERS, {"livemode": livemode}).all()
        return [Waiting(row[0], row[1], int(row[2]), row[3]) for row in rows]

    def _release(self, connection: Connection, work: Work) -> tuple[bool, int]:
        """End a lease, and hold its customer's row; say whether it was still this claim's, and how often it failed."""
        row = connection.execute(_LOCKED_LEASE, {"customer": work.customer_id}).one()
        if row.meter_lease != work.name:
            return False, row.meter_tries
        connection.execute(_LEASE.values(meter_lease=None, meter_lease_until=0), {"of_customer": work.customer_id})
        return True, row.meter_tries

    def _doubt_what_was_restored(self, connection: Connection, now: int) -> None:
        """After a restore, doubt all that is pending: it may have been sent since the backup was made."""
        present = settings.get(connection, "incarnation") or ""
        known = settings.get(connection, _INCARNATION)
        if present == known:
            return
        settings.put(connection, _INCARNATION, present)
        if not known:
            return
        its_customer = (
            select(_customers.stripe_customer).where(_customers.customer_id == _events.customer_id).scalar_subquery()
        )
        connection.execute(
            update(meter_events)
            .where(_events.state == meter_rules.PENDING)
            .values(
                first_sent_at=func.coalesce(_events.first_sent_at, 0),
                last_sent_at=now,
                stripe_customer=func.coalesce(_events.stripe_customer, its_customer),
                meter_name=func.coalesce(_events.meter_name, self._meter_name),
            )
        )
