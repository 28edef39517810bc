"""Jobs are settled while everything goes wrong between here and Stripe: in the end every micro-dollar has its place."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from metering.fake_stripe import DROP_AFTER, DROP_BEFORE, FAULTS, NONE, FakeStripe, Taken
from metering.yard import DAY, HOUR, Yard
from sqlalchemy import select
from trust_ledger.history import key_of, submit

from nodus_control.metering.exporter import Account, Exporter
from nodus_control.testing import LocalControlPlane
from nodus_core import meter_rules
from nodus_ledger.database.schema import jobs
from nodus_ledger.database.trust_schema import meter_events, meter_gaps
from nodus_ledger.jobs.meter_reports import ErrorReport
from nodus_ledger.keys.keys import KeyRecord, PrincipalKind
from nodus_ledger.verification.verify import verify

CUSTOMERS = {"acme": "cus_1", "twin": "cus_1", "other": "cus_2"}
"""Two are one in Stripe."""

OUTAGE_STEPS = 12


class Killed(BaseException):
    """The exporter's process was killed here."""


class Dangerous:
    """An account whose calls may be the last of their process."""

    def __init__(self, account: Account, chance: random.Random, kills: list[int]) -> None:
        self._account = account
        self._chance = chance
        self._kills = kills

    def send(self, event: Mapping[str, Any]) -> tuple[int | None, str]:
        self._die(0.04)
        answer = self._account.send(event)
        self._die(0.08)
        return answer

    def summary(self, stripe_customer: str, meter_name: str, begins: int) -> int:
        self._die(0.02)
        return self._account.summary(stripe_customer, meter_name, begins)

    def report(self, event_id: str) -> ErrorReport:
        self._die(0.02)
        return self._account.report(event_id)

    def _die(self, likelihood: float) -> None:
        if self._kills[0] > 0 and self._chance.random() < likelihood:
            self._kills[0] -= 1
            raise Killed


class CampaignYard(Yard):
    """The same with a control plane, whose clock it is."""

    def __init__(self, control_plane: LocalControlPlane) -> None:
        self.control_plane = control_plane
        super().__init__(control_plane.plane.database)

    def now(self) -> int:
        """What time it is."""
        return self.control_plane.plane.clock.now()

    @property
    def time(self) -> int:
        """The same."""
        return self.now()

    @time.setter
    def time(self, _at: int) -> None:
        pass


@contextmanager
def campaign_yard(path: Path) -> Iterator[CampaignYard]:
    """Open one."""
    with LocalControlPlane(database=path, serve=False) as control_plane:
        yard = CampaignYard(control_plane)
        with FakeStripe(yard.now) as stripe:
            yard.stripe = stripe
            yield yard
            yard.close()


def keys_of(yard: CampaignYard) -> list[KeyRecord]:
    """A key of each customer."""
    keys = []
    for customer_id, stripe_customer in CUSTOMERS.items():
        minted = yard.control_plane.plane.keys.mint(
            customer_id=customer_id,
            label="spender",
            principal_kind=PrincipalKind.SERVICE,
            now=yard.now(),
            is_test=True,
            stripe_customer=stripe_customer,
        )
        keys.append(key_of(yard.control_plane, minted.api_key))
    return keys


def work(yard: CampaignYard, exporters: list[Exporter], chance: random.Random, kills: list[int]) -> None:
    """Have exporters do what is due, taking turns; one that is killed is followed by another."""
    for _ in range(400):
        at = chance.randrange(len(exporters))
        try:
            if not exporters[at].run_one():
                return
        except Killed:
            exporters[at] = yard.exporter(wrap=lambda account: Dangerous(account, chance, kills))


