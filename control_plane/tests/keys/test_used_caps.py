"""A cap can be used up: to all but what the next job would need, and never a micro-dollar more."""

from __future__ import annotations

import logging
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from keys.budget_walk import Month, walk
from servers.engines import ENGINES

from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane
from nodus_core.spec import JobSpec, parse_spec
from nodus_ledger.errors import BudgetExceeded
from nodus_ledger.keys.keys import KeyRecord, PrincipalKind
from nodus_ledger.keys.waiting_jobs import WAITING_FOR_BUDGET
from nodus_ledger.verification.verify import verify

USD = 1_000_000
SHARE = 0.05
"""Of the cap, what a job may cost at most."""

MOST_SECONDS = 7200
STEP_SECONDS = 30
SERIAL, CONCURRENT = 1, 8
GOES_OUT, COMES_BACK = 0.1, 0.2
CHEAP = ("hyperbolic", "vast")
"""Where nearly all jobs go: whoever loses them there has to go to a dearer place."""

_logger = logging.getLogger(__name__)


class Spender:
    """Submits jobs of heavy-tailed length under one key, while suppliers come and go.

    Args:
        plane: where.
        cap_usd: the key's cap.
        at_once: how many callers there are; one alone waits for its job to end.
        scale_seconds: the shortest time that a job takes; most take not much longer.
        seed: of all chance.
    """

    def __init__(self, plane: ControlPlane, cap_usd: float, *, at_once: int, scale_seconds: float, seed: int) -> None:
        self.plane = plane
        self.cap = round(cap_usd * USD)
        self._at_once = at_once
        self._scale = scale_seconds
        self._chance = random.Random(seed)
        self._out: str | None = None
        self._accepted: list[str] = []
        minted = plane.keys.mint(
            customer_id="acme",
            label="",
            principal_kind=PrincipalKind.AGENT,
            now=plane.clock.now(),
            monthly_cap=self.cap,
            is_test=True,
        )
        found = plane.keys.find(minted.api_key)
        assert found is not None
        self._key: KeyRecord = found

    def spend(self) -> float:
        """Submit until a job is refused with nothing of the key in flight; return how much of the cap is spent.

        Whoever is refused while something is in flight comes again with the same job.
        """
        wanted: list[JobSpec] = []
        with ThreadPoolExecutor(self._at_once) as callers:
            while True:
                wanted += [self._job() for _ in range(self._at_once - len(wanted))]
                answers = list(callers.map(self._submit, wanted))
                refusals = [answer for answer in answers if isinstance(answer, BudgetExceeded)]
                if any(refusal.figures.in_flight == 0 for refusal in refusals):
                    return self._end()
                wanted = [spec for spec, answer in zip(wanted, answers, strict=True) if answer in refusals]
                self._pass_time()
                while self._at_once == SERIAL and any(map(self._goes_on, self._accepted[-1:])):
                    self._pass_time()

    def _job(self) -> JobSpec:
        takes = min(MOST_SECONDS, self._scale * self._chance.paretovariate(1.1))
        limit = max(60, min(MOST_SECONDS, round(takes * self._chance.uniform(1, 4))))
        return parse_spec(
            {
                "image": "x",
                "gpu": self._chance.choice(["h100_80gb", "a100_80gb"]),
                "gpu_count": 1,
                "max_runtime_seconds": limit,
                "max_cost_usd": self.cap * SHARE / USD,
                "env": {"NODUS_SIM_DURATION_SECONDS": f"{takes:.3f}"},
            }
        )

    def _submit(self, spec: JobSpec) -> str | BudgetExceeded:
        try:
            job_id = self.plane.jobs.submit(self._key, spec, None, self.plane.clock.now()).job.id
        except BudgetExceeded as exc:
            return exc
        self._accepted.append(job_id)
        return job_id

    def _goes_on(self, job_id: str) -> bool:
        """Whether a job is not over, and does not wait for more budget either, of which there will be no more."""
        job = self.plane.jobs.get("acme", job_id)
        return job.finished_at is None and job.phase != WAITING_FOR_BUDGET

    def _pass_time(self) -> None:
        """Let less than a step pass, and perhaps a supplier go out or come back; never is more counted than the cap."""
        self.plane.advance(self._chance.uniform(1, STEP_SECONDS))
        if self._chance.random() < GOES_OUT:
            self._let_out(self._chance.choice(CHEAP))
        elif self._chance.random() < COMES_BACK:
            self._let_out(None)
        assert self._spent() <= self.cap

    def _let_out(self, supplier: str | None) -> None:
        """Let one be out and no other; or none."""
        for name in CHEAP if supplier != self._out else ():
            self.plane.set_outage(name, on=name == supplier)
        self._out = supplier

    def _end(self) -> float:
        """Let all end that can, and cancel what has lost its place and finds no other within the cap."""
        self._let_out(None)
        self.plane.advance(MOST_SECONDS * 4)
        for job_id in self._accepted:
            if not self.plane.jobs.is_over(job_id):
                assert not self._goes_on(job_id)
                self.plane.jobs.request_cancel(self._key, job_id, self.plane.clock.now())
        self.plane.advance(1)
        return self._spent() / self.cap

    def _spent(self) -> int:
        return self.plane.keys.budget(self._key.id, self.plane.clock.now()).month_to_date


def hold(
    database_url: str, cap_usd: float, *, at_once: int, scale_seconds: float, least_jobs: int, least_dearer: int
) -> None:
    """Spend a cap, and hold the ledger, which has every amount that was ever reserved, against it."""
    plane = ControlPlane(database_url, clock=ManualClock(), seed=7)
    try:
        spent = Spender(plane, cap_usd, at_once=at_once, scale_seconds=scale_seconds, seed=7).spend()
        counted, months = walk(plane)
        faults = verify(plane.database).faults
    finally:
        plane.close()
    dearer = sum(month.dearer for month in months.values())
    _logger.info("%.4f %% of the cap, %d times to a dearer place: %s", 100 * spent, dearer, dict(counted))

    assert 1 - SHARE <= spent <= 1
    assert counted["job.settled"] == counted["job.submitted"] >= least_jobs
    assert dearer >= least_dearer
    assert [month.reserved for month in months.values() if month.reserved] == []
    assert months_passed(months) == 1
    assert faults == []


def months_passed(months: dict[str, Month]) -> int:
    """Over how many months the jobs were spread: a cap is of one."""
    return len({name for month in months.values() for name in month.realised})


@pytest.mark.parametrize("at_once", [SERIAL, CONCURRENT], ids=["serial", "concurrent"])
def test_a_small_cap_is_used_up(database_url: str, at_once: int) -> None:
    """Whether jobs come one after the other, or many at once."""
    hold(database_url, 1.0, at_once=at_once, scale_seconds=15, least_jobs=30, least_dearer=1)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("engine", ENGINES, indirect=True)
@pytest.mark.parametrize(
    ("at_once", "scale_seconds"), [(SERIAL, 0.55), (CONCURRENT, 0.65)], ids=["serial", "concurrent"]
)
def test_a_cap_of_25_dollars_is(kept_database_url: str, at_once: int, scale_seconds: float) -> None:
    """With ten thousand jobs."""
    hold(kept_database_url, 25.0, at_once=at_once, scale_seconds=scale_seconds, least_jobs=10_000, least_dearer=50)
