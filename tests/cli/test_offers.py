"""`nodus offers`, and `nodus run` of a GPU that only the server knows."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Command
from tests.cli.stub import Answer, Stub, job

OFFERS = "GET /v1/offers"
LAB = {
    "supplier": "lab",
    "kind": "own",
    "region": "basement",
    "gpu": "rtx_4090",
    "usd_per_gpu_hour": 0.123456,
    "free_gpus": 3,
    "available": True,
    "simulated": False,
}
MOCK = {"supplier": "mock", "gpu": "l40s", "usd_per_gpu_hour": 12, "available": False, "simulated": True}


def test_offers_are_rows_for_programs(stub: Stub, nodus: Command) -> None:
    """Tabs between the columns; a price keeps all of its decimals; what is not said is empty."""
    stub.answer(OFFERS, Answer(200, {"offers": [LAB, MOCK]}))

    assert nodus("offers").stdout.splitlines() == [
        "rtx_4090\tlab\town\tbasement\t0.123456\t3\tyes\tno",
        "l40s\tmock\t\t\t12.00\t\tno\tyes",
    ]


def test_offers_are_objects_as_json(stub: Stub, nodus: Command) -> None:
    """One a line."""
    stub.answer(OFFERS, Answer(200, {"offers": [LAB, MOCK]}))
    first, second = nodus("offers", "--json").stdout.splitlines()

    assert json.loads(first) == LAB
    assert json.loads(second)["free_gpus"] is None


def test_offers_are_a_table_for_people(stub: Stub, nodus: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a narrow terminal too it says what is simulated."""
    monkeypatch.setattr("nodus._cli.output._is_terminal", lambda stream: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    stub.answer(OFFERS, Answer(200, {"offers": [LAB, MOCK]}))
    lines = nodus("offers").stdout.splitlines()

    assert lines[0].split() == ["GPU", "SUPPLIER", "REGION", "USD/GPU-HOUR", "AVAILABLE", "SIMULATED"]
    assert lines[1].split() == ["rtx_4090", "lab", "basement", "0.123456", "yes", "no"]
    assert lines[2].split() == ["l40s", "mock", "-", "12.00", "no", "yes"]


def test_no_offers_are_said(stub: Stub, nodus: Command) -> None:
    """On stderr, for people; the one GPU is asked for."""
    stub.answer(OFFERS, Answer(200, {"offers": []}))
    result = nodus("offers", "--gpu", "rtx_4090")

    assert (result.status, result.stdout, result.stderr) == (0, "", "No offers.\n")
    assert stub.requests[0].query == {"gpu": ["rtx_4090"]}


def test_a_gpu_that_somebody_offers_can_be_run_on(stub: Stub, nodus: Command) -> None:
    """Although this version does not know it; the command line that submits it again names it."""
    stub.answer(OFFERS, Answer(200, {"offers": [LAB]}))
    stub.answer("POST /v1/jobs", Answer(503, {"error": "no_supplier"}, {"Retry-After": "200"}))
    result = nodus("run", "--image", "a/b:c", "--gpu", "rtx_4090")

    assert stub.called("POST /v1/jobs")[0].json()["gpu"] == "rtx_4090"
    assert "--gpu rtx_4090" in result.stderr


@pytest.mark.parametrize("answer", [Answer(200, {"offers": []}), Answer(404, {"error": "not_found"})])
def test_a_gpu_that_nobody_offers_is_refused(stub: Stub, nodus: Command, answer: Answer) -> None:
    """With the nearest one, and where all are listed, and nothing is submitted; an older server has no price list."""
    stub.answer(OFFERS, answer)
    stub.answer("POST /v1/jobs", Answer(202, job(status="queued")))
    result = nodus("run", "--image", "a/b:c", "--gpu", "h100")

    assert result.status == 5
    assert "did you mean 'h100_80gb'?" in result.stderr
    assert "`nodus offers`" in result.stderr
    assert stub.called("POST /v1/jobs") == []


def test_a_known_gpu_is_not_asked_for(stub: Stub, nodus: Command) -> None:
    """A submission stays one request."""
    stub.answer("POST /v1/jobs", Answer(202, job(status="queued")))
    nodus("run", "--image", "a/b:c", "--gpu", "l40s")

    assert [request.path for request in stub.requests] == ["/v1/jobs"]
