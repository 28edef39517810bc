# Generated from tests/_async/test_quotes.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""`client.quote()`: what it sends, and what it makes of the answer; and what a refusal says would fit."""

from __future__ import annotations

import pickle

import pytest

import nodus
from tests._sync.clients import scripted
from tests.support.script import Script, body_of, refusal, reply

FITTING = {
    "max_runtime_seconds": None,
    "gpu_count": None,
    "both": {"gpu_count": 2, "max_runtime_seconds": 900},
}
BOTH = nodus.Fitting(2, 900)
QUOTE = {
    "estimated_cost_usd": 31.92,
    "retail_cost_usd": 55.04,
    "usd_per_gpu_hour": 3.99,
    "chosen": {"supplier": "lambda", "kind": "tier3", "region": "us-east-1"},
    "candidates": [{"supplier": "lambda", "rejected": "over_budget", "estimated_cost_usd": 31.92}],
    "fits": False,
    "headroom_usd": 20.0,
    "largest_fitting": FITTING,
    "would_wait": False,
    "simulated": False,
    "at": "2026-11-24T08:00:00.000Z",
}


def test_a_quote_is_asked_for_like_a_job() -> None:
    """The same fields, without an idempotency key in the body; the same bytes again after a failure."""
    script = Script(refusal(503), reply(200, QUOTE))
    with scripted(script) as client:
        quote = client.quote(image="x", gpu="l40s", gpu_count=8, idempotency_key="k")
    first, second = script.requests

    assert (first.method, first.url.path) == ("POST", "/v1/quotes")
    assert first.content == second.content
    assert body_of(first) == {"image": "x", "gpu": "l40s", "gpu_count": 8, "max_runtime_seconds": 3600}
    assert (quote.fits, quote.estimated_cost_usd, quote.headroom_usd) == (False, 31.92, 20.0)
    assert quote.chosen is not None
    assert quote.chosen.kind is nodus.SupplierKind.TIER3
    assert quote.candidates[0].estimated_cost_usd == 31.92
    assert quote.largest_fitting == nodus.LargestFitting(None, None, BOTH)


def test_a_quote_without_a_place_has_no_amounts() -> None:
    """Every supplier is out, or the server says less than this version knows."""
    script = Script(reply(200, {"fits": False, "chosen": None}))
    with scripted(script) as client:
        quote = client.quote(image="x")

    assert (quote.chosen, quote.estimated_cost_usd, quote.largest_fitting, quote.candidates) == (None, None, None, [])


def test_a_spec_outside_its_limits_is_not_sent() -> None:
    """As with `run`, names included."""
    script = Script()
    with scripted(script) as client:
        with pytest.raises(nodus.ValidationError):
            client.quote(image="x", gpu_count=9)
        with pytest.raises(TypeError, match="quote"):
            client.quote(image="x", gpus=9)  # type: ignore[call-arg]

    assert script.requests == []


@pytest.mark.parametrize(
    ("told", "expected", "fields"),
    [
        (
            FITTING,
            nodus.LargestFitting(None, None, BOTH),
            {"gpu_count": 2, "max_runtime_seconds": 900},
        ),
        ({**FITTING, "gpu_count": 1}, nodus.LargestFitting(None, 1, nodus.Fitting(2, 900)), {"gpu_count": 1}),
        ({"max_runtime_seconds": 70, "gpu_count": 1}, nodus.LargestFitting(70, 1), {"max_runtime_seconds": 70}),
        ({"both": None}, nodus.LargestFitting(), {}),
        ({"both": {"gpu_count": True, "max_runtime_seconds": 1}}, nodus.LargestFitting(), {}),
        (None, None, None),
        ("much", None, None),
    ],
)
def test_a_refusal_says_what_would_fit(
    told: object, expected: nodus.LargestFitting | None, fields: dict[str, int] | None
) -> None:
    """As far as the server says so; after pickling too."""
    payload = {"error": "budget_exceeded", "message": "…", "largest_fitting": told}
    script = Script(reply(402, payload))
    with scripted(script) as client:
        with pytest.raises(nodus.BudgetExceededError) as caught:
            client.run(image="x")

    assert caught.value.largest_fitting == expected
    assert pickle.loads(pickle.dumps(caught.value)).largest_fitting == expected
    assert (None if expected is None else expected.fields()) == fields
