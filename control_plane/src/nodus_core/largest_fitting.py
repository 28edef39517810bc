"""What of a submission would still fit a key's budget: the most GPUs, or the most time, or both. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .catalogue import Offer
from .routing import Requirements, decide
from .spec import GPU_COUNT, MAX_RUNTIME_SECONDS

_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Both:
    """A number of GPUs, and how long they may run."""

    gpu_count: int
    max_runtime_seconds: int


@dataclass(frozen=True, slots=True)
class LargestFitting:
    """The greatest values with which a submission would be accepted.

    Attributes:
        max_runtime_seconds: with all else as asked; None where no value in its range would do.
        gpu_count: likewise.
        both: the most GPUs, at most those that were asked for, with which any time would do, and the most time with
            them; None where there are none.
    """

    max_runtime_seconds: int | None
    gpu_count: int | None
    both: Both | None


def largest_fitting(offers: tuple[Offer, ...], requirements: Requirements) -> LargestFitting:
    """Find what would fit the headroom of the requirements, where these offers are all that there are of the GPU model.

    A submission is accepted where some offer is rejected neither for its price nor for good (`admission.admit`); that
    it may have to wait there does not matter.
    """

    def longest(gpu_count: int) -> int:
        return _longest(offers, replace(requirements, gpu_count=gpu_count))

    least, most = GPU_COUNT
    asked = range(min(requirements.gpu_count, most), least - 1, -1)
    seconds = longest(requirements.gpu_count)
    gpus = _first(range(most, least - 1, -1), lambda count: longest(count) >= requirements.max_runtime_seconds)
    shrunk = _first(asked, lambda count: longest(count) > 0)
    return LargestFitting(
        seconds or None,
        gpus,
        None if shrunk is None else Both(shrunk, longest(shrunk)),
    )


def _longest(offers: tuple[Offer, ...], requirements: Requirements) -> int:
    """Return the most seconds that fit with a number of GPUs; 0 where not even the least do."""
    nobody: frozenset[str] = frozenset()
    # Neither time nor headroom is part of this question, so that it is answered once for many submissions.
    in_the_end = replace(
        requirements,
        drained=nobody,
        unreachable=nobody,
        resting=frozenset(),
        full=nobody,
        max_runtime_seconds=0,
        headroom_micros=None,
    )
    usable = (each.offer for each in decide(offers, in_the_end).candidates if each.rejected is None)
    seconds = max((_longest_at(offer, requirements) for offer in usable), default=0)
    return seconds if seconds >= MAX_RUNTIME_SECONDS[0] else 0


def _longest_at(offer: Offer, requirements: Requirements) -> int:
    most = MAX_RUNTIME_SECONDS[1]
    headroom, ceiling = requirements.headroom_micros, requirements.max_cost_micros
    per_hour = offer.micros_per_gpu_hour * requirements.gpu_count
    if headroom is None or per_hour == 0 or (ceiling is not None and ceiling <= headroom):
        return most
    # A reservation is rounded up, so it is within the headroom exactly as long as the unrounded amount is.
    return min(most, headroom * _SECONDS_PER_HOUR // per_hour)


def _first(values: range, holds: Callable[[int], bool]) -> int | None:
    return next((value for value in values if holds(value)), None)