def check(yard: CampaignYard) -> dict[str, int]:
    """Hold what is billed against the ledger, by event and by minute; return how many are in each state."""
    with yard.database.read() as connection:
        events = connection.execute(select(meter_events)).all()
        gaps = {(row.stripe_customer, row.minute): row.amount for row in connection.execute(select(meter_gaps))}
        spent = sum(connection.execute(select(jobs.c.cost)).scalars())
    counted = yard.stripe.test.counted()
    assert max(counted.values()) == 1, "an event is billed twice"
    assert sum(event.value for event in events) == spent
    lacking: dict[tuple[str, int], int] = {}
    for event in events:
        if event.state == meter_rules.DELIVERED:
            minute = event.stripe_customer, meter_rules.minute_of(event.timestamp)
            lacking[minute] = lacking.get(minute, 0) + event.value * (1 - counted[event.identifier])
        elif event.state != meter_rules.UNKNOWN:
            assert counted[event.identifier] == 0, (event.identifier, event.state)
    assert {minute: amount for minute, amount in lacking.items() if amount} == gaps
    # What is not billed is named, with its event or with customer, minute and amount; of the unknown some may be.
    named = sum(
        row["amount_micros"] for kind in ("rejected", "too_old", "unknown") for row in yard.entries(f"meter.{kind}")
    )
    unknown = [event.identifier for event in events if event.state == meter_rules.UNKNOWN]
    billed_all_the_same = sum(
        event.value for event in yard.stripe.test.events if event.identifier in unknown and event.is_counted
    )
    billed = sum(yard.stripe.test.billed(customer) for customer in set(CUSTOMERS.values()))
    assert spent - billed == named - billed_all_the_same
    report = verify(yard.database)
    assert report.is_sound, report.faults[:5]
    return {state: sum(event.state == state for event in events) for state in meter_rules.STATES}


def campaign(yard: CampaignYard, *, seed: int, rounds: int, kills: int, outages: Mapping[int, int]) -> dict[str, int]:
    """Run it.

    Args:
        yard: where.
        seed: of all chance.
        rounds: how often some jobs are submitted.
        kills: how often an exporter is killed.
        outages: how long nothing reaches Stripe, in milliseconds, by the round after which it begins.
    """
    chance = random.Random(seed)
    keys, left = keys_of(yard), [kills]
    exporters = [yard.exporter(wrap=lambda account: Dangerous(account, chance, left)) for _ in range(2)]
    yard.stripe.rejects = lambda _event: chance.random() < 0.05
    numbers = itertools.count()

    def spend(most: int) -> None:
        for _ in range(chance.randrange(1, most)):
            seconds = str(chance.randrange(30, 90))
            submit(yard.control_plane, chance.choice(keys), next(numbers), NODUS_SIM_DURATION_SECONDS=seconds)

    for turn in range(rounds):
        spend(5)
        yard.control_plane.advance(chance.choice([120, 600, 3600]))
        risk = chance.choice([0.0, 0.2, 0.6])
        yard.stripe.fault = lambda risk=risk: chance.choice(FAULTS) if chance.random() < risk else NONE  # type: ignore[misc]
        work(yard, exporters, chance, left)
        report = yard.stripe.report(yard.stripe.test, most_samples=chance.choice([0, 1, 5]))
        if report is not None:
            for _ in range(chance.randrange(1, 3)):
                yard.reports.announce(f"evt_{len(yard.stripe.test.reports)}", livemode=False, now=yard.now())
        if turn in outages:
            yard.stripe.fault = lambda: DROP_AFTER if chance.random() < 0.05 else DROP_BEFORE
            yard.stripe.answers_nothing = True
            for _ in range(OUTAGE_STEPS):
                spend(5)
                yard.control_plane.advance(outages[turn] / 1000 / OUTAGE_STEPS)
                work(yard, exporters, chance, left)
            yard.stripe.answers_nothing = False
    yard.stripe.fault = lambda: NONE
    yard.stripe.rejects = never
    for _ in range(80):
        yard.control_plane.advance(3600)
        work(yard, exporters, chance, [0])
        report = yard.stripe.report(yard.stripe.test)
        if report is not None:
            yard.reports.announce(f"evt_{len(yard.stripe.test.reports)}", livemode=False, now=yard.now())
    assert left[0] == 0, f"{left[0]} kills are left"
    states = check(yard)
    assert states[meter_rules.PENDING] == 0
    return states


def never(_event: Taken) -> bool:
    """Nothing is rejected."""
    return False


def test_every_micro_dollar_has_its_place(tmp_path: Path) -> None:
    """Kills, an outage of 30 h, 429s, repeats, later rejections, two exporters: billed once, or named."""
    with campaign_yard(tmp_path / "nodus.db") as yard:
        states = campaign(yard, seed=1, rounds=14, kills=5, outages={5: 30 * HOUR})

    assert states[meter_rules.DELIVERED] > 10


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(4))
def test_every_micro_dollar_has_its_place_after_hundreds_of_kills(tmp_path: Path, seed: int) -> None:
    """The same, a hundred times each, with an outage of 36 days as well."""
    with campaign_yard(tmp_path / "nodus.db") as yard:
        states = campaign(
            yard, seed=seed, rounds=400, kills=100, outages={50: 30 * HOUR, 200: 36 * DAY, 300: 30 * HOUR}
        )

    assert states[meter_rules.TOO_OLD] > 0
    assert states[meter_rules.REJECTED] > 0
