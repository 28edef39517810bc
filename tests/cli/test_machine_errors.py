"""With `--json`, a program reads both streams: stderr is one JSON object, or nothing."""

from __future__ import annotations

import json

import pytest

from nodus._cli import exit_codes
from nodus._cli.program import wants_json
from tests.cli.conftest import Command
from tests.cli.stub import Answer, Stub, job

MEMBERS = ["error", "message", "status", "request_id", "retry_after", "exit_code", "hint", "docs_url"]

Facts = dict[str, object]


def failure(stderr: str) -> Facts:
    """The one object on stderr."""
    (line,) = stderr.splitlines()
    facts: Facts = json.loads(line)
    assert list(facts) == MEMBERS
    return facts


@pytest.mark.usefixtures("backend")
def test_an_answer_is_told_with_all_there_is_of_it(stub: Stub, nodus: Command) -> None:
    """The object has the server's code and request id, for a program to decide what to do."""
    stub.answer("GET /v1/jobs/x", Answer(404, {"error": "job_not_found", "message": "No such job."}))
    result = nodus("get", "x", "--json")

    assert (result.status, result.stdout) == (4, "")
    assert failure(result.stderr) == {
        "error": "job_not_found",
        "message": "No such job.",
        "status": 404,
        "request_id": "req_1",
        "retry_after": None,
        "exit_code": 4,
        "hint": "`nodus list` shows your jobs.",
        "docs_url": None,
    }


def test_retries_are_silent_and_the_last_word_says_when(stub: Stub, nodus: Command) -> None:
    """Stderr has only the final object, however many retries there were."""
    stub.answer(
        "GET /v1/jobs",
        Answer(503, {"error": "starting"}, {"Retry-After": "0.01"}),
        Answer(429, {"error": "rate_limited", "message": "Too many."}, {"Retry-After": "300"}),
    )
    result = nodus("list", "--json")
    facts = failure(result.stderr)

    assert (result.status, facts["retry_after"], facts["exit_code"]) == (6, 300.0, 6)


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--json", "--limit", "0"],
        ["list", "--limit", "0", "--json"],
        ["lst", "--json"],
        ["get", "--json"],
        ["run", "--image", "a", "--json", "--timeout", "1"],
        ["webhooks", "listen", "--json", "--forward-to", "x"],
        ["--json"],
    ],
)
def test_usage_errors_are_objects_too(stub: Stub, nodus: Command, words: list[str]) -> None:
    """The position of `--json` does not matter, nor what cannot be understood."""
    result = nodus(*words)
    facts = failure(result.stderr)

    assert (result.stdout, stub.requests) == ("", [])
    assert {name: facts[name] for name in ("error", "exit_code", "status")} == {
        "error": "usage_error",
        "exit_code": 2,
        "status": None,
    }


def test_a_secret_on_the_command_line_is_named_and_not_repeated(nodus: Command) -> None:
    """The hint says which variable to set."""
    facts = failure(nodus("list", "--json", "--api-key=nk_live_hush").stderr)

    assert "NODUS_API_KEY" in str(facts["hint"])
    assert "hush" not in str(facts)


def test_what_follows_two_dashes_is_the_jobs() -> None:
    """A `--json` after `--` belongs to the job's program."""
    assert not wants_json(["run", "--image", "a", "--", "train", "--json"])
    assert wants_json(["run", "--json", "--image", "a", "--", "train"])


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_job_that_failed_is_no_error(stub: Stub, nodus: Command, status: str) -> None:
    """Its final state is on stdout, and stderr is empty."""
    stub.answer("GET /v1/jobs/job-1", Answer(200, job(status=status)))
    result = nodus("wait", "job-1", "--json")

    assert (result.status, result.stderr, json.loads(result.stdout)["status"]) == (1, "", status)


def test_success_is_silent(stub: Stub, nodus: Command) -> None:
    """Progress and notes are for people, and are left out."""
    stub.answer("POST /v1/jobs", Answer(202, job(status="queued")))
    stub.answer("GET /v1/jobs/job-1", Answer(200, job()))
    stub.answer("GET /v1/jobs", Answer(200, {"jobs": []}))

    for words in (["run", "--image", "a"], ["run", "--image", "a", "--wait"], ["wait", "job-1"], ["list"]):
        result = nodus(*words, "--json")
        assert (result.status, result.stderr) == (0, "")


def test_a_wait_that_times_out_says_both(stub: Stub, nodus: Command) -> None:
    """Stdout has the job's last state, stderr the error."""
    stub.answer("GET /v1/jobs/job-1", Answer(200, job(status="running")))
    result = nodus("wait", "job-1", "--timeout", "0", "--json")

    assert json.loads(result.stdout)["status"] == "running"
    assert failure(result.stderr)["error"] == "wait_timeout"


def test_a_submission_whose_outcome_is_unknown_says_how_to_learn_it(stub: Stub, nodus: Command) -> None:
    """The hint has the command that finds the same job by its idempotency key."""
    stub.answer("POST /v1/jobs", Answer(500, {"error": "oops", "message": "Broken."}, {"x-should-retry": "false"}))
    result = nodus("run", "--image", "a", "--idempotency-key", "key-1", "--json")

    assert "--idempotency-key key-1" in str(failure(result.stderr)["hint"])


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["health", "--json"], exit_codes.API_ERROR, "unhealthy"),
        (["doctor", "--json"], exit_codes.API_ERROR, "check_failed"),
    ],
)
def test_a_command_that_finds_fault_says_so_there_as_well(
    stub: Stub, nodus: Command, words: list[str], status: int, code: str
) -> None:
    """Its findings are on stdout, the first failure on stderr."""
    stub.answer("GET /healthz", Answer(200, {"status": "degraded"}))
    stub.answer("GET /v1/jobs", Answer(200, {"jobs": []}))
    result = nodus(*words)
    facts = failure(result.stderr)

    assert result.stdout
    assert (result.status, facts["exit_code"], facts["error"]) == (status, status, code)


def test_a_delivery_that_is_not_genuine_is_an_error(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every exit status other than 0, 1, 130 and 143 comes with an object."""
    monkeypatch.setenv("NODUS_WEBHOOK_SECRET", "whsec_0")
    result = command("verify", "POST", "/x", "--signature", "t=1,v1=0", "--body", __file__, "--json")

    assert (result.status, json.loads(result.stdout)) == (9, {"valid": False})
    assert failure(result.stderr)["error"] == "signature_invalid"


def test_missing_settings_are_objects_too(command: Command) -> None:
    """They are the first errors that a program meets."""
    facts = failure(command("list", "--json").stderr)

    assert (facts["error"], facts["status"], facts["exit_code"]) == ("missing_api_key", None, 3)


def test_a_control_plane_that_is_away_is_an_object(nodus: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its `status` is null, because no response came."""
    monkeypatch.setenv("NODUS_BASE_URL", "http://127.0.0.1:1")
    facts = failure(nodus("health", "--json").stderr)

    assert (facts["error"], facts["status"], facts["exit_code"]) == ("connection_error", None, 8)
