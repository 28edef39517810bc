"""Where a job goes, and why it does not go elsewhere: pure scoring of every offer.

The score is the lowest price among the offers that are eligible (their tier is allowed, and they have enough GPUs)
divided by this offer's, so that the cheapest of them scores 1, times a nudge if the region is the preferred one. Of
those that are not rejected what has room now comes before what is full; ties go to the lower price, then to the name
that sorts first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from .catalogue import Offer
from .ceilings import first_minute_micros, reservation_micros
from .suppliers_file import SupplierKind

NOT_OFFERED = ("tier_not_allowed", "too_few_gpus")
"""The rejections that no change at a supplier lifts, while the suppliers stay what they are."""

CANNOT_RUN = "cannot_run"
"""The rejection of a supplier that can never run the job: not what it is, or not for its customer."""

OUTAGE = "outage"
OVER_MAX_COST = "over_max_cost"
"""The rejection of an offer whose first minute costs more than the job's ceiling."""

OVER_BUDGET = "over_budget"
"""The rejection of an offer that takes a larger reservation than the key's month has room for."""

REJECTIONS = (
    *NOT_OFFERED,
    CANNOT_RUN,
    OUTAGE,
    "drained",
    "unreachable",
    "already_lost",
    "no_capacity",
    OVER_MAX_COST,
    OVER_BUDGET,
)
"""Every reason for which an offer can be rejected; of those that hold the first is named."""

REGION_NUDGE = 1.1
"""How much better an offer in the preferred region scores: it wins over one that is up to a tenth cheaper."""

