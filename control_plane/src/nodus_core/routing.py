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
from .suppliers_file import SupplierKind

NOT_OFFERED = ("tier_not_allowed", "too_few_gpus")
"""The rejections that no change at a supplier lifts, while the suppliers stay what they are."""

CANNOT_RUN = "cannot_run"
"""The rejection of a supplier that can never run the job: not what it is, or not for its customer."""

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
        ceiling_micros: the reserved rate per GPU-hour, above which nothing is picked; None for no limit.
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
    ceiling_micros: int | None = None
    drained: frozenset[str] = frozenset()
    unreachable: frozenset[str] = frozenset()
    lost_before: frozenset[Location] = frozenset()
    resting: frozenset[Location] = frozenset()
    full: frozenset[str] = frozenset()
    cannot_run: frozenset[str] = frozenset()


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


@lru_cache(maxsize=1024)
def decide(offers: tuple[Offer, ...], requirements: Requirements) -> Decision:
    """Judge every offer, and choose the best one that is not rejected; the same question always has the same answer."""
    judged = _judge(offers, requirements)
    if requirements.lost_before and not _is_any_left(offers, requirements):
        requirements = replace(requirements, lost_before=frozenset())
        judged = _judge(offers, requirements)
    best = judged[0] if judged else None
    chosen = best.offer if best is not None and best.rejected is None and best.has_room else None
    may_wait = chosen is None and _is_any_left(offers, requirements)
    return Decision(chosen, judged, may_wait)


def eligible(offers: Sequence[Offer], require_tiers: Sequence[str], gpu_count: int = 1) -> list[Offer]:
    """Return the offers that pass the hard filters, outages or not."""
    return [offer for offer in offers if _allowed(offer.kind, require_tiers) and _has(offer, gpu_count)]


def ceiling_micros(offers: Sequence[Offer], require_tiers: Sequence[str], gpu_count: int = 1) -> int | None:
    """Return the highest eligible rate, which a reservation is made of; None where nobody offers this."""
    return max((offer.micros_per_gpu_hour for offer in eligible(offers, require_tiers, gpu_count)), default=None)


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


def _is_any_left(offers: Sequence[Offer], requirements: Requirements) -> bool:
    """Say whether there is an offer to take, or to wait for because it is rejected for a while only."""
    none: frozenset[str] = frozenset()
    in_the_end = replace(requirements, drained=none, unreachable=none, resting=frozenset())
    return any(_rejection(offer, in_the_end) is None for offer in offers)


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
        return "outage"
    if offer.supplier in requirements.drained:
        return "drained"
    if offer.supplier in requirements.unreachable:
        return "unreachable"
    if offer.location in requirements.lost or offer.location in requirements.lost_before:
        return "already_lost"
    if offer.location in requirements.refused or offer.location in requirements.resting:
        return "no_capacity"
    if requirements.ceiling_micros is not None and offer.micros_per_gpu_hour > requirements.ceiling_micros:
        return "above_reserved_rate"
    return None


def _allowed(kind: SupplierKind, require_tiers: Sequence[str]) -> bool:
    return not require_tiers or kind.value in require_tiers


def _has(offer: Offer, gpu_count: int) -> bool:
    """Say whether there are so many GPUs, free or not."""
    return offer.gpus is None or offer.gpus >= gpu_count


def _in_region(region: str, preferred: str) -> bool:
    return f"{region}-".casefold().startswith(f"{preferred}-".casefold())


def _tie(offer: Offer) -> tuple[int, str, str]:
    return (offer.micros_per_gpu_hour, offer.supplier, offer.region)
