"""What many jobs can cost, and have cost, together. Amounts are added up as whole micro-dollars."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._money import dollars
from .jobs import is_simulated
from .output import Output, show_facts

if TYPE_CHECKING:
    from .._models import JobView
    from .._resources import Quote

_MICROS = 1_000_000


@dataclass(frozen=True)
class Fitting:
    """How many jobs alike fit the budget, and what all of them can cost at most.

    Attributes:
        jobs: how many there are.
        fitting: how many of them would be accepted now, one after another.
        estimated_cost_usd: of all, where the first would go; None if every supplier is out.
        least_usd: of all, at the cheapest supplier that may have them; likewise.
        most_usd: of all, at the dearest; likewise.
    """

    jobs: int
    fitting: int
    estimated_cost_usd: float | None
    least_usd: float | None
    most_usd: float | None

    @classmethod
    def of(cls, quote: Quote, jobs: int) -> Fitting:
        """Add up.

        Args:
            quote: for one of them.
            jobs: how many there are.
        """
        one = quote.estimated_cost_usd
        amounts = [] if one is None else [one]
        amounts += [
            each.estimated_cost_usd
            for each in quote.candidates
            if each.rejected is None and each.estimated_cost_usd is not None
        ]
        fitting = jobs if quote.fits else 0
        if quote.fits and one and quote.headroom_usd is not None:
            fitting = min(jobs, _micros(quote.headroom_usd) // _micros(one))
        least, most = (times(pick(amounts), jobs) if amounts else None for pick in (min, max))
        return cls(jobs, fitting, None if one is None else times(one, jobs), least, most)


def times(amount: float, count: int) -> float:
    """Multiply an amount.

    >>> times(0.1, 3)
    0.3
    """
    return _micros(amount) * count / _MICROS


def show_sum(output: Output, quote: Quote, fitting: Fitting, *, as_json: bool) -> None:
    """Write what jobs can cost together to stdout."""
    if not as_json:
        show_facts(output, _facts(quote, fitting))
        return
    total = {name: getattr(fitting, name) for name in ("estimated_cost_usd", "least_usd", "most_usd")}
    quoted = json.loads(quote.model_dump_json())
    output.json({"jobs": fitting.jobs, "fitting": fitting.fitting, "total": total, "quote": quoted})


def outcome(accepted: int, replayed: int, refused: int) -> str:
    """Say how many jobs were submitted.

    >>> outcome(3, 1, 2)
    '3 jobs submitted, 1 of them before, with this idempotency key; 2 not.'
    """
    before = f", {replayed:,} of them before, with this idempotency key" if replayed else ""
    return f"{_jobs(accepted)} submitted{before}{f'; {refused:,} not' if refused else ''}."


def costs(views: Sequence[JobView]) -> str:
    """Say how jobs ended, and what they cost.

    Args:
        views: of each; at least one.
    """
    ended = Counter(view.status.value for view in views)
    text = f"{_jobs(len(views))}: {', '.join(f'{count:,} {status}' for status, count in ended.most_common())}"
    known = [view.cost_usd for view in views if view.cost_usd is not None]
    if not known:
        return f"{text}."
    total = dollars(_sum(known))
    span = f", {_range(min(known), max(known))} each" if len(known) > 1 else ""
    simulated = " (simulated)" if any(is_simulated(view) for view in views) else ""
    return f"{text}; {total} together{span}{simulated}."


def _facts(quote: Quote, fitting: Fitting) -> Iterator[tuple[str, str | None]]:
    yield "jobs", f"{fitting.jobs:,}"
    yield "fit", "all" if fitting.fitting == fitting.jobs else f"{fitting.fitting:,} of them"
    chosen = quote.chosen
    place = None if chosen is None else " ".join(filter(None, (chosen.supplier, chosen.region)))
    yield "supplier", place or "none: all that offer this are out"
    if quote.would_wait:
        yield "start", "when there is room: all that could take them are full now"
    if quote.estimated_cost_usd is not None and fitting.estimated_cost_usd is not None:
        yield "at most", f"{dollars(fitting.estimated_cost_usd)}, {dollars(quote.estimated_cost_usd)} each"
    if fitting.least_usd is not None and fitting.most_usd is not None and fitting.least_usd < fitting.most_usd:
        yield "range", f"{_range(fitting.least_usd, fitting.most_usd)}, depending on the supplier"
    if quote.retail_cost_usd is not None:
        yield "at retail", dollars(times(quote.retail_cost_usd, fitting.jobs))
    yield "headroom", None if quote.headroom_usd is None else dollars(quote.headroom_usd)
    if quote.simulated:
        yield "simulated", "yes"


def _range(least: float, most: float) -> str:
    return dollars(least) if least == most else f"{dollars(least)} to {dollars(most)}"


def _sum(amounts: Iterable[float]) -> float:
    return sum(map(_micros, amounts)) / _MICROS


def _micros(amount: float) -> int:
    return round(amount * _MICROS)


def _jobs(count: int) -> str:
    return f"{count:,} job{'' if count == 1 else 's'}"
