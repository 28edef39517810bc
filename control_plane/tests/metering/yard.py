"""What tests of metering have to do with: events that jobs left, customers, exporters, and what became of it all."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from metering.fake_stripe import LIVE_KEY, TEST_KEY, FakeStripe
from sqlalchemy import insert, select

from nodus_control.metering.account import StripeAccount
from nodus_control.metering.exporter import Account, Exporter
from nodus_ledger.database.database import Database
from nodus_ledger.database.trust_schema import ledger, meter_events, meter_gaps
from nodus_ledger.jobs.meter_queue import MeterQueue
from nodus_ledger.jobs.meter_reports import MeterReports
from nodus_ledger.keys.customers import set_stripe_customer
from nodus_ledger.trust.log import append_all

NOON = 1_800_000_000_000
HOUR, DAY = 3_600_000, 86_400_000


class Yard:
    """A database with meter events in it, and Stripe."""

    stripe: FakeStripe

    def __init__(self, database: Database) -> None:
        self.database = database
        self.time = NOON
        self.queue = MeterQueue(database)
        self.reports = MeterReports(database)
        self.queue.begin(0, self.time)
        self._accounts: list[StripeAccount] = []
        self._count = 0

    def now(self) -> int:
        """What time it is."""
        return self.time

    def close(self) -> None:
        """Close the connections to Stripe."""
        for account in self._accounts:
            account.close()

    def name_customer(self, customer_id: str, stripe_customer: str) -> None:
        """Say who a customer is."""
        with self.database.write() as connection:
            append_all(
                connection, set_stripe_customer(connection, customer_id, stripe_customer, self.time, replace=True)
            )

    def add(self, customer_id: str, value: int, *, age_ms: int = 0, livemode: bool = True) -> str:
        """Add an event, as a job that ended so long ago leaves it; return its identifier."""
        self._count += 1
        identifier = f"job_{self._count}"
        payload = {
            "stripe_customer_id": customer_id,
            "value": str(value),
            "principal_kind": "agent",
            "key_id": "k",
            "job_id": identifier[4:],
            "gpu": "l40s",
        }
        row = {
            "identifier": identifier,
            "customer_id": customer_id,
            "event_name": "nodus_spend_micro_usd",
            "timestamp": (self.time - age_ms) // 1000,
            "livemode": livemode,
            "payload": json.dumps(payload),
            "value": value,
            "state": "pending" if value else "nothing",
        }
        with self.database.write() as connection:
            connection.execute(insert(meter_events).values(row))
        return identifier

    def account(self, key: str = LIVE_KEY) -> StripeAccount:
        """Open an account, with the official package."""
        account = StripeAccount(key, self.stripe.base)
        self._accounts.append(account)
        return account

    def exporter(self, *, wrap: Callable[[Account], Account] = lambda account: account, test: bool = True) -> Exporter:
        """Make an exporter of both accounts, or of the live one."""
        keys = {True: LIVE_KEY, False: TEST_KEY} if test else {True: LIVE_KEY}
        accounts = {livemode: wrap(self.account(key)) for livemode, key in keys.items()}
        return Exporter(self.queue, self.reports, accounts, self.now, chance=lambda: 0.5)

    def run_for(self, exporter: Exporter, milliseconds: int, step: int = HOUR) -> None:
        """Let time pass, and the exporter work meanwhile."""
        end = self.time + milliseconds
        exporter.run_due()
        while self.time < end:
            self.time = min(end, self.time + step)
            exporter.run_due()

    def states(self) -> dict[str, str]:
        """What has become of each event."""
        with self.database.read() as connection:
            rows = connection.execute(select(meter_events.c.identifier, meter_events.c.state)).all()
        return {row.identifier: row.state for row in rows}

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """The payloads of the ledger's rows of a kind."""
        with self.database.read() as connection:
            leaves = connection.execute(select(ledger.c.leaf).where(ledger.c.kind == kind)).scalars().all()
        return [json.loads(leaf)["payload"] for leaf in leaves]

    def gaps(self) -> list[tuple[str, int]]:
        """The amounts that meters lack, by customer."""
        with self.database.read() as connection:
            rows = connection.execute(select(meter_gaps.c.customer_id, meter_gaps.c.amount)).all()
        return [(row.customer_id, row.amount) for row in rows]
