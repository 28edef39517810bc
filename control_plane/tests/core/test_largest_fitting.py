"""What would still fit a budget, against trying every value."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_core import largest_fitting as module
from nodus_core.admission import admit
from nodus_core.catalogue import Offer
from nodus_core.largest_fitting import Both, LargestFitting, largest_fitting
from nodus_core.routing import Requirements
from nodus_core.suppliers_file import SupplierKind

NAMES = ["a", "b", "c", "d"]
some = st.frozensets(st.sampled_from(NAMES))
SECONDS = (60, 90)
"""A small range, which every value of can be tried."""

rates = st.lists(st.integers(0, 5) | st.integers(0, 10**6), min_size=4, max_size=4)
counts = st.lists(st.none() | st.integers(1, 8), min_size=4, max_size=4)
wishes = st.builds(
    Requirements,
    gpu_count=st.integers(1, 8),
    prefer_region=st.sampled_from([None, "here"]),
    require_tiers=st.sampled_from([(), ("own",), ("tier3", "own"), ("tier3",)]),
    outages=some,
    drained=some,
    unreachable=some,
    full=some,
    cannot_run=some,
    max_runtime_seconds=st.integers(*SECONDS),
    max_cost_micros=st.none() | st.integers(1, 100_000),
    headroom_micros=st.integers(0, 100_000),
)


def offers_of(prices: list[int], gpus: list[int | None]) -> tuple[Offer, ...]:
    """Four suppliers of two tiers, at these prices, with so many GPUs in one place."""
    kinds = [SupplierKind.OWN, SupplierKind.TIER3, SupplierKind.OWN, SupplierKind.TIER3]
    return tuple(
        Offer(name, kind, "here", "l40s", price, gpus=count)
        for name, kind, price, count in zip(NAMES, kinds, prices, gpus, strict=True)
    )


def by_trying(offers: tuple[Offer, ...], wish: Requirements) -> LargestFitting:
    """Submit every value there is, the greatest first."""

    def accepted(gpu_count: int, seconds: int) -> bool:
        return admit(offers, replace(wish, gpu_count=gpu_count, max_runtime_seconds=seconds)).refusal is None

    seconds = range(SECONDS[1], SECONDS[0] - 1, -1)
    both = (Both(count, each) for count in range(wish.gpu_count, 0, -1) for each in seconds if accepted(count, each))
    return LargestFitting(
        next((each for each in seconds if accepted(wish.gpu_count, each)), None),
        next((count for count in range(8, 0, -1) if accepted(count, wish.max_runtime_seconds)), None),
        next(both, None),
    )


@given(rates, counts, wishes)
def test_it_is_what_trying_every_value_finds(prices: list[int], gpus: list[int | None], wish: Requirements) -> None:
    """The greatest of each, or None where none would do."""
    offers = offers_of(prices, gpus)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "MAX_RUNTIME_SECONDS", SECONDS)
        found = largest_fitting(offers, wish)

    assert found == by_trying(offers, wish)


@given(rates, counts, wishes)
def test_the_bounds_are_tight(prices: list[int], gpus: list[int | None], wish: Requirements) -> None:
    """In the whole range: with it the submission is accepted, and with one second or one GPU more it is not."""
    offers = offers_of(prices, gpus)
    found = largest_fitting(offers, wish)

    def accepted(gpu_count: int, seconds: int) -> bool:
        return admit(offers, replace(wish, gpu_count=gpu_count, max_runtime_seconds=seconds)).refusal is None

    longest, gpu_count = found.max_runtime_seconds, found.gpu_count
    assert longest is None or accepted(wish.gpu_count, longest)
    assert longest in (None, 172_800) or not accepted(wish.gpu_count, longest + 1)
    assert longest is not None or not accepted(wish.gpu_count, 60)
    assert gpu_count is None or accepted(gpu_count, wish.max_runtime_seconds)
    assert gpu_count in (None, 8) or not accepted(gpu_count + 1, wish.max_runtime_seconds)
    assert found.both is None or accepted(found.both.gpu_count, found.both.max_runtime_seconds)


def test_a_dollar_buys_an_hour_at_a_dollar() -> None:
    """An example by hand: $1 for 4 GPUs at $1 an hour is a quarter of an hour, or one GPU for the hour."""
    offers = (Offer("a", SupplierKind.OWN, "here", "l40s", 1_000_000),)
    wish = Requirements(gpu_count=4, max_runtime_seconds=3600, headroom_micros=1_000_000)

    assert largest_fitting(offers, wish) == LargestFitting(900, 1, Both(4, 900))
