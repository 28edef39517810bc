"""Every error is a few clear lines and an exit status of its own."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Command
from tests.cli.stub import Answer, Stub

STARTING = Answer(503, {"error": "starting"}, {"Retry-After": "0.01"})


@pytest.mark.parametrize(
    ("status", "code", "expected", "hint"),
    [
        (401, "invalid_api_key", 3, "NODUS_API_KEY"),
        (403, "forbidden_principal", 3, "may not do this: set NODUS_API_KEY"),
        (404, "job_not_found", 4, "nodus list"),
        (400, "invalid_argument", 5, ""),
        (422, "invalid_spec", 5, ""),
        (402, "budget_exceeded", 7, "--max-runtime-seconds"),
        (401, "signature_invalid", 9, "NODUS_SIGNING_SECRET"),
        (401, "signature_stale", 9, "clock"),
        (401, "signing_secret_unavailable", 9, "rotate"),
        (418, "teapot", 10, ""),
    ],
)
@pytest.mark.usefixtures("backend")
def test_an_answer_gives_its_exit_status(
    stub: Stub, nodus: Command, status: int, code: str, expected: int, hint: str
) -> None:
    """On both event loops, the output has the message, a hint and the request's id."""
    stub.answer("GET /v1/jobs/job-1", Answer(status, {"error": code, "message": "It is so."}))

    result = nodus("get", "job-1")

    assert (result.status, result.stdout) == (expected, "")
    assert f"Error: It is so. ({code}, HTTP {status}, request req_1)" in result.stderr
    assert hint in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("status", "expected", "seconds"), [(429, 6, "300"), (503, 6, "300"), (500, 10, "300")])
def test_a_server_that_asks_for_patience_is_quoted(
    stub: Stub, nodus: Command, status: int, expected: int, seconds: str
) -> None:
    """A longer wait than the library makes by itself is left to the user."""
    stub.answer("GET /v1/jobs/job-1", Answer(status, {"error": "busy", "message": "Busy."}, {"Retry-After": seconds}))

    result = nodus("get", "job-1")

    assert result.status == expected
    assert "Try again in 300 s" in result.stderr


def test_a_budget_says_what_is_left(stub: Stub, nodus: Command) -> None:
    """The figures are enough to choose a smaller job."""
    payload = {
        "error": "budget_exceeded",
        "message": "Over the cap.",
        "monthly_spend_cap_usd": 25.0,
        "month_to_date_usd": 20.5,
        "estimated_cost_usd": 95.76,
    }
    stub.answer("POST /v1/jobs", Answer(402, payload))

    result = nodus("run", "--image", "a")

    assert result.status == 7
    assert "$4.50 of the monthly $25.00 is left; this job might cost $95.76." in result.stderr


def test_retries_are_told(stub: Stub, nodus: Command) -> None:
    """A command that takes long says why."""
    stub.answer(
        "GET /healthz", Answer(503, {"error": "starting"}, {"Retry-After": "0.01"}), Answer(200, {"status": "ok"})
    )

    result = nodus("health")

    assert result.status == 0
    assert "retry 1 of 2" in result.stderr


def test_the_librarys_whole_log_takes_the_place_of_those_notes(
    stub: Stub, nodus: Command, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With `NODUS_LOG`, a retry is not reported twice."""
    stub.answer(
        "GET /healthz", Answer(503, {"error": "starting"}, {"Retry-After": "0.01"}), Answer(200, {"status": "ok"})
    )
    caplog.set_level("INFO", logger="nodus")

    result = nodus("health")

    assert (result.status, result.stderr) == (0, "")
    assert "retry 1 of 2" in caplog.text


def test_a_control_plane_that_cannot_be_reached_exits_8(nodus: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails once the retries are over, and the hint names the variable."""
    monkeypatch.setenv("NODUS_BASE_URL", "http://127.0.0.1:1")

    result = nodus("health")

    assert result.status == 8
    assert "NODUS_BASE_URL" in result.stderr


@pytest.mark.parametrize("words", [("list",), ("health",), ("run", "--image", "a"), ("get", "x")])
def test_a_missing_key_exits_3_and_is_named(command: Command, words: tuple[str, ...]) -> None:
    """The advice is a shell command, not Python."""
    result = command(*words)

    assert (result.status, result.stdout) == (3, "")
    assert "NODUS_API_KEY" in result.stderr
    assert "api_key=" not in result.stderr


@pytest.mark.parametrize(("name", "value"), [("NODUS_BACKEND", "curio"), ("NODUS_BASE_URL", "http://example.org")])
def test_a_setting_that_cannot_work_exits_3(
    nodus: Command, stub: Stub, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Nothing is sent."""
    monkeypatch.setenv(name, value)

    result = nodus("health")

    assert (result.status, stub.requests) == (3, [])
    assert value in result.stderr or "https" in result.stderr


def test_trio_where_it_is_not_installed_exits_3_and_says_how(nodus: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says which package to install."""
    monkeypatch.setenv("NODUS_BACKEND", "trio")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    result = nodus("health")

    assert result.status == 3
    assert "pip install trio" in result.stderr


@pytest.mark.parametrize("job_id", ["../x", ".", "a\nb"])
def test_what_cannot_be_a_job_id_is_not_sent(stub: Stub, nodus: Command, job_id: str) -> None:
    """It would be the path of another endpoint."""
    result = nodus("get", job_id)

    assert (result.status, stub.requests) == (5, [])
    assert len(result.stderr.splitlines()) == 1


def test_what_a_server_says_cannot_steer_the_terminal(stub: Stub, nodus: Command) -> None:
    """Control characters are shown as escapes."""
    stub.answer("GET /v1/jobs/job-1", Answer(404, {"error": "job_not_found", "message": "\x1b[2Jgone\x07"}))

    assert "\\x1b[2Jgone\\x07" in nodus("get", "job-1").stderr


def test_an_unexpected_exception_is_not_hidden(nodus: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a bug, and a report of it needs the traceback."""

    async def broken(self: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("nodus.AsyncClient.healthz", broken)

    with pytest.raises(ZeroDivisionError):
        nodus("health")
