"""A cap can be used up: to all but what the next job would need, and never a micro-dollar more."""

from __future__ import annotations

import random

import pytest
from keys.budget_walk import walk

from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane
from nodus_core.spec import parse_spec
from nodus_ledger.errors import BudgetExceeded, NoSupplier
from nodus_ledger.keys.keys import KeyRecord, PrincipalKind
from nodus_ledger.verification.verify import verify

SHARE = 0.05
"""Of the cap, what a job may cost at most."""

WORLD_SECONDS = 60


class Spender:
    """Submits jobs of heavy-tailed length under one key, while suppliers come and go."""

    def __init__(self, cap_usd: float, seed: int) -> None:
        self.cap = round(cap_usd * 1_000_000)
        self.chance = random.Random(seed)
        self.plane = ControlPlane("sqlite://", clock=ManualClock(), seed=seed)
        minted = self.plane.keys.mint(
            customer_id="acme",
            label="",
            principal_kind=PrincipalKind.AGENT,
            now=self.plane.clock.now(),
            monthly_cap=self.cap,
            is_test=True,
        )
        found = self.plane.keys.find(minted.api_key)
        assert found is not None
        self.key: KeyRecord = found

    def submit(self) -> bool:
        """Submit one; False where the budget has no room for it. What is out comes back."""
        runtime = min(7200, int(60 * self.chance.paretovariate(1.1)))
        spec = {
            "image": "x",
            "gpu": self.chance.choice(["h100_80gb", "a100_80gb"]),
            "gpu_count": 1,
            "max_runtime_seconds": runtime,
            "max_cost_usd": self.cap * SHARE / 1_000_000,
            "env": {"NODUS_SIM_DURATION_SECONDS": str(self.chance.randint(1, runtime))},
        }
        try:
            self.plane.jobs.submit(self.key, parse_spec(spec), None, self.plane.clock.now())
        except NoSupplier:
            self.switch(on=False)
        except BudgetExceeded:
            return False
        return True

    def switch(self, *, on: bool) -> None:
        """Switch a supplier off, or all on."""
        names = list(self.plane.catalogue.suppliers)
        for name in [self.chance.choice(names)] if on else names:
            self.plane.set_outage(name, on=on)

    def pass_time(self) -> tuple[int, int]:
        """Let a minute pass; return what is realised, and in flight. Not for an instant is it more than the cap."""
        self.plane.advance(WORLD_SECONDS)
        figures = self.plane.keys.budget(self.key.id, self.plane.clock.now())
        assert figures.month_to_date <= self.cap
        return figures.realised, figures.in_flight

    def spend(self, jobs: int, at_once: int) -> float:
        """Submit until nothing of the key is in flight and there is no room; return how much of the cap is spent."""
        realised = in_flight = 0
        for _ in range(jobs):
            accepted = [self.submit() for _ in range(at_once)]
            if in_flight == 0 and not any(accepted):
                return realised / self.cap
            if self.chance.random() < 0.1:
                self.switch(on=True)
            elif self.chance.random() < 0.1:
                self.switch(on=False)
            realised, in_flight = self.pass_time()
        raise AssertionError("the cap was never used up")


def hold(cap_usd: float, jobs: int, at_once: int) -> None:
    """Spend a cap, and hold the ledger against it."""
    spender = Spender(cap_usd, seed=7)
    spent = spender.spend(jobs, at_once)
    counted, months = walk(spender.plane)
    faults = verify(spender.plane.database).faults
    spender.plane.close()

    assert 1 - SHARE <= spent <= 1
    assert counted["job.settled"] == counted["job.submitted"]
    assert [month.reserved for month in months.values() if month.reserved] == []
    assert faults == []


@pytest.mark.parametrize("at_once", [1, 8], ids=["serial", "concurrent"])
def test_a_small_cap_is_used_up(at_once: int) -> None:
    """Whether jobs come one after the other, or many at once."""
    hold(1.0, 1000, at_once)


@pytest.mark.soak
@pytest.mark.parametrize("at_once", [1, 8], ids=["serial", "concurrent"])
def test_a_cap_of_25_dollars_is(at_once: int) -> None:
    """With up to ten thousand jobs."""
    hold(25.0, 10_000, at_once)
