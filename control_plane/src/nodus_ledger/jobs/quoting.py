"""What a submission would meet now: pure, from what is read for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nodus_core.admission import Admission, Refusal, admit
from nodus_core.catalogue import Offer
from nodus_core.largest_fitting import LargestFitting, largest_fitting
from nodus_core.money import cost_micros
from nodus_core.routing import OVER_BUDGET, Requirements

from ..errors import BudgetExceeded, BudgetFigures, MaxCostTooLow, NoSupplier


@dataclass(frozen=True, slots=True)
class AdmissionQuestion:
    """What decides on a submission: all offers of its GPU model, and how things stand."""

    offers: tuple[Offer, ...]
    requirements: Requirements

    def admission(self) -> Admission:
        """Decide on it."""
        return admit(self.offers, self.requirements)

    def largest_fitting(self, headroom: int | None) -> LargestFitting:
        """Return what of it would fit a key that has so much left, in micro-USD."""
        return largest_fitting(self.offers, replace(self.requirements, headroom_micros=headroom))


def require_admission(question: AdmissionQuestion, month: BudgetFigures | None) -> Admission:
    """Decide on a submission, and accept it.

    Raises:
        BudgetExceeded, MaxCostTooLow, NoSupplier: it is not accepted.
    """
    admitted = question.admission()
    if admitted.refusal is Refusal.OVER_BUDGET:
        assert month is not None  # there is no headroom without a cap
        raise BudgetExceeded(admitted.reserved, month)
    if admitted.refusal is Refusal.OVER_MAX_COST:
        assert admitted.cheapest_minute is not None
        fitting = question.largest_fitting(None if month is None else month.headroom)
        raise MaxCostTooLow(admitted.cheapest_minute, fitting)
    if admitted.refusal is Refusal.NO_SUPPLIER:
        raise NoSupplier
    return admitted


@dataclass(frozen=True, slots=True)
class Quoted:
    """What a submission would meet.

    Attributes:
        admission: the decision on it.
        requirements: what it was made of.
        offer: whose price the estimate has: the one it would go to, or wait for; where the budget refuses it, the one
            that would take the least; None where all suppliers are out.
        retail: what it would cost at most at the cheapest hyperscaler, in micro-USD; None where none has it.
        headroom: what the key has left, in micro-USD; None for no cap.
        largest_fitting: what would fit that; None where the whole fits, or no supplier is there for any of it.
    """

    admission: Admission
    requirements: Requirements
    offer: Offer | None
    retail: int | None
    headroom: int | None
    largest_fitting: LargestFitting | None

    @classmethod
    def of(cls, question: AdmissionQuestion, month: BudgetFigures | None, retail_rate: int | None) -> Quoted:
        """Answer a question.

        Args:
            question: what would be submitted.
            month: of the key, if it has a cap.
            retail_rate: the price of the cheapest hyperscaler, in micro-USD per GPU-hour, or None.

        Raises:
            MaxCostTooLow: as for a submission.
        """
        requirements, headroom = question.requirements, None if month is None else month.headroom
        offer, fitting = None, None
        try:
            admission = require_admission(question, month)
            offer = admission.offer
        except BudgetExceeded:
            admission = question.admission()
            offer = _least(admission, requirements)
            fitting = question.largest_fitting(headroom)
        except NoSupplier:
            admission = question.admission()
        milliseconds = requirements.max_runtime_seconds * 1000
        retail = None
        if offer is not None and retail_rate is not None:
            retail = cost_micros(retail_rate, requirements.gpu_count, milliseconds)
        return cls(admission, requirements, offer, retail, headroom, fitting)

    @property
    def fits(self) -> bool:
        """Whether it would be accepted."""
        return self.admission.refusal is None

    @property
    def estimated(self) -> int | None:
        """What would be reserved, in micro-USD; None where all suppliers are out."""
        return None if self.offer is None else self.requirements.reservation(self.offer)


def _least(admission: Admission, requirements: Requirements) -> Offer | None:
    over = [each.offer for each in admission.decision.candidates if each.rejected == OVER_BUDGET]
    return min(over, key=lambda offer: (requirements.reservation(offer), offer.micros_per_gpu_hour, offer.location))
