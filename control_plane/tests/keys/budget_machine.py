"""Random sequences of what moves a budget, done to a control plane and to the model side by side."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from keys import budget_model
from keys.budget_model import SUPPLIERS, Job, Key, reservation

from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane
from nodus_core.months import month_at
from nodus_core.spec import parse_spec
from nodus_ledger.database.rows import JobRecord
from nodus_ledger.errors import BudgetExceeded, IdempotencyKeyReused, MaxCostTooLow, NoSupplier
from nodus_ledger.jobs.submission import Submitted
from nodus_ledger.keys.keys import KeyRecord, PrincipalKind
from nodus_ledger.verification.verify import verify

USD = 1_000_000
THRESHOLDS = [0.8, 0.5]

jobs = st.tuples(
    st.sampled_from(["h100_80gb", "l40s", "a10g"]),
    st.integers(1, 8),
    st.integers(60, 6 * 3600),
    st.sampled_from([(), ("hyperscaler",), ("tier3", "neocloud")]),
    st.none() | st.integers(1, 5 * USD),
)
caps = st.none() | st.integers(0, 120 * USD) | st.sampled_from([0, 25 * USD])
key_numbers = st.integers(0, len(THRESHOLDS) - 1)


class BudgetMachine(RuleBasedStateMachine):
    """A control plane of its own for each sequence."""

    accepted = Bundle("accepted")

    def __init__(self, url: str) -> None:
        super().__init__()
        self.control_plane = ControlPlane(url, clock=ManualClock(), seed=7)
        self.models: list[Key] = []
        self.records: list[KeyRecord] = []
        self.api_keys: list[str] = []
        self.owners: dict[str, int] = {}
        self.open: dict[str, Job] = {}
        self.outages: set[str] = set()
        self.submissions = 0
        self.before: list[int] = []
        self.months: set[tuple[int, int]] = set()

    @initialize(first=caps, second=st.integers(1, 100 * USD))
    def mint(self, first: int | None, second: int) -> None:
        """Two keys of one customer, with thresholds of their own."""
        for cap, threshold in zip((first, second), THRESHOLDS, strict=True):
            minted = self.control_plane.keys.mint(
                customer_id="acme",
                label="",
                principal_kind=PrincipalKind.AGENT,
                now=self.now,
                monthly_cap=cap,
                is_test=True,
                threshold=threshold,
            )
            self.api_keys.append(minted.api_key)
            self.models.append(Key(cap, Fraction(str(threshold))))
            self.before.append(0)

    @rule(target=accepted, number=key_numbers, job=jobs, share=st.floats(0, 1.2), outcome=st.booleans())
    def submit(self, number: int, job: Job, share: float, outcome: bool) -> Any:
        """A job is accepted exactly where it fits."""
        model, now = self.models[number], self.now
        self.submissions += 1
        needed = reservation(job, self.outages)
        submitted = self._try(number, job, f"job {self.submissions}", share, outcome)
        if isinstance(submitted, BudgetExceeded):
            assert (submitted.estimated, submitted.figures.month_to_date) == (needed, model.month_to_date(now))
            assert not model.fits(submitted.estimated, now)
            model.refuse(submitted.estimated, now)
            return multiple()
        if isinstance(submitted, Exception):
            codes: dict[type[Exception], str] = {NoSupplier: "no_supplier", MaxCostTooLow: "max_cost_too_low"}
            assert codes[type(submitted)] == needed
            return multiple()
        assert isinstance(needed, int)
        assert submitted.job.reserved == needed
        assert model.fits(needed, now)
        model.accept(submitted.job.id, needed, now)
        self.owners[submitted.job.id] = number
        self.open[submitted.job.id] = job
        return (submitted.job.id, number, job, f"job {self.submissions}", share, outcome)

    @rule(target=accepted, number=key_numbers, job=jobs, short=st.integers(0, 1))
    def submit_at_the_cap(self, number: int, job: Job, short: int) -> Any:
        """What fits to the micro-dollar fits, and a micro-dollar less is too little."""
        self._set_cap(number, max(0, self.models[number].month_to_date(self.now) + self._needed(job) - short))
        return self.submit(number, job, 0.5, True)

    @rule(target=accepted, number=key_numbers, job=jobs, more=st.integers(0, 3))
    def submit_at_the_threshold(self, number: int, job: Job, more: int) -> Any:
        """To the micro-dollar too."""
        reached = self.models[number].month_to_date(self.now) + self._needed(job)
        self._set_cap(number, int(reached / self.models[number].threshold) + more)
        return self.submit(number, job, 0.5, True)

    @rule(earlier=accepted)
    def submit_again(self, earlier: Any) -> None:
        """The same submission is the same job, and reserves nothing."""
        job_id, number, job, name, share, outcome = earlier
        again = self._submit(number, job, name, share, outcome)
        assert (again.job.id, again.replayed) == (job_id, True)

    @rule(earlier=accepted)
    def submit_otherwise(self, earlier: Any) -> None:
        """Another spec under the same idempotency key reserves nothing either."""
        _, number, (gpu, count, seconds, tiers, ceiling), name, share, outcome = earlier
        try:
            self._submit(number, (gpu, count, seconds + 1, tiers, ceiling), name, share, outcome)
        except IdempotencyKeyReused:
            return
        raise AssertionError("it was accepted")

    @rule(earlier=accepted)
    def cancel(self, earlier: Any) -> None:
        """Whatever state it is in."""
        job_id, number = earlier[:2]
        self.control_plane.jobs.request_cancel(self._key(number), job_id, self.now)

    @rule(seconds=st.integers(0, 3 * 3600))
    def wait(self, seconds: int) -> None:
        """Jobs are placed, run and end."""
        self.control_plane.advance(seconds)

    @rule(left_ms=st.integers(0, 3 * 3_600_000) | st.just(0))
    def wait_for_the_end_of_the_month(self, left_ms: int) -> None:
        """Or until little is left of it, so that jobs run on into the next."""
        left = month_at(self.now).end - self.now
        self.control_plane.advance(max(0, left - left_ms) / 1000)

    @rule(supplier=st.sampled_from(sorted(SUPPLIERS)), on=st.booleans())
    def outage(self, supplier: str, on: bool) -> None:
        """What runs there fails over, or ends."""
        self.control_plane.set_outage(supplier, on=on)
        (self.outages.add if on else self.outages.discard)(supplier)

    @rule(number=key_numbers, cap=caps)
    def set_cap(self, number: int, cap: int | None) -> None:
        """Above or below what is spent already."""
        self._set_cap(number, cap)
        self.control_plane.advance(0)

    @invariant()
    def the_figures_are_the_models(self) -> None:
        """Spent is the sum of what settled, in flight is the sum of what is open, and nobody goes past a cap."""
        self._settle()
        self.months.add(budget_model.month(self.now))
        for number, model in enumerate(self.models):
            figures = self.control_plane.keys.budget(self._key(number).id, self.now)
            assert figures.cap == model.cap
            assert figures.realised == model.spent.get(budget_model.month(self.now), 0)
            assert figures.in_flight == sum(model.reserved.values())
            if model.cap is not None:
                # A cap that was lowered afterwards lets run what was accepted under the one before, and nothing more.
                assert figures.month_to_date <= max(model.cap, self.before[number])
            self.before[number] = figures.month_to_date

    def teardown(self) -> None:
        """In the end the ledger says the same, and each threshold and refusal was told once."""
        try:
            if self.models:
                self._settle()
                self._let_all_end()
                report = verify(self.control_plane.database)
                assert report.faults == []
                told = self._told()
                for number, model in enumerate(self.models):
                    key_id = self._key(number).id
                    # A job that is placed later, for more than was reserved for it, may reach it too.
                    reached = told[key_id, "budget.threshold_reached"]
                    assert len(model.told) <= reached <= len(self.months)
                    assert told[key_id, "budget.exceeded"] == model.recorded
        finally:
            self.control_plane.close()

    def _let_all_end(self) -> None:
        """No job is lost: with enough budget, and nobody out, each ends."""
        for supplier in sorted(self.outages):
            self.control_plane.set_outage(supplier, on=False)
        for number in range(len(self.models)):
            self.set_cap(number, None)
        for _ in range(20):
            self.control_plane.advance(24 * 3600)
            self.months.add(budget_model.month(self.now))
            self._settle()
        assert self.open == {}

    def _set_cap(self, number: int, cap: int | None) -> None:
        """Let nobody be placed in between: what is reserved would not be what was added up."""
        self.control_plane.keys.set_cap(self._key(number).id, cap, self.now)
        self.models[number].cap = cap

    def _needed(self, job: Job) -> int:
        needed = reservation(job, self.outages)
        return needed if isinstance(needed, int) else 0

    @property
    def now(self) -> int:
        """The control plane's time."""
        return self.control_plane.clock.now()

    def _key(self, number: int) -> KeyRecord:
        key = self.control_plane.keys.find(self.api_keys[number])
        assert key is not None
        return key

    def _try(self, number: int, job: Job, name: str, share: float, outcome: bool) -> Submitted | Exception:
        try:
            return self._submit(number, job, name, share, outcome)
        except (NoSupplier, MaxCostTooLow, BudgetExceeded) as exc:
            return exc

    def _submit(self, number: int, job: Job, name: str, share: float, outcome: bool) -> Submitted:
        gpu, gpu_count, seconds, tiers, ceiling = job
        spec = parse_spec(
            {
                "image": "ghcr.io/acme/train:v3",
                "gpu": gpu,
                "gpu_count": gpu_count,
                "max_runtime_seconds": seconds,
                "require_tiers": list(tiers),
                "max_cost_usd": None if ceiling is None else ceiling / USD,
                "env": {
                    "NODUS_SIM_DURATION_SECONDS": f"{share * seconds:.3f}",
                    "NODUS_SIM_OUTCOME": "completed" if outcome else "failed",
                },
            }
        )
        return self.control_plane.jobs.submit(self._key(number), spec, name, self.now)

    def _settle(self) -> None:
        """Let the model know which jobs have ended, where and when; what they cost it works out by itself."""
        for job_id, job in list(self.open.items()):
            view = self.control_plane.jobs.get("acme", job_id)
            if view.finished_at is None:
                self._follow(job_id, job, view)
                continue
            amount = 0
            if view.started_at is not None:
                ran_ms = min(view.finished_at - view.started_at, job[2] * 1000)
                rate = budget_model.rates(job[0], job[3])[str(view.supplier)]
                amount = budget_model.cost(rate, job[1], ran_ms)
                if job[4] is not None and amount > job[4]:
                    # It was stopped, or not charged further, where a millisecond more would pass its ceiling.
                    assert view.cost is not None
                    assert view.cost <= job[4] < budget_model.cost(rate, job[1], (view.duration_ms or 0) + 1)
                    amount = view.cost
                assert amount <= budget_model.at_most(job, rate) == view.reserved
            assert amount == view.cost
            self.models[self.owners[job_id]].settle(job_id, view.finished_at, amount)
            del self.open[job_id]

    def _follow(self, job_id: str, job: Job, view: JobRecord) -> None:
        """Let the model know what is reserved: for the placement, or nothing while the job waits for budget."""
        if view.rate is not None:
            assert view.reserved == budget_model.at_most(job, view.rate)
        elif view.phase == "waiting_for_budget":
            assert view.reserved == 0
        self.models[self.owners[job_id]].reserved[job_id] = view.reserved

    def _told(self) -> Counter[tuple[str | None, str]]:
        found: Counter[tuple[str | None, str]] = Counter()
        after = 0
        while True:
            page = self.control_plane.trust_ledger.entries("acme", job_id=None, after=after, limit=1000)
            found.update((entry.key_id, entry.kind) for entry in page.entries)
            if page.next_after is None:
                return found
            after = page.next_after
