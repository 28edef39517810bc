"""All that goes on beside jobs in one database: reports, statements, quotes, metering, webhooks, sweeps.

They are of another control plane on the same database, as another process would be.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import func, select

from nodus_control.control_plane import ControlPlane
from nodus_control.metering.exporter import Exporter
from nodus_core import meter_rules
from nodus_core.months import Month, month_at
from nodus_core.spec import JobSpec
from nodus_core.usage import Question
from nodus_core.webhook_retries import Outcome
from nodus_ledger.database.trust_schema import meter_events
from nodus_ledger.jobs.meter_queue import MeterQueue
from nodus_ledger.jobs.meter_reports import ErrorReport, MeterReports
from nodus_ledger.keys import waiting_jobs
from nodus_ledger.keys.keys import KeyRecord

EVENTS = ["job.placed", "job.completed", "job.cancelled", "budget.threshold_reached", "budget.exceeded"]
IDLE_SECONDS = 0.01
Step = Callable[[random.Random], None]


class Till:
    """An account of Stripe's that is busy at times, and takes each event once."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self._minutes: Counter[tuple[str, str, int]] = Counter()
        self._chance = random.Random(7)

    def send(self, event: Mapping[str, Any]) -> tuple[int | None, str]:
        if self._chance.random() < 0.1:
            return 429, "Too many requests."
        if self.counted[event["identifier"]]:
            return 400, f"An event already exists with identifier {event['identifier']}."
        self.counted[event["identifier"]] += 1
        payload, minute = event["payload"], meter_rules.minute_of(event["timestamp"])
        self._minutes[payload["stripe_customer_id"], event["event_name"], minute] += int(payload["value"])
        return 200, ""

    def summary(self, stripe_customer: str, meter_name: str, begins: int) -> int:
        return self._minutes[stripe_customer, meter_name, begins]

    def report(self, event_id: str) -> ErrorReport:
        raise AssertionError(f"nobody announced {event_id}")


class Bystanders:
    """What they do, step by step, in many threads at once; they rest where there is nothing to do, until `stopped`."""

    def __init__(
        self, plane: ControlPlane, keys: Sequence[KeyRecord], customers: Sequence[str], stopped: threading.Event
    ) -> None:
        self.plane = plane
        self._stopped = stopped
        self.done: Counter[str] = Counter()
        self._keys = keys
        self._customers = customers
        queue, reports = MeterQueue(plane.database), MeterReports(plane.database)
        queue.begin(0, plane.clock.now())
        till = Till()
        self._exporters = [Exporter(queue, reports, {True: till}, plane.clock.now) for _ in range(2)]
        for customer in customers:
            plane.webhooks.endpoints.register(customer, "http://127.0.0.1:9/", EVENTS, None, plane.clock.now())

    def steps(self) -> list[Step]:
        """Return what each thread repeats."""
        return [self.ask, self.sweep, self.deliver, *(self._meter(exporter) for exporter in self._exporters)]

    def ask(self, chance: random.Random) -> None:
        """Ask for a report, a statement, a checkpoint, or a page of jobs."""
        customer, month = chance.choice(self._customers), month_at(self.plane.clock.now())
        what = chance.choice(["usage", "statement", "checkpoint", "page"])
        if what == "usage":
            by = chance.choice([(), ("day",), ("key", "status")])
            self.plane.usage.report(customer, Question(month.start, month.end, by))
        elif what == "statement":
            written(self.plane, customer, month)
        elif what == "checkpoint":
            self.plane.trust_ledger.checkpoint(customer)
        else:
            self.plane.jobs.list(customer, limit=20)
        self.done[what] += 1

    def sweep(self, _chance: random.Random) -> None:
        """Wake what waits for budget, as a sweep does."""
        self.done["woken"] += waiting_jobs.wake(self.plane.database, self.plane.clock.now())
        self.done["sweep"] += 1
        self._stopped.wait(IDLE_SECONDS)

    def deliver(self, chance: random.Random) -> None:
        """Deliver webhooks: nearly all arrive."""
        deliveries, now = self.plane.webhooks.deliveries, self.plane.clock.now()
        shares = {due.id: 8 for due in deliveries.due(now=now, real_now=now)}
        owner = str(threading.get_ident())
        for outgoing in deliveries.claim(owner, now=now, real_now=now, lease_ms=10**12, shares=shares):
            outcome = Outcome(500 if chance.random() < 0.1 else 200, 1)
            deliveries.finish(owner, outgoing, outcome, began=now, ended=now, chance=0.5)
            self.done["delivery"] += 1
        if not shares:
            self._stopped.wait(IDLE_SECONDS)

    def batch(self, key: KeyRecord, specs: Sequence[JobSpec], name: str) -> list[str]:
        """Submit jobs together, and ask for the price of the first; return the ids of those that were accepted."""
        now = self.plane.clock.now()
        self.plane.jobs.quote(key, specs[0], now)
        answers = self.plane.jobs.submit_all(key, [(spec, f"{name} {at}") for at, spec in enumerate(specs)], now)
        self.done["batch"] += 1
        return [answer.job.id for answer in answers if not isinstance(answer, Exception)]

    def _meter(self, exporter: Exporter) -> Step:
        def export(_chance: random.Random) -> None:
            if exporter.run_one():
                self.done["metering"] += 1
            else:
                self._stopped.wait(IDLE_SECONDS)

        return export


def written(plane: ControlPlane, customer: str, month: Month) -> bytes:
    """Write a statement."""
    return b"".join(plane.statements.written(plane.statements.begin(customer, month, plane.clock.now())))


def metered(plane: ControlPlane, customer: str) -> int:
    """What the meter events of a customer come to, in micro-USD."""
    query = select(func.sum(meter_events.c.value)).where(meter_events.c.customer_id == customer)
    with plane.database.read() as connection:
        return int(connection.execute(query).scalar_one() or 0)