Location = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Requirements:
    """A job's requirements for its placement, and how things stand.

    Attributes:
        require_tiers: only suppliers of these kinds; empty for any.
        gpu_count: how many GPUs it needs, at one supplier.
        prefer_region: a region, or the start of one (`eu`, `us-east`), in any case.
        outages: names of suppliers that are out.
        lost: places where this job has been lost, as often as it is tried there.
        refused: places that had no room for this job, and are not asked again.
        max_runtime_seconds: how long it may run, which its reservation is made of.
        max_cost_micros: the ceiling of its cost; None for none.
        headroom_micros: the most that can be reserved for it, what already is included; None for any amount.
        drained: names of suppliers that are given nothing new.
        unreachable: names of suppliers that nobody can ask now.
        lost_before: places where it has been lost, and is tried again where no other candidate is left.
        resting: places that could not begin it a short while ago, and are asked again later.
        full: names of suppliers that have no room for it now.
        cannot_run: names of suppliers that can never run it.
    """

    require_tiers: tuple[str, ...] = ()
    gpu_count: int = 1
    prefer_region: str | None = None
    outages: frozenset[str] = frozenset()
    lost: frozenset[Location] = frozenset()
    refused: frozenset[Location] = frozenset()
    max_runtime_seconds: int = 0
    max_cost_micros: int | None = None
    headroom_micros: int | None = None
    drained: frozenset[str] = frozenset()
    unreachable: frozenset[str] = frozenset()
    lost_before: frozenset[Location] = frozenset()
    resting: frozenset[Location] = frozenset()
    full: frozenset[str] = frozenset()
    cannot_run: frozenset[str] = frozenset()

    def reservation(self, offer: Offer) -> int:
        """Return what is reserved for a placement at an offer, in micro-USD."""
        return reservation_micros(
            offer.micros_per_gpu_hour, self.gpu_count, self.max_runtime_seconds, self.max_cost_micros
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """An offer as it was judged: `rejected` is the reason, or None for one that could be chosen if it has room."""

    offer: Offer
    score: float
    rejected: str | None
    has_room: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """The candidates, best first, and the one that was chosen.

    Where none was, `may_wait` says whether one of them may be later: it is full, or is rejected for a while only.
    """

    chosen: Offer | None
    candidates: tuple[Candidate, ...]
    may_wait: bool = False
    requirements: Requirements = Requirements()

    @property
    def waits_for_budget(self) -> bool:
        """Whether the budget alone forbids what has room, and nothing within it is merely full."""
        return self.chosen is None and self._is_over_budget and all(each.rejected for each in self.candidates)

    @property
    def _is_over_budget(self) -> bool:
        return any(each.rejected == OVER_BUDGET for each in self.candidates)


@lru_cache(maxsize=1024)
def decide(offers: tuple[Offer, ...], requirements: Requirements) -> Decision:
    """Judge every offer, and choose the best one that is not rejected; the same question always has the same answer."""
    in_force = _in_force(offers, requirements)
    judged = _judge(offers, in_force)
    best = judged[0] if judged else None
    chosen = best.offer if best is not None and best.rejected is None and best.has_room else None
    may_wait = chosen is None and _is_any_left(offers, in_force)
    return Decision(chosen, judged, may_wait, requirements)


def least_needed(decision: Decision) -> int | None:
    """Return the least reservation with which a job could go somewhere, some day, in micro-USD; None for nowhere.

    Suppliers may be full, out, drained, unreachable or resting now.
    """
    offers = [each.offer for each in decision.candidates]
    some_day = replace(_in_the_end(_in_force(offers, decision.requirements)), outages=frozenset())
    return min((some_day.reservation(each) for each in offers if _rejection(each, some_day) is None), default=None)


def least_over_budget(decision: Decision) -> int | None:
    """Return the least reservation with which a job could go somewhere now, if only its budget allowed it.

    In micro-USD; None where no offer is rejected for the budget. It may be more than
    `least_needed`: a cheaper supplier may be out.
    """
    over = [each.offer for each in decision.candidates if each.rejected == OVER_BUDGET]
    return min(map(decision.requirements.reservation, over), default=None)


def eligible(offers: Sequence[Offer], require_tiers: Sequence[str], gpu_count: int = 1) -> list[Offer]:
    """Return the offers that pass the hard filters, outages or not."""
    return [offer for offer in offers if _allowed(offer.kind, require_tiers) and _has(offer, gpu_count)]


def _judge(offers: Sequence[Offer], requirements: Requirements) -> tuple[Candidate, ...]:
    possible = eligible(offers, requirements.require_tiers, requirements.gpu_count)
    cheapest = min((offer.micros_per_gpu_hour for offer in possible), default=0)
    without_room = requirements.full | requirements.unreachable
    judged = [
        Candidate(
            offer,
            _score(offer, cheapest, requirements),
            _rejection(offer, requirements),
            offer.supplier not in without_room,
        )
        for offer in offers
    ]
    judged.sort(
        key=lambda each: (each.rejected is not None, not each.has_room, -each.score, *_tie(each.offer)),
    )
    return tuple(judged)


def _in_force(offers: Sequence[Offer], requirements: Requirements) -> Requirements:
    """Take places that lost the job into account again where no other candidate is left."""
    if requirements.lost_before and not _is_any_left(offers, requirements):
        return replace(requirements, lost_before=frozenset())
    return requirements


def _is_any_left(offers: Sequence[Offer], requirements: Requirements) -> bool:
    """Say whether there is an offer to take, or to wait for because it is rejected for a while only."""
    in_the_end = _in_the_end(requirements)
    return any(_rejection(offer, in_the_end) is None for offer in offers)


def _in_the_end(requirements: Requirements) -> Requirements:
    """Leave out what stands in the way for a while only."""
    none: frozenset[str] = frozenset()
    return replace(requirements, drained=none, unreachable=none, resting=frozenset(), headroom_micros=None)


def _score(offer: Offer, cheapest: int, requirements: Requirements) -> float:
    price_score = cheapest / offer.micros_per_gpu_hour if offer.micros_per_gpu_hour else 1.0
    nudge = REGION_NUDGE if requirements.prefer_region and _in_region(offer.region, requirements.prefer_region) else 1.0
    return round(price_score * nudge, 6)


def _rejection(offer: Offer, requirements: Requirements) -> str | None:
    if not _allowed(offer.kind, requirements.require_tiers):
        return "tier_not_allowed"
    if not _has(offer, requirements.gpu_count):
        return "too_few_gpus"
    if offer.supplier in requirements.cannot_run:
        return CANNOT_RUN
    if offer.supplier in requirements.outages:
        return OUTAGE
    if offer.supplier in requirements.drained:
        return "drained"
    if offer.supplier in requirements.unreachable:
        return "unreachable"
    if offer.location in requirements.lost or offer.location in requirements.lost_before:
        return "already_lost"
    if offer.location in requirements.refused or offer.location in requirements.resting:
        return "no_capacity"
    if _is_past_its_ceiling(offer, requirements):
        return OVER_MAX_COST
    if requirements.headroom_micros is not None and requirements.reservation(offer) > requirements.headroom_micros:
        return OVER_BUDGET
    return None


def _is_past_its_ceiling(offer: Offer, requirements: Requirements) -> bool:
    ceiling = requirements.max_cost_micros
    return ceiling is not None and first_minute_micros(offer.micros_per_gpu_hour, requirements.gpu_count) > ceiling


def _allowed(kind: SupplierKind, require_tiers: Sequence[str]) -> bool:
    return not require_tiers or kind.value in require_tiers


def _has(offer: Offer, gpu_count: int) -> bool:
    """Say whether there are so many GPUs, free or not."""
    return offer.gpus is None or offer.gpus >= gpu_count


def _in_region(region: str, preferred: str) -> bool:
    return f"{region}-".casefold().startswith(f"{preferred}-".casefold())


def _tie(offer: Offer) -> tuple[int, str, str]:
    return (offer.micros_per_gpu_hour, offer.supplier, offer.region)
