"""Answers other than jobs: what a server may leave out, add or write in another way."""

from __future__ import annotations

import pickle
from typing import Any

import pydantic
import pytest

import nodus

CANDIDATES = [{"supplier": "lambda", "region": "us-west-2", "score": 0.5}, {"supplier": "aws", "rejected": "outage"}]


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        (nodus.JobEvent, {"seq": 1, "job_id": "j", "status": "queued"}),
        (nodus.Routing, {}),
        (nodus.RoutingCandidate, {"supplier": "aws"}),
        (nodus.RoutingRequirements, {}),
        (nodus.KeyView, {"id": "k"}),
        (nodus.Offer, {"supplier": "lab"}),
        (nodus.Webhook, {"id": "w", "url": "https://x.example/"}),
        (nodus.InclusionProof, {"seq": 1, "size": 1, "leaf_hash": "00", "hashes": []}),
    ],
)
def test_only_what_identifies_it_is_required(kind: type[pydantic.BaseModel], least: dict[str, Any]) -> None:
    """An older server says less, a newer one more; what is read does not change, and pickles."""
    read = kind.model_validate({**least, "from_the_future": True})

    assert not hasattr(read, "from_the_future")
    assert pickle.loads(pickle.dumps(read)) == read
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        setattr(read, next(iter(kind.model_fields)), "other")


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ("lambda", {"supplier": "lambda", "region": "us-west-2"}),
        ("elsewhere", {"supplier": "elsewhere", "region": None}),
        ({"supplier": "aws", "region": "eu"}, {"supplier": "aws", "region": "eu"}),
    ],
)
def test_the_chosen_offer_may_be_named_by_its_supplier(chosen: object, expected: dict[str, object]) -> None:
    """It is then the candidate of that name, if there is one."""
    routing = nodus.Routing.model_validate({"chosen": chosen, "candidates": CANDIDATES})

    assert routing.chosen is not None
    assert {name: getattr(routing.chosen, name) for name in expected} == expected


@pytest.mark.parametrize("candidates", [None, "x", [7, "y"], {}])
def test_candidates_that_are_none_do_not_hide_what_was_chosen(candidates: object) -> None:
    """They are refused by name, not by a crash on the way."""
    with pytest.raises(pydantic.ValidationError, match="candidates"):
        nodus.Routing.model_validate({"chosen": "aws", "candidates": candidates})


@pytest.mark.parametrize("status", ["queued", "running", "completed", "from_the_future"])
def test_an_event_is_terminal_if_its_status_is(status: str) -> None:
    """A status of the future is not, as an event has no time of finishing to tell."""
    event = nodus.JobEvent.model_validate({"seq": 1, "job_id": "j", "status": status})

    assert event.is_terminal is (status == "completed")


def test_amounts_are_finite() -> None:
    """No budget is infinite, and none is no number."""
    with pytest.raises(pydantic.ValidationError):
        nodus.KeyView.model_validate_json('{"id": "k", "monthly_spend_cap_usd": Infinity}')
