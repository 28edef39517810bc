"""The checks of `nodus doctor`, ordered so that each depends only on those before it."""

from __future__ import annotations

import email.utils
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from .. import __version__
from .._config import DEFAULT_BASE_URL, is_loopback
from .._errors import APIConnectionError, ConfigurationError, NodusError
from .._origin import SDK
from .._signing import TOLERANCE_SECONDS
from . import exit_codes, ownership
from .event_loop import choose_backend
from .failures import certificate_advice, hint, is_of_proxy
from .invocation import Invocation
from .output import Output, Painted

if TYPE_CHECKING:
    from .._hooks import ResponseEvent

NOTABLE_SKEW_SECONDS = 30.0
KEY_PREFIXES = ("nk_live_", "nk_test_")

_PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_CREDENTIALS = re.compile(r"//[^/]*@")
_MARKS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "failed": ("FAILED", "red")}


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: the name of the check.
        result: `ok`, `warning` or `failed`.
        detail: what was seen.
        advice: what to do; empty if nothing needs to be done.
        exit_code: the exit status that this calls for.
    """

    check: str
    result: str
    detail: str
    advice: str = ""
    exit_code: int = exit_codes.OK


class ServerDates:
    """Remembers how far the server's clock, by the `Date` of its answers, is from this machine's."""

    def __init__(self) -> None:
        self.skew_seconds: float | None = None

    def __call__(self, event: ResponseEvent) -> None:
        date = next((value for name, value in event.headers.items() if name.lower() == "date"), None)
        skew = None if date is None else skew_of(date, datetime.now(timezone.utc))
        if skew is not None:
            self.skew_seconds = skew


def skew_of(date: str, now: datetime) -> float | None:
    """Return how many seconds this machine's time `now` is ahead of an HTTP date; None if that is not one."""
    try:
        server = email.utils.parsedate_to_datetime(date)
    except ValueError:
        return None
    if server.tzinfo is None:
        server = server.replace(tzinfo=timezone.utc)
    return (now - server).total_seconds()


def check_settings(environ: Mapping[str, str]) -> list[Finding]:
    """Make the checks that need no network."""
    findings = [Finding("version", "ok", f"{SDK} {__version__}, Python {platform.python_version()}")]
    findings.append(Finding("event loop", "ok", choose_backend(environ)))
    findings.append(_check_key(environ.get("NODUS_API_KEY")))
    base_url = environ.get("NODUS_BASE_URL") or f"{DEFAULT_BASE_URL} (the default)"
    findings.append(Finding("NODUS_BASE_URL", "ok", _CREDENTIALS.sub("//", base_url)))
    signing = "set: requests are signed" if environ.get("NODUS_SIGNING_SECRET") else "not set: requests are not signed"
    findings.append(Finding("NODUS_SIGNING_SECRET", "ok", signing))
    return findings


def check_installation(found: ownership.Ownership) -> list[Finding]:
    """Say whose the package and the command `nodus` are, and which other distribution has such a one too."""
    package = f"{found.own or f'{SDK} {__version__}, not installed'}, in {found.package}"
    findings = [
        Finding("package nodus", "ok", package),
        Finding("command nodus", "ok", found.command or "not on PATH: run `python -m nodus`"),
    ]
    conflicts = [Finding("installation", "warning", text, ownership.ADVICE) for text in found.conflicts()]
    return findings + conflicts


def check_proxy(environ: Mapping[str, str], base_url: SplitResult) -> Finding | None:
    """Say through which proxy the control plane is reached, without the proxy's password; None if there are none.

    Args:
        environ: the environment, to tell why a proxy is not used.
        base_url: the control plane's address.
    """
    from .._proxies import environment_proxy

    named = sorted(name for name in environ if name.upper() in _PROXY_VARIABLES and environ[name])
    if not named:
        return None
    host = base_url.hostname or ""
    try:
        proxy = environment_proxy(base_url.scheme, host, base_url.port)
    except ConfigurationError as exc:
        advice = f"Correct {', '.join(named)}, or add {host} to NO_PROXY."
        return Finding("proxy", "failed", exc.message, advice, exit_codes.CONFIGURATION)
    if proxy is not None:
        return Finding("proxy", "ok", f"{_CREDENTIALS.sub('//', str(proxy.url))} for {host}, from {', '.join(named)}")
    if is_loopback(host):
        why = "it is this machine"
    elif environ.get("NO_PROXY") or environ.get("no_proxy"):
        why = "NO_PROXY names it"
    else:
        why = f"none is named for {base_url.scheme}"
    return Finding("proxy", "ok", f"none for {host}, because {why}; set: {', '.join(named)}")


