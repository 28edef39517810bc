"""Everything at once on one database: jobs from submission to end, outages, caps and months that change, and others."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from keys.bystanders import Bystanders, Step
from sqlalchemy import func, select
from yard import H100, Yard, supplier

from nodus_control.control_plane import ControlPlane
from nodus_core.lifecycle import Change, JobStatus
from nodus_core.months import Month, month_at
from nodus_core.spec import JobSpec, parse_spec
from nodus_ledger.database.schema import jobs
from nodus_ledger.errors import BudgetExceeded, DatabaseUnavailable, NoSupplier
from nodus_ledger.jobs.claiming import Claim
from nodus_ledger.jobs.leases import Claims
from nodus_ledger.jobs.settlement import AttemptEnd
from nodus_ledger.jobs.settlement import Step as Settled
from nodus_ledger.keys.keys import KeyRecord, PrincipalKind

USD = 1_000_000
SUPPLIERS = [
    supplier("cheap", 1, {H100: 3}, retry_after_loss=50),
    supplier("middle", 2, {H100: 8}, retry_after_loss=50),
    supplier("dear", 4, None, retry_after_loss=50),
]
CUSTOMERS = ("acme", "globex")
CAPS = [6, 10, 25]
LOST, OUTAGE_SHARE = 0.25, 0.1
CANCELLED, BATCH, LEAP = 0.2, 0.1, 0.02


@dataclass
class Campaign:
    """Threads that do what they do until the time is over, and then until every job is; or until one of them fails."""

    yard: Yard
    other: ControlPlane
    seed: int
    keys: list[KeyRecord] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)
    failures: list[BaseException] = field(default_factory=list)
    bystanders: Bystanders = field(init=False)
    submitted: list[tuple[KeyRecord, str]] = field(default_factory=list)
    months: set[Month] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def mint(self) -> None:
        """Two capped keys for each customer, and somebody who looks on."""
        control_plane = self.yard.control_plane
        for customer in CUSTOMERS * 2:
            minted = control_plane.keys.mint(
                customer_id=customer,
                label="",
                principal_kind=PrincipalKind.SERVICE,
                now=self.yard.clock.now(),
                monthly_cap=CAPS[0] * USD,
                stripe_customer=f"cus_{customer}",
            )
            found = control_plane.keys.find(minted.api_key)
            assert found is not None
            self.keys.append(found)
        self.bystanders = Bystanders(self.other, self.keys, CUSTOMERS, self.stopped)

    def submit(self, chance: random.Random) -> None:
        """Submit a job to one of the keys, or several together, and cancel one now and then."""
        key = chance.choice(self.keys)
        jobs_ = chance.choice([self.yard.control_plane, self.other]).jobs
        try:
            if chance.random() < BATCH:
                specs = [_spec(chance) for _ in range(chance.randint(1, 8))]
                accepted = self.bystanders.batch(key, specs, f"batch {next(self.numbers)}")
            else:
                accepted = [jobs_.submit(key, _spec(chance), None, self.yard.clock.now()).job.id]
            self.submitted += [(key, job_id) for job_id in accepted]
        except (BudgetExceeded, NoSupplier):
            self.ending.wait(0.001)
        if self.submitted and chance.random() < CANCELLED:
            jobs_.request_cancel(*chance.choice(self.submitted), self.yard.clock.now())

    def upset(self, chance: random.Random) -> None:
        """Switch a supplier off or on, or change a cap, or let time pass; in the end, only what lets all end."""
        now = self.yard.clock.now()
        self.months.add(month_at(now))
        last = month_at(now).end - 600_000
        self.yard.clock.advance_to((last if chance.random() < LEAP else now) + chance.randrange(600_000))
        plane = self.yard.control_plane
        is_over = self.ending.is_set()
        plane.outages.set("cheap", on=not is_over and chance.random() < OUTAGE_SHARE, now=now)
        key = chance.choice(self.keys)
        plane.keys.set_cap(key.id, None if is_over else chance.choice(CAPS) * USD, now)
        self.stopped.wait(0.005)

    def worker(self, name: str) -> Step:
        """Make a worker, which claims, and says how what it claimed ends."""
        yard = self.yard
        claims = Claims(yard.control_plane.database, yard.control_plane.catalogue)
        held: list[Claim] = []

        def work(chance: random.Random) -> None:
            now = yard.clock.now()
            _, found = claims.claim(name, now=now, real_now=now, lease_ms=10**12, limit=8)
            held.extend(found)
            chance.shuffle(held)
            if held:
                claims.renew(name, [claim.job.seq for claim in held], real_now=now, lease_ms=10**12)
            done = [held.pop() for _ in range(min(3, len(held)))]
            claims.finish(name, [self._end_of(claim, chance) for claim in done], now=yard.clock.now())

        return work

    def _end_of(self, claim: Claim, chance: random.Random) -> Settled:
        now = max(self.yard.clock.now(), claim.attempt.placed_at)
        attempt = claim.attempt
        outcome = chance.choice(["lost", "not_started"]) if chance.random() < LOST else "completed"
        if claim.supplier_is_out:
            outcome = "outage"
        cancelled = claim.job.cancel_requested_at is not None
        if outcome != "completed" and not cancelled:
            return Settled(claim.job, [], now, AttemptEnd(outcome, None, now))
        last = Change(JobStatus.CANCELLED, now) if cancelled else Change(JobStatus.COMPLETED, now)
        changes = [
            Change(JobStatus.PLACED, attempt.placed_at, attempt.supplier, attempt.region, attempt.rate),
            Change(JobStatus.RUNNING, attempt.placed_at),
            last,
        ]
        return Settled(claim.job, changes, now, AttemptEnd(last.to.value, attempt.placed_at, now))

    @property
    def open_jobs(self) -> int:
        """How many jobs are not over."""
        with self.yard.control_plane.database.read() as connection:
            query = select(func.count()).where(jobs.c.finished_at.is_(None))
            return connection.execute(query).scalar_one()

    def run(self, seconds: float, *, workers: int, submitters: int, patience: float) -> None:
        """Do everything for so long, then let all jobs end; the first failure of any thread is raised."""
        self.mint()
        with self._threads(workers, submitters):
            self.ending.wait(seconds)
            self.ending.set()
            deadline = time.monotonic() + patience
            while self.open_jobs and time.monotonic() < deadline and not self.stopped.wait(0.05):
                pass
        self.months.add(month_at(self.yard.clock.now()))
        if self.failures:
            raise self.failures[0]

    @contextmanager
    def _threads(self, workers: int, submitters: int) -> Iterator[None]:
        each = [(self.worker(f"worker {number}"), self.stopped) for number in range(workers)]
        each += [(self.submit, self.ending)] * submitters + [(self.upset, self.stopped)]
        each += [(step, self.stopped) for step in self.bystanders.steps()]
        threads = [
            threading.Thread(target=self._repeat, args=(step, until, random.Random(f"{self.seed} {number}")))
            for number, (step, until) in enumerate(each)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop()
            for thread in threads:
                thread.join()

    def _repeat(self, step: Step, until: threading.Event, chance: random.Random) -> None:
        while not until.is_set():
            try:
                step(chance)
            except DatabaseUnavailable:
                continue  # on a busy machine a lock may take longer than the database lets anybody wait
            except BaseException as exc:
                self.failures.append(exc)
                self._stop()
                return

    def _stop(self) -> None:
        self.ending.set()
        self.stopped.set()


def _spec(chance: random.Random) -> JobSpec:
    return parse_spec(
        {
            "image": "x",
            "gpu": H100,
            "gpu_count": chance.choice([1, 1, 1, 2, 3]),
            "max_runtime_seconds": chance.choice([60, 600, 3600]),
            "max_cost_usd": chance.choice([None, None, 0.5]),
            "queue_timeout_seconds": chance.choice([None, None, 3600]),
        }
    )
