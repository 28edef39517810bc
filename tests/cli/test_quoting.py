"""`nodus quote` and `nodus run --dry-run`."""

from __future__ import annotations

import json

from tests.cli.conftest import Command
from tests.cli.stub import Answer, Stub

QUOTES = "POST /v1/quotes"
QUOTE = {
    "estimated_cost_usd": 31.92,
    "retail_cost_usd": 55.04,
    "usd_per_gpu_hour": 3.99,
    "chosen": {"supplier": "lambda", "kind": "tier3", "region": "us-east-1"},
    "candidates": [],
    "fits": True,
    "headroom_usd": 568.08,
    "largest_fitting": None,
    "would_wait": False,
    "simulated": False,
    "at": "2026-11-24T08:00:00Z",
}


def sent(stub: Stub, operation: str = QUOTES) -> list[dict[str, object]]:
    """The bodies of the requests of an operation."""
    return [json.loads(each.body) for each in stub.requests if f"{each.method} {each.path}" == operation]


def test_a_quote_has_the_options_of_a_job(stub: Stub, nodus: Command) -> None:
    """It says where the job would go and what that can cost at most."""
    stub.answer(QUOTES, Answer(200, QUOTE))
    result = nodus("quote", "--image", "x", "--gpu", "l40s", "--gpu-count", "8", "--env", "A=b", "--", "train", "--now")

    assert sent(stub) == [
        {
            "image": "x",
            "command": ["train", "--now"],
            "gpu": "l40s",
            "gpu_count": 8,
            "env": {"A": "b"},
            "max_runtime_seconds": 3600,
        }
    ]
    assert result.status == 0
    assert [line.split("  ", 1)[0] for line in result.stdout.splitlines()] == [
        "fits",
        "supplier",
        "at most",
        "per GPU-hour",
        "at retail",
        "headroom",
    ]
    assert "lambda us-east-1" in result.stdout
    assert "$31.92" in result.stdout


def test_what_would_fit_is_said_in_options(stub: Stub, nodus: Command) -> None:
    """Those to give instead; both together only where neither alone helps."""
    both = {"gpu_count": 2, "max_runtime_seconds": 900}
    fittings: list[dict[str, object]] = [
        {"max_runtime_seconds": 70, "gpu_count": 1, "both": both},
        {"max_runtime_seconds": None, "gpu_count": None, "both": both},
        {"max_runtime_seconds": None, "gpu_count": None, "both": None},
    ]
    stub.answer(QUOTES, *(Answer(200, {**QUOTE, "fits": False, "largest_fitting": each}) for each in fittings))
    lines = [nodus("quote", "--image", "x").stdout.splitlines()[-1].split(None, 2)[2] for _ in fittings]

    assert lines == ["--max-runtime-seconds 70 or --gpu-count 1", "--gpu-count 2 --max-runtime-seconds 900", "nothing"]


def test_a_refused_submission_says_what_would_fit(stub: Stub, nodus: Command) -> None:
    """In the options to give instead, as a quote does; nothing where nothing would."""
    payload = {"error": "budget_exceeded", "message": "Too dear.", "monthly_spend_cap_usd": 25, "month_to_date_usd": 24}
    fitting = {"max_runtime_seconds": 70, "gpu_count": None, "both": None}
    nothing = {"max_runtime_seconds": None, "gpu_count": None, "both": None}
    answers = [Answer(402, {**payload, "largest_fitting": each}) for each in (fitting, nothing)]
    stub.answer("POST /v1/jobs", *answers)
    some, none = (nodus("run", "--image", "x").stderr for _ in answers)

    assert "It would be accepted with --max-runtime-seconds 70." in some
    assert "would be accepted" not in none


def test_a_quote_without_a_place_says_why(stub: Stub, nodus: Command) -> None:
    """All suppliers are out, or full."""
    nowhere = {"fits": False, "chosen": None, "simulated": True}
    stub.answer(QUOTES, Answer(200, nowhere), Answer(200, {**QUOTE, "would_wait": True}))
    out, full = nodus("quote", "--image", "x").stdout, nodus("quote", "--image", "x").stdout

    assert "all that offer this are out" in out
    assert "simulated" in out
    assert "$" not in out
    assert "full now" in full


def test_a_quote_is_an_object_as_json(stub: Stub, nodus: Command) -> None:
    """As the server gave it."""
    stub.answer(QUOTES, Answer(200, QUOTE))

    assert json.loads(nodus("quote", "--image", "x", "--json").stdout) == QUOTE


def test_a_dry_run_submits_nothing(stub: Stub, nodus: Command) -> None:
    """It shows what would be sent, without a secret, and the quote."""
    stub.answer(QUOTES, Answer(200, QUOTE))
    result = nodus("run", "--dry-run", "--image", "x", "--env", "TOKEN=hunter2", "--idempotency-key", "k", "--", "go")

    assert result.status == 0
    assert [f"{each.method} {each.path}" for each in stub.requests] == [QUOTES]
    assert result.stdout.startswith("POST /v1/jobs\nAuthorization: Bearer [hidden]\n")
    assert "Idempotency-Key: k" in result.stdout
    assert '"TOKEN": "[hidden]"' in result.stdout
    assert "$31.92" in result.stdout
    assert "hunter2" not in result.stdout + result.stderr
    assert "Nothing was submitted" in result.stderr


def test_a_dry_run_is_one_object_as_json(stub: Stub, nodus: Command) -> None:
    """With the spec, the request and the quote."""
    stub.answer(QUOTES, Answer(200, QUOTE))
    shown = json.loads(nodus("run", "--dry-run", "--json", "--image", "x", "--env", "A=hunter2").stdout)

    assert set(shown) == {"spec", "request", "quote"}
    assert shown["spec"]["env"] == {"A": "[hidden]"}
    assert shown["request"]["body"].keys() == {*shown["spec"], "idempotency_key"}
    assert shown["request"]["headers"]["Idempotency-Key"] == shown["request"]["body"]["idempotency_key"]
    assert shown["quote"] == QUOTE


def test_a_dry_run_cannot_be_waited_for(nodus: Command) -> None:
    """Nothing is sent."""
    result = nodus("run", "--dry-run", "--wait", "--image", "x")

    assert result.status == 2
    assert "--dry-run" in result.stderr
