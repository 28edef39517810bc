"""Whether a submission is accepted, and what is reserved for it: a pure decision, from offers and how things stand.

What has room now is decided by the router, and its choice is what is reserved for. Where all that could be taken is
full, the job waits, and the cheapest is reserved for. A submission is refused only where nothing is left that is
neither rejected for its price nor out.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from .catalogue import Offer
from .ceilings import first_minute_micros
from .routing import OVER_BUDGET, OVER_MAX_COST, Decision, Requirements, decide


class Refusal(enum.Enum):
    """Why a submission is not accepted."""

    OVER_BUDGET = "over_budget"
    OVER_MAX_COST = "over_max_cost"
    NO_SUPPLIER = "no_supplier"


@dataclass(frozen=True, slots=True)
class Admission:
    """What becomes of a submission.

    Attributes:
        decision: how the router judged every offer.
        offer: whose price is reserved: the chosen one, or the cheapest of those that are full; None where refused.
        reserved: how much, in micro-USD; where the budget refuses, the least with which it would have been accepted.
        refusal: why it is refused; None where it is accepted.
        cheapest_minute: what the first minute costs where it is cheapest, if that is above the ceiling.
    """

    decision: Decision
    offer: Offer | None = None
    reserved: int = 0
    refusal: Refusal | None = None
    cheapest_minute: int | None = None

    @property
    def rate(self) -> int:
        """The price that is reserved, in micro-USD per GPU-hour."""
        return 0 if self.offer is None else self.offer.micros_per_gpu_hour

    @property
    def would_wait(self) -> bool:
        """Whether it is accepted, and nothing has room for it now."""
        return self.offer is not None and self.decision.chosen is None


def admit(offers: tuple[Offer, ...], requirements: Requirements) -> Admission:
    """Decide on a submission; `offers` are all that there are of its GPU model, and one at least is eligible."""
    # Without the budget the same question is asked again and again, and answered once. What is chosen then is the
    # choice with it too, if it fits.
    headroom = requirements.headroom_micros
    decision = decide(offers, requirements if headroom is None else replace(requirements, headroom_micros=None))
    if headroom is not None and (decision.chosen is None or requirements.reservation(decision.chosen) > headroom):
        decision = decide(offers, requirements)
    if decision.chosen is not None:
        return Admission(decision, decision.chosen, requirements.reservation(decision.chosen))
    # A supplier that is drained, or cannot be asked, may be waited for; but its price is judged all the same.
    none: frozenset[str] = frozenset()
    in_the_end = decide(offers, replace(requirements, drained=none, unreachable=none, resting=frozenset()))
    possible = _rejected(in_the_end, None)
    if possible:
        cheapest = min(possible, key=lambda offer: (offer.micros_per_gpu_hour, offer.location))
        return Admission(decision, cheapest, requirements.reservation(cheapest))
    over_budget = _rejected(in_the_end, OVER_BUDGET)
    if over_budget:
        least = min(requirements.reservation(offer) for offer in over_budget)
        return Admission(decision, reserved=least, refusal=Refusal.OVER_BUDGET)
    too_dear = _rejected(in_the_end, OVER_MAX_COST)
    if too_dear:
        minute = min(first_minute_micros(offer.micros_per_gpu_hour, requirements.gpu_count) for offer in too_dear)
        return Admission(decision, refusal=Refusal.OVER_MAX_COST, cheapest_minute=minute)
    return Admission(decision, refusal=Refusal.NO_SUPPLIER)


def _rejected(decision: Decision, reason: str | None) -> list[Offer]:
    return [each.offer for each in decision.candidates if each.rejected == reason]
