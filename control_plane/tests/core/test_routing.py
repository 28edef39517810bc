"""Where jobs go, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nodus_core.catalogue import Offer, default_catalogue
from nodus_core.ceilings import first_minute_micros
from nodus_core.routing import REGION_NUDGE, REJECTIONS, Requirements, decide, eligible, least_needed, least_over_budget
from nodus_core.suppliers_file import SupplierKind

CATALOGUE = default_catalogue()
PLACES = [offer.location for offer in CATALOGUE.offers("h100_80gb")]

names = st.frozensets(st.sampled_from(list(CATALOGUE.suppliers)))
places = st.frozensets(st.sampled_from(PLACES))
wishes = st.builds(
    Requirements,
    require_tiers=st.lists(st.sampled_from([kind.value for kind in SupplierKind]), unique=True).map(tuple),
    prefer_region=st.none() | st.sampled_from(["us-east-1", "eu", "US", "nowhere"]),
    outages=names,
    lost=places,
    refused=places,
    gpu_count=st.integers(1, 8),
    max_runtime_seconds=st.integers(60, 7200),
    max_cost_micros=st.none() | st.integers(1, 300_000),
    headroom_micros=st.none() | st.integers(0, 30_000_000),
    drained=names,
    unreachable=names,
    lost_before=places,
    resting=places,
    full=names,
)
gpus = st.sampled_from(CATALOGUE.gpus)


@given(gpus, wishes)
def test_what_is_chosen_passes_every_hard_filter(gpu: str, requirements: Requirements) -> None:
    """No tier outside the filter, no outage, no place twice, nothing that its ceiling or the budget forbids."""
    chosen = decide(CATALOGUE.offers(gpu), requirements).chosen

    if chosen is not None:
        assert not requirements.require_tiers or chosen.kind.value in requirements.require_tiers
        assert chosen.supplier not in requirements.outages
        assert chosen.location not in requirements.lost | requirements.refused | requirements.resting
        assert chosen.supplier not in requirements.full | requirements.drained | requirements.unreachable
        minute = first_minute_micros(chosen.micros_per_gpu_hour, requirements.gpu_count)
        assert requirements.max_cost_micros is None or minute <= requirements.max_cost_micros
        headroom = requirements.headroom_micros
        assert headroom is None or requirements.reservation(chosen) <= headroom


@given(gpus, wishes)
def test_every_offer_is_accounted_for(gpu: str, requirements: Requirements) -> None:
    """A decision names all offers; something is chosen as long as one of them was not rejected and has room."""
    decision = decide(CATALOGUE.offers(gpu), requirements)
    acceptable = [candidate for candidate in decision.candidates if candidate.rejected is None and candidate.has_room]

    assert {candidate.offer for candidate in decision.candidates} == set(CATALOGUE.offers(gpu))
    assert (decision.chosen is None) == (not acceptable)
    assert all(candidate.score <= acceptable[0].score for candidate in acceptable)


@given(gpus, wishes)
def test_the_order_of_offers_decides_nothing(gpu: str, requirements: Requirements) -> None:
    """The same question has the same answer, however it is put."""
    offers = CATALOGUE.offers(gpu)

    assert decide(offers, requirements).chosen == decide(tuple(reversed(offers)), requirements).chosen


@given(gpus, wishes)
def test_a_preference_costs_at_most_its_nudge(gpu: str, requirements: Requirements) -> None:
    """A region is favoured, not bought at any price."""
    acceptable = [
        candidate.offer
        for candidate in decide(CATALOGUE.offers(gpu), requirements).candidates
        if candidate.rejected is None and candidate.has_room
    ]
    chosen = decide(CATALOGUE.offers(gpu), requirements).chosen

    if chosen is not None:
        cheapest = min(offer.micros_per_gpu_hour for offer in acceptable)
        assert chosen.micros_per_gpu_hour <= cheapest * (REGION_NUDGE + 1e-5)


def test_the_cheapest_offer_wins() -> None:
    """Price comes first."""
    chosen = decide(CATALOGUE.offers("h100_80gb"), Requirements()).chosen

    assert chosen is not None
    assert (chosen.supplier, chosen.micros_per_gpu_hour) == ("hyperbolic", 1_290_000)


def test_a_preferred_region_decides_between_equals() -> None:
    """`eu` stands for every region of a supplier that begins so."""
    requirements = Requirements(
        require_tiers=("hyperscaler",), prefer_region="EU", outages=frozenset({"gcp", "azure", "oci"})
    )
    chosen = decide(CATALOGUE.offers("h100_80gb"), requirements).chosen

    assert chosen is not None
    assert chosen.region == "eu-west-1"


def test_a_preferred_region_is_whole_words() -> None:
    """`us` is not the start of `useast`."""
    offers = tuple(Offer("x", SupplierKind.TIER3, region, "l40s", 100) for region in ("useast", "us-west"))
    chosen = decide(offers, Requirements(prefer_region="us")).chosen

    assert chosen is not None
    assert chosen.region == "us-west"


def test_each_rejection_gives_its_reason() -> None:
    """People ask why a job did not go somewhere."""
    requirements = Requirements(
        require_tiers=("neocloud", "tier3"),
        outages=frozenset({"vast"}),
        lost=frozenset({("hyperbolic", "default")}),
        refused=frozenset({("hyperbolic", "us-central")}),
        max_runtime_seconds=3600,
        headroom_micros=3_950_000,
    )
    reasons = {
        candidate.offer.location: candidate.rejected
        for candidate in decide(CATALOGUE.offers("h100_80gb"), requirements).candidates
    }

    assert reasons["aws", "us-east-1"] == "tier_not_allowed"
    assert reasons["vast", "eu"] == "outage"
    assert reasons["hyperbolic", "default"] == "already_lost"
    assert reasons["hyperbolic", "us-central"] == "no_capacity"
    assert reasons["lambda", "us-east-1"] == "over_budget"
    assert reasons["crusoe", "us-east1-a"] is None


def test_an_offer_that_takes_all_of_the_headroom_can_be_chosen() -> None:
    """A micro-dollar less is too little, for the dearest alone."""
    offers = CATALOGUE.offers("h100_80gb")
    dearest = max(offer.micros_per_gpu_hour for offer in offers)
    an_hour = Requirements(max_runtime_seconds=3600, headroom_micros=dearest)
    at_it = decide(offers, an_hour)
    below_it = decide(offers, replace(an_hour, headroom_micros=dearest - 1))

    assert {candidate.rejected for candidate in at_it.candidates} == {None}
    assert {candidate.offer.micros_per_gpu_hour for candidate in below_it.candidates if candidate.rejected} == {dearest}


def test_a_ceiling_is_for_the_first_minute() -> None:
    """What runs for that long can be taken; and what is over the ceiling is not said to be over the budget."""
    offers = CATALOGUE.offers("h100_80gb")
    minute = first_minute_micros(1_290_000, 2)
    wish = Requirements(gpu_count=2, max_runtime_seconds=3600, max_cost_micros=minute, headroom_micros=minute)
    decision = decide(offers, wish)
    less = decide(offers, replace(wish, max_cost_micros=minute - 1))
    within = {each.offer.micros_per_gpu_hour for each in decision.candidates if each.rejected is None}

    assert within == {1_290_000}
    assert {each.rejected for each in decision.candidates} == {None, "over_max_cost"}
    assert (less.chosen, less.may_wait, least_needed(less)) == (None, False, None)


def test_a_job_waits_for_budget_where_that_alone_stands_in_its_way() -> None:
    """Where one within it is merely full, it waits for that."""
    wish = Requirements(max_runtime_seconds=3600, headroom_micros=1, outages=frozenset({"cluster"}))
    full = decide(OWN, replace(wish, full=frozenset({"lab"})))
    over = decide(OWN, replace(wish, headroom_micros=0))
    lost = decide(OWN, replace(wish, headroom_micros=0, lost_before=frozenset({LAB.location})))

    assert decide(OWN, wish).chosen == LAB
    assert (full.chosen, full.waits_for_budget, full.may_wait) == (None, False, True)
    assert (over.waits_for_budget, over.may_wait, least_needed(over)) == (True, True, 1)
    # The cheapest may be out for now.
    out = decide(OWN, replace(wish, headroom_micros=0, outages=frozenset({"lab"})))
    assert (least_needed(out), least_over_budget(out)) == (1, 2)
    assert (least_over_budget(over), least_over_budget(decide(OWN, wish))) == (1, 2)
    # What is over budget is left, and so the place that lost it is not taken again.
    assert (lost.waits_for_budget, least_needed(lost)) == (True, 2)


LAB, RACK, CLUSTER = (
    Offer(name, SupplierKind.NEOCLOUD, "here", "l40s", price, gpus)
    for name, price, gpus in (("lab", 1, 4), ("rack", 2, 8), ("cluster", 3, None))
)
OWN = (LAB, RACK, CLUSTER)


def judged(requirements: Requirements) -> dict[str, str | None]:
    """Say why each of three offers was rejected."""
    return {each.offer.supplier: each.rejected for each in decide(OWN, requirements).candidates}


def test_what_has_room_comes_before_what_is_full() -> None:
    """Full is no reason against an offer: where all are, the job waits for any of them."""
    one_full = decide(OWN, Requirements(full=frozenset({"lab"})))
    all_full = decide(OWN, Requirements(full=frozenset({"lab", "rack", "cluster"})))

    assert one_full.chosen == RACK
    assert [(each.offer, each.has_room) for each in one_full.candidates] == [
        (RACK, True),
        (CLUSTER, True),
        (LAB, False),
    ]
    assert (all_full.chosen, all_full.may_wait) == (None, True)
    assert {each.rejected for each in all_full.candidates} == {None}


def test_reasons_against_suppliers_that_count() -> None:
    """Too few GPUs for this job, given nothing new, or out of reach."""
    requirements = Requirements(
        gpu_count=5, drained=frozenset({"rack", "lab"}), unreachable=frozenset({"cluster", "rack"})
    )
    decision = decide(OWN, requirements)

    assert judged(requirements) == {"lab": "too_few_gpus", "rack": "drained", "cluster": "unreachable"}
    assert (decision.chosen, decision.may_wait) == (None, True)
    assert {each.offer.supplier for each in decision.candidates if not each.has_room} == {"rack", "cluster"}


def test_the_first_reason_that_holds_is_named_and_all_of_them_are_listed() -> None:
    """With every reason against an offer at once, and then one after the other taken away."""
    offer = replace(LAB, micros_per_gpu_hour=3_600_000)
    names, places = frozenset({"lab"}), frozenset({LAB.location})
    left: dict[str, dict[str, Any]] = {
        "tier_not_allowed": {"require_tiers": ("hyperscaler",)},
        "too_few_gpus": {"gpu_count": 5},
        "cannot_run": {"cannot_run": names},
        "outage": {"outages": names},
        "drained": {"drained": names},
        "unreachable": {"unreachable": names},
        "already_lost": {"lost": places},
        "no_capacity": {"refused": places},
        "over_max_cost": {"max_cost_micros": 1},
        "over_budget": {"headroom_micros": 0},
    }
    named = []
    while left:
        against = {name: value for each in left.values() for name, value in each.items()}
        [candidate] = decide((offer,), Requirements(max_runtime_seconds=60, **against)).candidates
        named.append(candidate.rejected)
        del left[next(iter(left))]

    assert tuple(named) == REJECTIONS


def test_what_could_not_begin_is_waited_for_and_what_refused_for_good_is_not() -> None:
    """Both had no room for this job."""
    here = frozenset({LAB.location})

    assert decide((LAB,), Requirements(resting=here)).may_wait
    assert not decide((LAB,), Requirements(refused=here)).may_wait
    assert not decide((LAB,), Requirements(refused=here, unreachable=frozenset({"lab"}))).may_wait
    assert not decide((LAB,), Requirements(outages=frozenset({"lab"}))).may_wait


def test_a_place_that_lost_the_job_is_taken_again_only_when_no_other_is_left() -> None:
    """A full one, or one that cannot be asked now, is still left."""
    lost = frozenset({LAB.location})
    others = frozenset({"rack", "cluster"})

    assert judged(Requirements(lost_before=lost))["lab"] == "already_lost"
    assert decide(OWN, Requirements(lost_before=lost, full=others)).chosen is None
    assert decide(OWN, Requirements(lost_before=lost, unreachable=others)).chosen is None
    assert decide(OWN, Requirements(lost_before=lost, outages=others)).chosen == LAB
    assert decide(OWN, Requirements(lost=lost, outages=others)).chosen is None


def test_the_score_is_by_the_cheapest_that_is_eligible() -> None:
    """Whatever its state; where that is free of charge it has all of the score."""
    scores = {each.offer.supplier: each.score for each in decide(OWN, Requirements(gpu_count=8)).candidates}
    free = Offer("free", SupplierKind.NEOCLOUD, "here", "l40s", 0)
    beside_free = {each.offer.supplier: each.score for each in decide((*OWN, free), Requirements()).candidates}

    assert (scores["rack"], scores["cluster"]) == (1.0, 0.666667)
    assert beside_free == {"free": 1.0, "lab": 0.0, "rack": 0.0, "cluster": 0.0}


def test_who_has_too_few_gpus_is_not_eligible() -> None:
    """Free or not."""
    assert eligible(OWN, (), 8) == [RACK, CLUSTER]
    assert eligible((LAB, RACK), (), 9) == []
