"""`nodus doctor`: each check, and what it advises."""

from __future__ import annotations

import json
import ssl
from datetime import datetime, timezone
from urllib.parse import urlsplit

import httpx
import pytest

from nodus import APIConnectionError
from nodus._cli.diagnosis import Finding, check_clock, check_proxy, skew_of
from nodus._cli.failures import advice_for
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
    """Every check is reported, and only the prefix of the key is shown."""
    result = nodus("doctor")

    assert result.status == 0
    assert "FAILED" not in result.stdout
    assert "NODUS_API_KEY: nk_test_...\n" in result.stdout
    assert "control plane: ok 9.9" in result.stdout
    assert "ok       clock: " in result.stdout


def test_nothing_set(command: Command) -> None:
    """The checks that need no network are still made."""
    result = command("doctor", "--json")

    found = findings(result.stdout)
    assert result.status == 3
    assert found["NODUS_API_KEY"]["result"] == "failed"
    assert "export NODUS_API_KEY" in found["NODUS_API_KEY"]["advice"]
    assert "the default" in found["NODUS_BASE_URL"]["detail"]
    assert "control plane" not in found


def test_a_key_that_is_refused(healthy: Stub, nodus: Command) -> None:
    """The control plane counts as up; the key is the check that fails."""
    healthy.answer("GET /v1/jobs", Answer(401, {"error": "invalid_api_key", "message": "No such key."}))

    result = nodus("doctor")

    assert result.status == 3
    assert "FAILED   key: No such key." in result.stdout
    assert "-> Check NODUS_API_KEY" in result.stdout


def test_a_control_plane_that_is_not_well(healthy: Stub, nodus: Command) -> None:
    """The remaining checks are made all the same."""
    healthy.answer("GET /healthz", Answer(200, {"status": "degraded"}))

    result = nodus("doctor", "--json")

    found = findings(result.stdout)
    assert result.status == nodus("health").status == 10
    assert (found["control plane"]["result"], found["control plane"]["detail"]) == ("failed", "degraded")
    assert found["key"]["result"] == "ok"


