"""`nodus doctor`: each check, and what it advises."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from nodus._cli.diagnosis import look_at_clock, skew_of
from tests.cli.conftest import Command
from tests.cli.stub import Answer, Stub

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


@pytest.fixture
def healthy(stub: Stub) -> Stub:
    stub.answer("GET /healthz", Answer(200, {"status": "ok", "version": "9.9"}))
    stub.answer("GET /v1/jobs", Answer(200, {"jobs": []}))
    return stub


def findings(stdout: str) -> dict[str, dict[str, str]]:
    return {finding["check"]: finding for finding in map(json.loads, stdout.splitlines())}


@pytest.mark.usefixtures("backend", "healthy")
def test_all_is_well(nodus: Command) -> None:
    """And it says what it looked at, without more of the key than its prefix."""
    result = nodus("doctor")

    assert result.status == 0
    assert "FAILED" not in result.stdout
    assert "NODUS_API_KEY: nk_test_...\n" in result.stdout
    assert "control plane: ok 9.9" in result.stdout
    assert "ok       clock: " in result.stdout


def test_nothing_set(command: Command) -> None:
    """What needs no network is still looked at."""
    result = command("doctor", "--json")

    found = findings(result.stdout)
    assert result.status == 3
    assert found["NODUS_API_KEY"]["result"] == "failed"
    assert "export NODUS_API_KEY" in found["NODUS_API_KEY"]["advice"]
    assert "the default" in found["NODUS_BASE_URL"]["detail"]
    assert "control plane" not in found


def test_a_key_that_is_refused(healthy: Stub, nodus: Command) -> None:
    """The control plane is up; the key is the trouble."""
    healthy.answer("GET /v1/jobs", Answer(401, {"error": "invalid_api_key", "message": "No such key."}))

    result = nodus("doctor")

    assert result.status == 3
    assert "FAILED   key: No such key." in result.stdout
    assert "-> Check NODUS_API_KEY" in result.stdout


def test_a_control_plane_that_is_not_well(healthy: Stub, nodus: Command) -> None:
    """`nodus health` says so too; the rest is looked at all the same."""
    healthy.answer("GET /healthz", Answer(200, {"status": "degraded"}))

    result = nodus("doctor", "--json")

    found = findings(result.stdout)
    assert result.status == nodus("health").status == 10
    assert (found["control plane"]["result"], found["control plane"]["detail"]) == ("failed", "degraded")
    assert found["key"]["result"] == "ok"


def test_a_control_plane_that_is_away(nodus: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once: a doctor does not wait."""
    monkeypatch.setenv("NODUS_BASE_URL", "http://127.0.0.1:1")

    result = nodus("doctor", "--json")

    found = findings(result.stdout)
    assert result.status == 8
    assert "NODUS_BASE_URL" in found["control plane"]["advice"]
    assert "key" not in found


def test_an_address_that_cannot_be_used(nodus: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """And whose password is not shown."""
    monkeypatch.setenv("NODUS_BASE_URL", "https://me:hush@example.org")

    result = nodus("doctor")

    assert result.status == 3
    assert "https://example.org" in result.stdout
    assert "hush" not in result.stdout


@pytest.mark.usefixtures("healthy")
def test_a_key_that_looks_odd(nodus: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning, as another server may have others; it is not shown, as it may be another secret."""
    monkeypatch.setenv("NODUS_API_KEY", "4a9e")

    result = nodus("doctor", "--json")

    assert result.status == 0
    assert findings(result.stdout)["NODUS_API_KEY"]["result"] == "warning"
    assert "4a9e" not in result.stdout


def test_a_clock_that_is_off_is_found_by_the_servers_date(
    healthy: Stub, nodus: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server from another day: signed requests would be refused."""
    healthy.answer("GET /healthz", Answer(200, {"status": "ok"}, {"Date": "Thu, 01 Jan 2015 00:00:00 GMT"}))
    healthy.answer("GET /v1/jobs", Answer(200, {"jobs": []}, {"Date": "Thu, 01 Jan 2015 00:00:00 GMT"}))
    monkeypatch.setenv("NODUS_SIGNING_SECRET", "sgn_0")

    result = nodus("doctor")

    assert result.status == 9
    assert "ahead of the server" in result.stdout


@pytest.mark.parametrize(
    ("skew", "signs", "result", "exit_code"),
    [
        (None, True, "warning", 0),
        (0.4, True, "ok", 0),
        (-29.0, True, "ok", 0),
        (-31.0, True, "warning", 0),
        (301.0, False, "warning", 0),
        (301.0, True, "failed", 9),
        (-301.0, True, "failed", 9),
    ],
)
def test_a_clock_is_judged_by_what_it_breaks(skew: float | None, signs: bool, result: str, exit_code: int) -> None:
    """Half a minute is worth a word; five are the end of signing."""
    finding = look_at_clock(skew, signs=signs)

    assert (finding.result, finding.exit_code) == (result, exit_code)


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("Fri, 02 Jan 2026 03:04:00 GMT", 5.0),
        ("Fri, 02 Jan 2026 03:04:15 -0000", -10.0),
        ("yesterday", None),
    ],
)
def test_dates_are_those_of_http(date: str, expected: float | None) -> None:
    """What is not one says nothing."""
    assert skew_of(date, NOW) == expected
