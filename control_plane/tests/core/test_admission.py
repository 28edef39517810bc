"""Whether a submission is accepted, against the rule applied to every offer by itself."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from nodus_core.admission import Refusal, admit
from nodus_core.catalogue import Offer
from nodus_core.ceilings import first_minute_micros
from nodus_core.routing import Requirements, decide
from nodus_core.suppliers_file import SupplierKind

NAMES = ["a", "b", "c", "d"]
some = st.frozensets(st.sampled_from(NAMES))
prices = st.lists(st.integers(0, 5) | st.integers(0, 10**7), min_size=4, max_size=4)
wishes = st.builds(
    Requirements,
    gpu_count=st.integers(1, 8),
    prefer_region=st.sampled_from([None, "here"]),
    outages=some,
    drained=some,
    unreachable=some,
    full=some,
    max_runtime_seconds=st.integers(60, 7200),
    max_cost_micros=st.none() | st.integers(1, 200_000),
    headroom_micros=st.none() | st.integers(0, 2_000_000),
)


def offers_at(rates: list[int]) -> tuple[Offer, ...]:
    """Four suppliers, at these prices."""
    regions = ["here", "there", "here", "there"]
    return tuple(
        Offer(name, SupplierKind.OWN, region, "l40s", rate)
        for name, region, rate in zip(NAMES, regions, rates, strict=True)
    )


@given(prices, wishes)
def test_a_submission_is_accepted_where_an_offer_is_neither_too_dear_nor_out(
    rates: list[int], wish: Requirements
) -> None:
    """Else it is refused for the budget, for its ceiling, or because all are out: in this order."""
    offers = offers_at(rates)
    there = [offer for offer in offers if offer.supplier not in wish.outages]
    minutes = {offer: first_minute_micros(offer.micros_per_gpu_hour, wish.gpu_count) for offer in there}
    cheap = [offer for offer in there if wish.max_cost_micros is None or minutes[offer] <= wish.max_cost_micros]
    headroom = wish.headroom_micros
    affordable = [offer for offer in cheap if headroom is None or wish.reservation(offer) <= headroom]
    admitted = admit(offers, wish)

    if affordable:
        assert admitted.refusal is None
        assert admitted.offer in affordable
        assert admitted.reserved == wish.reservation(admitted.offer)
        assert headroom is None or admitted.reserved <= headroom
    elif cheap:
        least = min(wish.reservation(offer) for offer in cheap)
        assert (admitted.refusal, admitted.reserved) == (Refusal.OVER_BUDGET, least)
    elif there:
        assert (admitted.refusal, admitted.cheapest_minute) == (Refusal.OVER_MAX_COST, min(minutes.values()))
    else:
        assert admitted.refusal is Refusal.NO_SUPPLIER


@given(prices, wishes)
def test_what_is_reserved_is_the_routers_choice_or_the_cheapest_that_is_full(
    rates: list[int], wish: Requirements
) -> None:
    """With the budget taken into account."""
    offers = offers_at(rates)
    chosen = decide(offers, wish).chosen
    admitted = admit(offers, wish)

    assert admitted.decision.chosen == chosen
    assert admitted.would_wait == (admitted.offer is not None and chosen is None)
    if chosen is not None:
        assert admitted.offer == chosen
    elif admitted.offer is not None:
        patient = replace(wish, drained=frozenset(), unreachable=frozenset())
        possible = [each.offer for each in decide(offers, patient).candidates if each.rejected is None]
        assert admitted.rate == min(offer.micros_per_gpu_hour for offer in possible)
