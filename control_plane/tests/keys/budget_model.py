"""A plain model of budgets: what is accepted, reserved and spent, from the price list and the calendar alone."""

from __future__ import annotations

import json
import math
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

_DATA = json.loads(Path(__file__).parents[1].joinpath("suppliers.json").read_text(encoding="utf-8"))
_HOUR_MS = 3_600_000

SUPPLIERS: dict[str, dict[str, Any]] = {supplier["name"]: supplier for supplier in _DATA["suppliers"]}
Job = tuple[str, int, int, tuple[str, ...], "int | None"]
"""GPU, how many, `max_runtime_seconds`, tiers, the ceiling in micro-USD."""


def rates(gpu: str, tiers: tuple[str, ...]) -> dict[str, int]:
    """The micro-USD per GPU-hour of every supplier that may take a job."""
    return {
        name: micros(supplier["usd_per_gpu_hour"][gpu]["price"])
        for name, supplier in SUPPLIERS.items()
        if (not tiers or supplier["kind"] in tiers) and supplier["usd_per_gpu_hour"].get(gpu) is not None
    }


def micros(amount_usd: float) -> int:
    """An amount of the price list in micro-USD, exactly."""
    return int(Fraction(str(amount_usd)) * 1_000_000)


def cost(rate: int, gpu_count: int, milliseconds: int) -> int:
    """What a run costs, in micro-USD, rounded half up."""
    exact = Fraction(rate * gpu_count * milliseconds, _HOUR_MS)
    return int(exact + Fraction(1, 2))


def month(milliseconds: int) -> tuple[int, int]:
    """The calendar month of a time."""
    at = datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    return at.year, at.month


@dataclass
class Key:
    """One key: its cap, its open reservations by job, what it spent in each month."""

    cap: int | None
    threshold: Fraction
    reserved: dict[str, int] = field(default_factory=dict)
    """As it was last, by job: it follows each placement."""

    spent: dict[tuple[int, int], int] = field(default_factory=dict)
    told: set[tuple[int, int]] = field(default_factory=set)
    recorded: int = 0
    last_recorded: dict[int, int] = field(default_factory=dict)

    def month_to_date(self, now: int) -> int:
        """What counts against the cap."""
        return self.spent.get(month(now), 0) + sum(self.reserved.values())

    def fits(self, amount: int, now: int) -> bool:
        """Whether so much may be reserved."""
        return self.cap is None or self.month_to_date(now) + amount <= self.cap

    def accept(self, job_id: str, amount: int, now: int) -> None:
        """Reserve what a job can cost at most where it goes."""
        self.reserved[job_id] = amount
        if self.cap is not None and self.month_to_date(now) >= self.threshold * self.cap:
            self.told.add(month(now))

    def refuse(self, amount: int, now: int) -> None:
        """Refuse to reserve an amount, which is on record at most once a minute."""
        if now >= self.last_recorded.get(amount, now - 60_000) + 60_000:
            self.recorded += 1
            self.last_recorded[amount] = now

    def settle(self, job_id: str, finished_at: int, amount: int) -> None:
        """Turn a reservation into spend."""
        del self.reserved[job_id]
        self.spent[month(finished_at)] = self.spent.get(month(finished_at), 0) + amount


def reservation(job: Job, outages: Set[str] = frozenset()) -> int | str:
    """What a job can cost at most at the cheapest supplier that may take it; or with which code it is refused."""
    gpu, gpu_count, _, tiers, ceiling = job
    there = [rate for name, rate in rates(gpu, tiers).items() if name not in outages]
    if not there:
        return "no_supplier"
    within = [rate for rate in there if ceiling is None or cost(rate, gpu_count, 60_000) <= ceiling]
    return at_most(job, min(within)) if within else "max_cost_too_low"


def at_most(job: Job, rate: int) -> int:
    """What a job can cost at a price: rounded up, or its ceiling."""
    _, gpu_count, seconds, _, ceiling = job
    whole = math.ceil(Fraction(rate * gpu_count * seconds, 3600))
    return whole if ceiling is None else min(whole, ceiling)
