"""What many jobs can cost, and have cost, together."""

from __future__ import annotations

from typing import Any

import pytest

from nodus import JobView, Quote
from nodus._cli.sweep_sums import Fitting, costs, outcome
from tests.cli.stub import job

CANDIDATES: list[dict[str, Any]] = [
    {"supplier": "a", "estimated_cost_usd": 0.1},
    {"supplier": "b", "estimated_cost_usd": 0.300001},
    {"supplier": "c", "estimated_cost_usd": 0.05, "rejected": "outage"},
    {"supplier": "d"},
]


def quote(**fields: Any) -> Quote:
    """A quote of ten cents, with room."""
    return Quote.model_validate({"fits": True, "estimated_cost_usd": 0.1, "candidates": CANDIDATES, **fields})


def test_amounts_are_added_up_exactly() -> None:
    """Of all jobs, where they would go, and at the cheapest and the dearest that may have them."""
    assert Fitting.of(quote(), 3) == Fitting(3, 3, 0.3, 0.3, 0.900003)


@pytest.mark.parametrize(
    ("fields", "fitting"),
    [
        ({"headroom_usd": None}, 6),
        ({"headroom_usd": 0.6}, 6),
        ({"headroom_usd": 0.599999}, 5),
        ({"headroom_usd": 0.3}, 3),
        ({"headroom_usd": 0.05, "fits": False}, 0),
        ({"headroom_usd": 0.0, "estimated_cost_usd": 0.0}, 6),
    ],
)
def test_as_many_fit_as_the_budget_has_room_for(fields: dict[str, Any], fitting: int) -> None:
    """To the micro-dollar."""
    assert Fitting.of(quote(**fields), 6).fitting == fitting


def test_without_a_supplier_there_is_no_amount() -> None:
    """Every supplier is out."""
    nowhere = quote(fits=False, estimated_cost_usd=None, candidates=[])

    assert Fitting.of(nowhere, 2) == Fitting(2, 0, None, None, None)


@pytest.mark.parametrize(
    ("views", "text"),
    [
        ([job("a", cost_usd=0.1)], "1 job: 1 completed; $0.10 together."),
        (
            [job("a", cost_usd=0.1), job("b", "failed", cost_usd=0.2), job("c", cost_usd=0.000001)],
            "3 jobs: 2 completed, 1 failed; $0.300001 together, $0.000001 to $0.20 each.",
        ),
        ([job(each, cost_usd=0.1) for each in "ab"], "2 jobs: 2 completed; $0.20 together, $0.10 each."),
        ([job("a", cost_usd=1, simulated=True)], "1 job: 1 completed; $1.00 together (simulated)."),
        ([job("a", "cancelled")], "1 job: 1 cancelled."),
    ],
)
def test_the_last_line_says_what_it_cost(views: list[dict[str, object]], text: str) -> None:
    """And how the jobs ended."""
    assert costs([JobView.model_validate(each) for each in views]) == text


def test_what_became_of_a_submission_is_one_line() -> None:
    """Only what there is to say."""
    assert outcome(1, 0, 0) == "1 job submitted."
    assert outcome(1000, 2, 0) == "1,000 jobs submitted, 2 of them before, with this idempotency key."
    assert outcome(0, 0, 1) == "0 jobs submitted; 1 not."