def test_a_control_plane_that_is_away(nodus: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked only once, without retries."""
    monkeypatch.setenv("NODUS_BASE_URL", "http://127.0.0.1:1")

    result = nodus("doctor", "--json")

    found = findings(result.stdout)
    assert result.status == 8
    assert "NODUS_BASE_URL" in found["control plane"]["advice"]
    assert "key" not in found


def test_an_address_that_cannot_be_used(nodus: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting fails, and a password in it is not shown."""
    monkeypatch.setenv("NODUS_BASE_URL", "https://me:hush@example.org")

    result = nodus("doctor")

    assert result.status == 3
    assert "https://example.org" in result.stdout
    assert "hush" not in result.stdout


@pytest.mark.usefixtures("healthy")
def test_a_key_that_looks_odd(nodus: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """This is only a warning, and the key is not shown, as it may be another secret."""
    monkeypatch.setenv("NODUS_API_KEY", "4a9e")

    result = nodus("doctor", "--json")

    assert result.status == 0
    assert findings(result.stdout)["NODUS_API_KEY"]["result"] == "warning"
    assert "4a9e" not in result.stdout


def test_a_clock_that_is_off_is_found_by_the_servers_date(
    healthy: Stub, nodus: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server would refuse requests that this clock signs."""
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
    """Thirty seconds are a warning; past the tolerance of signatures it fails, if requests are signed."""
    finding = check_clock(skew, signs=signs)

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
    """Anything else than an HTTP date gives no skew."""
    assert skew_of(date, NOW) == expected


def proxy_of(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, url: str = "https://api.example"
) -> Finding | None:
    """What doctor says of the proxies that are named in this environment."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return check_proxy(environ, urlsplit(url))


def test_the_proxy_in_use_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that name it are listed too."""
    finding = proxy_of({"HTTPS_PROXY": "http://me:hush@proxy.example:3128"}, monkeypatch)

    assert finding is not None
    assert finding.detail == "http://proxy.example:3128 for api.example, from HTTPS_PROXY"


def test_no_proxy_is_told_with_what_keeps_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is this machine, `NO_PROXY`, or that none is named for the scheme."""
    exempt = proxy_of({"HTTPS_PROXY": "http://proxy.example", "NO_PROXY": "api.example"}, monkeypatch)
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("HTTPS_PROXY")
    other = proxy_of({"HTTP_PROXY": "http://proxy.example"}, monkeypatch)
    monkeypatch.delenv("HTTP_PROXY")

    assert exempt is not None
    assert other is not None
    assert exempt.detail == "none for api.example, because NO_PROXY names it; set: HTTPS_PROXY"
    assert other.detail == "none for api.example, because none is named for https; set: HTTP_PROXY"
    assert proxy_of({}, monkeypatch) is None


def test_a_proxy_that_cannot_be_used_is_a_setting_to_correct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address is not repeated: it may hold a password."""
    finding = proxy_of({"HTTPS_PROXY": "gopher://me:hush@proxy.example"}, monkeypatch)

    assert finding is not None
    assert (finding.result, finding.exit_code) == ("failed", 3)
    assert "hush" not in finding.detail + finding.advice


def test_a_proxy_is_part_of_the_picture(nodus: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the control plane cannot be reached, the advice names the proxy too."""
    monkeypatch.setenv("NODUS_BASE_URL", "https://api.example.invalid")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    result = nodus("doctor")

    assert result.status == 8
    assert "proxy: http://127.0.0.1:1 for api.example.invalid" in result.stdout
    assert "proxy" in result.stdout.splitlines()[-1] + result.stdout.splitlines()[-2]


@pytest.mark.parametrize(
    ("verify_code", "expected"),
    [
        (10, "not valid at this time"),
        (9, "not valid at this time"),
        (62, "for another host"),
        (64, "for another host"),
        (18, "SSL_CERT_FILE"),
        (19, "SSL_CERT_FILE"),
        (20, "SSL_CERT_FILE"),
    ],
)
def test_a_certificate_that_does_not_verify_has_its_own_advice(verify_code: int, expected: str) -> None:
    """The advice depends on OpenSSL's code, and names the system's store where there is one."""
    advice = advice_for(verify_code, "/etc/ssl/store.pem")

    assert expected in advice
    assert ("/etc/ssl/store.pem" in advice) == (expected == "SSL_CERT_FILE")
    assert "(" not in advice_for(20, None)


@pytest.mark.parametrize("words", [("health",), ("doctor",)])
def test_a_certificate_is_told_from_an_address(
    nodus: Command, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """The certificate error is found at any depth of the chain of causes."""

    async def unverified(self: object) -> dict[str, object]:
        cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
        cause.verify_code = 20
        raise APIConnectionError("GET /healthz failed") from cause

    monkeypatch.setattr("nodus.AsyncClient.healthz", unverified)
    result = nodus(*words)

    assert result.status == 8
    assert "SSL_CERT_FILE" in result.stdout + result.stderr
    assert "Check that NODUS_BASE_URL is right" not in result.stdout


def test_who_stands_before_the_control_plane_is_not_taken_for_it(stub: Stub, nodus: Command) -> None:
    """A proxy's refusal does not make the key invalid."""
    stub.answer("GET /v1/jobs", Answer(403, "<html>Forbidden by the proxy</html>", {"Content-Type": "text/html"}))
    result = nodus("list")

    assert result.status == 3
    assert "The key is known" not in result.stderr
    assert "a proxy or another server" in result.stderr


@pytest.mark.parametrize("words", [("health",), ("doctor",)])
def test_a_proxys_failure_is_told_from_the_control_planes(
    nodus: Command, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """The exception behind the error tells which of the two failed."""

    async def refused(self: object) -> dict[str, object]:
        raise APIConnectionError("GET /healthz failed: 403 Forbidden") from httpx.ProxyError("403 Forbidden")

    monkeypatch.setattr("nodus.AsyncClient.healthz", refused)
    result = nodus(*words)

    assert result.status == 8
    assert "Check HTTPS_PROXY" in result.stdout + result.stderr
    assert "Check that NODUS_BASE_URL is right" not in result.stdout
