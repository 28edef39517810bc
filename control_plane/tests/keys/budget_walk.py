"""A walk through a ledger in its order, which holds every amount that was ever reserved against the cap just then."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from nodus_control.control_plane import ControlPlane
from nodus_core.times import milliseconds
from nodus_ledger.keys.refusals import PAUSE_MS


@dataclass
class Month:
    """One key, by the rows of the ledger alone."""

    cap: int | None = None
    reserved: dict[str, int] = field(default_factory=dict)
    realised: Counter[str] = field(default_factory=Counter)
    last_reserved: dict[str, str] = field(default_factory=dict)
    last_refused: dict[int, int] = field(default_factory=dict)
    rates: dict[str, int] = field(default_factory=dict)
    dearer: int = 0
    """How often a job that had lost its place went on to a dearer one."""

    def to_date(self, month: str) -> int:
        """What counts against the cap."""
        return self.realised[month] + sum(self.reserved.values())

    def reserve(self, job_id: str, amount: int, at: str) -> None:
        """Reserve another amount for a job: where that is more, all of it must fit."""
        grows = amount > self.reserved.get(job_id, 0)
        self.reserved[job_id] = amount
        self.last_reserved[job_id] = at
        if grows and self.cap is not None:
            assert self.to_date(at[:7]) <= self.cap, f"{job_id} at {at}"

    def place(self, job_id: str, rate: int) -> None:
        """See whether a placement is dearer than the one before."""
        self.dearer += rate > self.rates.get(job_id, rate)
        self.rates[job_id] = rate

    def settle(self, job_id: str, payload: dict[str, Any], at: str) -> None:
        """Turn a reservation into spend."""
        assert payload["cost_micros"] <= payload["released_micros"] == self.reserved.pop(job_id)
        self.realised[max(at, self.last_reserved[job_id])[:7]] += payload["cost_micros"]

    def refuse(self, amount: int, at: str) -> None:
        """Record a refusal, as a ledger does: once a minute for the same amount."""
        before = self.last_refused.get(amount, -PAUSE_MS)
        self.last_refused[amount] = milliseconds(at)
        assert self.last_refused[amount] >= before + PAUSE_MS, f"{amount} at {at}"


def walk(control_plane: ControlPlane, customer_id: str = "acme") -> tuple[Counter[str], dict[str, Month]]:
    """Go through a log; return how many rows of each kind there are, and the keys as they are in the end."""
    counted: Counter[str] = Counter()
    months: dict[str, Month] = {}
    after: int | None = 0
    while after is not None:
        page = control_plane.trust_ledger.entries(customer_id, job_id=None, after=after, limit=1000)
        for entry in page.entries:
            payload: dict[str, Any] = dict(entry.payload)
            counted[entry.kind] += 1
            month = months.setdefault(str(entry.key_id), Month())
            job_id = str(entry.job_id)
            if entry.kind in ("key.minted", "key.cap_set"):
                month.cap = payload["monthly_cap_micros"]
            elif entry.kind in ("job.submitted", "attempt.opened", "job.reservation"):
                month.reserve(job_id, payload["reserved_micros"], entry.at)
                if entry.kind == "attempt.opened":
                    month.place(job_id, payload["micros_per_gpu_hour"])
            elif entry.kind == "job.settled":
                month.settle(job_id, payload, entry.at)
            elif entry.kind == "budget.exceeded":
                figures = payload["realised_micros"], payload["in_flight_micros"]
                assert figures == (month.realised[entry.at[:7]], sum(month.reserved.values()))
                assert sum(figures) + payload["estimated_micros"] > (month.cap or 0)
                month.refuse(payload["estimated_micros"], entry.at)
        after = page.next_after
    return counted, months
