"""What a waiting job can be given, as far as that is the same for many: pure functions.

Jobs of one customer that can go to the same suppliers wait in one queue, in the order of their submission, so that who
looks for the next one reads one job of each queue, however many wait in it. The queue's name says all that they share.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import Protocol

from nodus_core.catalogue import Catalogue, Offer
from nodus_core.ceilings import first_minute_micros
from nodus_core.routing import Location, Requirements
from nodus_core.spec import JobSpec

from ..database.rows import JobRecord
from . import outcomes

WAITING_FOR_CAPACITY = "waiting_for_capacity"
"""The phase of a queued job that could go somewhere if there were room."""

WAITS_NO_MORE: dict[str, None] = dict.fromkeys(
    ("waiting_since", "waiting_in", "passed_over_at", "reserves", "budget_needs", "phase", "phase_detail")
)
"""What the row of a job says that has been placed."""

RESTS_MS: Sequence[int] = (15_000, 60_000, 240_000, 600_000)
"""How long a place that could not begin a job is left alone: after the first time, the second, and so on; then always
as long as after the last."""

_NOT_BEGUN = (outcomes.REFUSED, outcomes.NOT_STARTED)


@dataclass(frozen=True, slots=True)
class ClosedAttempt:
    """An attempt that is over: where it was, how it ended, and when (Unix milliseconds)."""

    supplier: str
    region: str
    outcome: str
    ended_at: int

    @property
    def location(self) -> Location:
        """Where it was."""
        return (self.supplier, self.region)


class Asking(Protocol):
    """What is asked for by one job that wants the same as others: its spec, or its row."""

    @property
    def gpu_count(self) -> int: ...

    @property
    def prefer_region(self) -> str | None: ...

    @property
    def max_runtime_seconds(self) -> int: ...

    @property
    def max_cost_micros(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How things stand for every job: the names of suppliers that are out, drained or unreachable."""

    outages: frozenset[str] = frozenset()
    drained: frozenset[str] = frozenset()
    unreachable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Wants:
    """What decides where a job can go, but for how things stand.

    Attributes:
        customer: whose it is.
        simulated: whether it is, as its row says.
        gpu_count: how many GPUs it needs.
        tiers: only suppliers of these kinds; empty for any.
        ceiling: what its first minute may cost, as far as that rules any offer out: the most that it costs where it is
            within the job's own ceiling. None where no offer is ruled out.
        lost: where it was lost, and how often.
        refused: where it was refused, for good.
        resting: where it could not be begun a short while ago.
        unable: suppliers that can never run it.
    """

    customer: str
    simulated: bool | None
    gpu_count: int
    tiers: tuple[str, ...]
    ceiling: int | None = None
    lost: tuple[tuple[str, str, int], ...] = ()
    refused: tuple[Location, ...] = ()
    resting: tuple[Location, ...] = ()
    unable: tuple[str, ...] = ()

    @property
    def queue(self) -> str:
        """The name of the queue."""
        return json.dumps(astuple(self), separators=(",", ":"))

    def requirements(
        self,
        catalogue: Catalogue,
        circumstances: Circumstances,
        *,
        job: Asking | None = None,
        full: Collection[str] = (),
        anothers: frozenset[str] = frozenset(),
    ) -> Requirements:
        """Return what the router asks for.

        Args:
            catalogue: what suppliers there are.
            circumstances: how things stand for all jobs.
            job: which of those that want the same; without, only what is the same for all of them is asked for.
            full: the suppliers that have no room for it now.
            anothers: those that belong to another customer.
        """
        again = {
            (name, region): count <= supplier.retry_after_loss
            for name, region, count in self.lost
            if (supplier := catalogue.suppliers.get(name)) is not None
        }
        return Requirements(
            require_tiers=self.tiers,
            prefer_region=None if job is None else job.prefer_region,
            max_runtime_seconds=0 if job is None else job.max_runtime_seconds,
            max_cost_micros=self.ceiling if job is None else job.max_cost_micros,
            outages=circumstances.outages,
            lost=frozenset(place for place, may_be in again.items() if not may_be),
            refused=frozenset(self.refused),
            gpu_count=self.gpu_count,
            drained=circumstances.drained,
            unreachable=circumstances.unreachable,
            lost_before=frozenset(place for place, may_be in again.items() if may_be),
            resting=frozenset(self.resting),
            full=frozenset(full),
            cannot_run=anothers.union(self.unable),
        )