def _check_key(key: str | None) -> Finding:
    """Judge a key without showing more than its prefix."""
    check = "NODUS_API_KEY"
    if not key:
        advice = "Set it to a key from the console: export NODUS_API_KEY=nk_live_..."
        return Finding(check, "failed", "not set", advice, exit_codes.CONFIGURATION)
    prefix = next((prefix for prefix in KEY_PREFIXES if key.startswith(prefix)), None)
    if prefix is None:
        return Finding(check, "warning", "set", f"Keys start with {' or '.join(KEY_PREFIXES)}: is this one complete?")
    return Finding(check, "ok", f"{prefix}...")


def check_health(health: Mapping[str, object]) -> Finding:
    """Judge what the control plane says about itself."""
    status = health.get("status", "ok")
    detail = f"{status} {health.get('version', '')}".strip()
    if status == "ok":
        return Finding("control plane", "ok", detail)
    advice = "It answers, but reports a problem: ask its operator."
    return Finding("control plane", "failed", detail, advice, exit_codes.API_ERROR)


def check_clock(skew_seconds: float | None, *, signs: bool) -> Finding:
    """Judge a clock.

    Args:
        skew_seconds: how far this machine is ahead of the server; None if that is not known.
        signs: whether requests are signed, so that a wrong clock makes the server refuse them.
    """
    if skew_seconds is None:
        return Finding("clock", "warning", "the server does not tell the time")
    detail = f"{abs(skew_seconds):.0f} s {'ahead of' if skew_seconds > 0 else 'behind'} the server"
    if abs(skew_seconds) < NOTABLE_SKEW_SECONDS:
        return Finding("clock", "ok", detail)
    advice = f"Correct this machine's clock: signatures are refused when it is more than {TOLERANCE_SECONDS} s off."
    if signs and abs(skew_seconds) > TOLERANCE_SECONDS:
        return Finding("clock", "failed", detail, advice, exit_codes.SIGNATURE)
    return Finding("clock", "warning", detail, advice)


async def diagnose(invocation: Invocation, *, as_json: bool) -> int:
    """Make every check that can be made, show each finding, and return the exit status of the first that failed."""
    status = exit_codes.OK

    def show(finding: Finding) -> None:
        nonlocal status
        if finding.exit_code and not status:
            status = finding.exit_code
            if as_json:
                message = f"{finding.check}: {finding.detail}"
                invocation.fail("check_failed", message, hint=finding.advice or None)
        _show(invocation.output, finding, as_json=as_json)

    for finding in [*check_settings(os.environ), *check_installation(ownership.find_ownership())]:
        show(finding)
    proxy = _check_proxy_of(os.environ)
    if proxy is not None:
        show(proxy)
    dates = ServerDates()
    try:
        async with invocation.client(on_response=dates) as client:
            hurried = client.with_options(max_retries=0)
            try:
                health = await hurried.healthz()
            except NodusError as exc:
                show(_unreachable(exc, proxy))
            else:
                show(check_health(health))
                try:
                    await hurried.list(limit=1)
                except NodusError as exc:
                    show(_failed("key", exc))
                else:
                    show(Finding("key", "ok", "accepted"))
            if dates.skew_seconds is not None or status == exit_codes.OK:
                show(check_clock(dates.skew_seconds, signs=bool(os.environ.get("NODUS_SIGNING_SECRET"))))
    except ConfigurationError as exc:
        if status == exit_codes.OK:
            show(_failed("settings", exc))
    return status


def _check_proxy_of(environ: Mapping[str, str]) -> Finding | None:
    try:
        base_url = urlsplit(environ.get("NODUS_BASE_URL") or DEFAULT_BASE_URL)
        is_usable = base_url.scheme in ("http", "https") and bool(base_url.hostname) and base_url.port != 0
    except ValueError:
        return None
    return check_proxy(environ, base_url) if is_usable else None


def _unreachable(error: NodusError, proxy: Finding | None) -> Finding:
    """Judge a control plane that does not answer as one."""
    if isinstance(error, APIConnectionError) and (certificate_advice(error) or is_of_proxy(error)):
        return _failed("control plane", error)
    advice = "Check that NODUS_BASE_URL is right, and that this machine can reach it."
    if proxy is not None:
        advice = "Check that NODUS_BASE_URL and the proxy are right, and that this machine can reach them."
    return replace(_failed("control plane", error), advice=advice)


def _failed(check: str, error: NodusError) -> Finding:
    return Finding(check, "failed", str(error), hint(error), exit_codes.of_error(error))


def _show(output: Output, finding: Finding, *, as_json: bool) -> None:
    if as_json:
        output.json({name: value for name, value in asdict(finding).items() if name != "exit_code"})
        return
    mark, colour = _MARKS[finding.result]
    output.data(Painted(mark.ljust(7), colour), f"  {finding.check}: {finding.detail}")
    if finding.advice:
        output.data(f"{'':7}  -> {finding.advice}")
