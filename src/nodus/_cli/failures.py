"""What went wrong, as its user reads it: errors, what to do about them, and retries while they happen.

A person reads a few lines, a program one JSON object.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

from .._errors import (
    APIConnectionError,
    AuthenticationError,
    BudgetExceededError,
    NodusError,
    NotFoundError,
    RateLimitError,
    SignatureError,
    SupplierUnavailableError,
)
from .._logs import logger
from .._money import dollars
from . import exit_codes
from .output import Output, Painted
from .quoting import options_that_fit

# Replaces messages of the library that speak of Python.
_MESSAGES = {
    "missing_api_key": "No API key. Set the environment variable NODUS_API_KEY: export NODUS_API_KEY=nk_live_...",
}

_SIGNATURE_HINTS = {
    "signature_invalid": "Sign with the secret that belongs to this key: set NODUS_SIGNING_SECRET.",
    "signature_stale": "Correct this machine's clock; `nodus doctor` shows how far off it is.",
    "signing_secret_unavailable": "The server no longer has the key's signing secret: rotate the key.",
}


EXPIRED = frozenset((9, 10))
"""`X509_V_ERR_CERT_NOT_YET_VALID` and `X509_V_ERR_CERT_HAS_EXPIRED` of OpenSSL."""

OTHER_HOST = frozenset((62, 64))
"""`X509_V_ERR_HOSTNAME_MISMATCH` and `X509_V_ERR_IP_ADDRESS_MISMATCH`."""

# The modules of the library whose log messages tell why a command waits.
_RETRYING = ("session", "polling", "event_stream", "log_stream", "polled_events")


@dataclass(frozen=True)
class Failure:
    """What a program reads on stderr, as JSON, of a command that was called with `--json`.

    Attributes:
        error: a stable identifier, as in `NodusError.code`; `usage_error` for a command line that cannot be understood.
        message: what happened.
        status: the HTTP status; None if no response came.
        request_id: the server's id of the request, or None.
        retry_after: after how many seconds the server asked to be tried again, or None.
        exit_code: the exit status.
        hint: what to do next, or None.
        docs_url: where more is written about it, or None.
    """

    error: str
    message: str
    status: int | None = None
    request_id: str | None = None
    retry_after: float | None = None
    exit_code: int = exit_codes.API_ERROR
    hint: str | None = None
    docs_url: str | None = None


def failure_of(error: NodusError, advice: Iterable[str] = ()) -> Failure:
    """Return what a program reads about an error.

    Args:
        error: what happened.
        advice: lines on how to go on with what was under way.
    """
    hints = [line for line in (hint(error), *(line.strip() for line in advice)) if line]
    return Failure(
        error=error.code,
        message=_MESSAGES.get(error.code) or error.message,
        status=error.status_code,
        request_id=error.request_id,
        retry_after=error.retry_after,
        exit_code=exit_codes.of_error(error),
        hint="\n".join(hints) or None,
        docs_url=getattr(error, "docs_url", None),
    )


def show_error(output: Output, error: NodusError, advice: list[str]) -> None:
    """Write an error to stderr; arguments as for `failure_of`."""
    if output.for_programs:
        show_failure(output, failure_of(error, advice))
        return
    text = _MESSAGES.get(error.code) or str(error)
    output.note(Painted("Error:", "red"), f" {text}")
    for line in (hint(error), *advice):
        if line:
            output.note(line)


def show_failure(output: Output, failure: Failure) -> None:
    """Write a failure to stderr."""
    if output.for_programs:
        output.error(asdict(failure))
    else:
        output.note(failure.message)


def hint(error: NodusError) -> str:
    """Return one sentence on what to do about an error, or an empty string if its message says it all."""
    if isinstance(error, BudgetExceededError):
        fitting = error.largest_fitting
        fits = "" if fitting is None else options_that_fit(fitting)
        return _budget_hint(error.payload) + (f" It would be accepted with {fits}." if fits else "")
    if isinstance(error, SignatureError):
        return _SIGNATURE_HINTS.get(error.code, "")
    if isinstance(error, NotFoundError) and error.code not in ("job_not_found", "http_error"):
        return ""
    if isinstance(error, AuthenticationError) and error.code == "http_error":
        return (
            "This does not come from a control plane, but from a proxy or another server before it: check "
            "NODUS_BASE_URL and the proxy's settings; `nodus doctor` shows both."
        )
    if error.status_code == 403:
        return "The key is known, but may not do this: set NODUS_API_KEY to one that may."
    if error.retry_after is not None:
        return f"Try again in {error.retry_after:g} s, as the server asks."
    if isinstance(error, APIConnectionError):
        return _connection_hint(error)
    for kind, text in _HINTS.items():
        if isinstance(error, kind):
            return text
    return ""


def _connection_hint(error: APIConnectionError) -> str:
    if "SSL_CERT_FILE" in error.message:
        return ""
    if is_of_proxy(error):
        return "Check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY; `nodus doctor` shows the proxy in use."
    return certificate_advice(error) or "Check the network and NODUS_BASE_URL; `nodus doctor` tests both."


_HINTS: dict[type[NodusError], str] = {
    AuthenticationError: "Check NODUS_API_KEY; `nodus doctor` tests it.",
    NotFoundError: "`nodus list` shows your jobs.",
    RateLimitError: "Wait a moment and try again.",
    SupplierUnavailableError: "Try again later, ask for another --gpu, or leave out --require-tier.",
}


def _budget_hint(payload: object) -> str:
    figures = payload if isinstance(payload, Mapping) else {}
    cap, spent = figures.get("monthly_spend_cap_usd"), figures.get("month_to_date_usd")
    if not isinstance(cap, (int, float)) or not isinstance(spent, (int, float)):
        return "Ask for fewer GPUs or a shorter --max-runtime-seconds, or have the key's cap raised."
    quoted = figures.get("estimated_cost_usd")
    asked = f"; this job might cost {dollars(quoted)}" if isinstance(quoted, (int, float)) else ""
    return (
        f"{dollars(max(cap - spent, 0))} of the monthly {dollars(cap)} is left{asked}. Ask for fewer GPUs or a shorter "
        f"--max-runtime-seconds, or have the cap raised."
    )


def certificate_advice(error: BaseException) -> str:
    """Return what to do if a certificate that does not verify is behind an error, else an empty string."""
    # What this imports is loaded wherever there was a connection that could fail.
    from .._failures import chain_of

    cause = next((link for link in chain_of(error) if isinstance(link, ssl.SSLCertVerificationError)), None)
    return "" if cause is None else advice_for(getattr(cause, "verify_code", 0), ssl.get_default_verify_paths().cafile)


def is_of_proxy(error: BaseException) -> bool:
    """Whether a proxy is behind an error: it refused, or could not be reached."""
    from .._failures import chain_of

    # By name, because httpx and httpcore each have a class of their own for it.
    return any(type(link).__name__ == "ProxyError" for link in chain_of(error))


def advice_for(verify_code: int, store: str | None) -> str:
    """Return what to do about one of OpenSSL's verification errors.

    Args:
        verify_code: the error's number (`SSLCertVerificationError.verify_code`).
        store: the file with the operating system's CA certificates; None if it has none.
    """
    if verify_code in EXPIRED:
        return "The server's certificate is not valid at this time: have it renewed, or correct this machine's clock."
    if verify_code in OTHER_HOST:
        return "The server's certificate is for another host: check the name in NODUS_BASE_URL."
    known = f" ({store})" if store else ""
    return (
        "The server's certificate is not signed by an authority that this program knows: it knows those of the package "
        "certifi, not the operating system's. If a company's own authority signed it, set SSL_CERT_FILE to a PEM file "
        f"that has it, such as the operating system's store{known}."
    )


class RetryNotices(logging.Handler):
    """Writes what the library logs about retries and failed polls as notes, to say why a command waits."""

    def __init__(self, output: Output) -> None:
        super().__init__(logging.INFO)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        if record.module in _RETRYING:
            self._output.note(Painted(record.getMessage(), "yellow"))


@contextlib.contextmanager
def shown_retries(output: Output) -> Iterator[None]:
    """Show notes inside the block, unless the user has turned on the library's whole log."""
    level = logger.level
    if logger.isEnabledFor(logging.INFO) and level != logging.NOTSET:
        yield
        return
    handler = RetryNotices(output)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