def detail_of(wants: Wants) -> str | None:
    """Say what its customer is told of a waiting job: which suppliers could not begin it a short while ago."""
    names = sorted({supplier for supplier, _ in wants.resting})
    return f"Could not be begun at {', '.join(names)}, which will be tried again." if names else None


@lru_cache(maxsize=4096)
def of_queue(name: str) -> Wants:
    """Read what the jobs of a queue want from its name."""
    customer, simulated, gpu_count, tiers, ceiling, lost, refused, resting, unable = json.loads(name)
    return Wants(
        customer,
        simulated,
        gpu_count,
        tuple(tiers),
        ceiling,
        tuple((supplier, region, count) for supplier, region, count in lost),
        tuple((supplier, region) for supplier, region in refused),
        tuple((supplier, region) for supplier, region in resting),
        tuple(unable),
    )


def ceiling_of(job: Asking, offers: Sequence[Offer]) -> int | None:
    """Return the most that a first minute costs, of the offers where that is within a job's ceiling.

    None where it is within it everywhere. Jobs with other ceilings, but the same offers within them, want the same.
    """
    if job.max_cost_micros is None:
        return None
    minutes = {first_minute_micros(offer.micros_per_gpu_hour, job.gpu_count) for offer in offers}
    within = {minute for minute in minutes if minute <= job.max_cost_micros}
    return None if within == minutes else max(within, default=0)


def of_new_job(
    customer_id: str, spec: JobSpec, offers: Sequence[Offer], *, simulated: bool, unable: tuple[str, ...] = ()
) -> Wants:
    """Say what a job wants that is being submitted.

    `offers` are those of its GPU model, and `unable` are the suppliers that can never run it.
    """
    return Wants(customer_id, simulated, spec.gpu_count, spec.require_tiers, ceiling_of(spec, offers), unable=unable)


def of_job(
    job: JobRecord,
    history: Sequence[ClosedAttempt],
    catalogue: Catalogue,
    now: int,
    unable: tuple[str, ...] = (),
) -> tuple[Wants, int | None]:
    """Say what a job wants, and when that changes by itself, in Unix milliseconds; None for never.

    A simulated supplier that refuses does so for good; another is asked again after a while. `unable` are the suppliers
    that can never run it.
    """
    lost = Counter(attempt.location for attempt in history if attempt.outcome in outcomes.GONE)
    failures: Counter[Location] = Counter()
    latest: dict[Location, int] = {}
    refused: set[Location] = set()
    for attempt in history:
        if attempt.outcome not in _NOT_BEGUN:
            continue
        supplier = catalogue.suppliers.get(attempt.supplier)
        if attempt.outcome == outcomes.REFUSED and supplier is not None and supplier.is_simulated:
            refused.add(attempt.location)
        else:
            failures[attempt.location] += 1
            latest[attempt.location] = max(attempt.ended_at, latest.get(attempt.location, 0))
    ends = {place: at + _rest_ms(failures[place]) for place, at in latest.items()}
    resting = {place: end for place, end in ends.items() if end > now}
    wants = Wants(
        job.customer_id,
        job.simulated,
        job.gpu_count,
        job.tiers,
        ceiling_of(job, catalogue.offers_for(job.gpu, simulated=job.is_simulated)),
        tuple(sorted((*place, count) for place, count in lost.items())),
        tuple(sorted(refused)),
        tuple(sorted(resting)),
        unable,
    )
    return wants, min(resting.values(), default=None)


def _rest_ms(failures: int) -> int:
    return RESTS_MS[min(failures, len(RESTS_MS)) - 1]
