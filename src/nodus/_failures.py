"""Turns what a transport raised into a failed attempt: where other libraries' exceptions are translated."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ._errors import APIConnectionError, APITimeoutError, ConfigurationError, Failure
from ._httpx import httpx
from ._proxies import is_final_refusal
from ._tls_failures import advice_for
from ._transport_errors import NEVER_SENT, PACKAGES, PROXY, TIMEOUTS, UNUSABLE_URL, means, package_of

if TYPE_CHECKING:
    from ._calls import Call

_ORDINARY = (OSError, EOFError, UnicodeError)


def _is_of_network(exc: Exception) -> bool:
    """Whether this means that the network or the peer misbehaved; anything else is a bug.

    An exception group does if everything in it does.
    """
    members = getattr(exc, "exceptions", None)
    if isinstance(members, tuple):
        return all(map(_is_of_network, members))
    return isinstance(exc, _ORDINARY) or any(package_of(kind) in PACKAGES for kind in type(exc).__mro__)


def failure_from_exception(exc: Exception, call: Call) -> Failure:
    """Turn what a transport raised into a failed attempt, with its cause chained; re-raise it if it is a bug.

    Raises:
        ConfigurationError: (`client_closed`) the interpreter is shutting down, and this comes of it: modules, codecs
            and threads can be had no more.
    """
    if sys.is_finalizing() and not _is_of_network(exc):
        raise ConfigurationError(
            f"{call.method} {call.path} was not sent: Python is shutting down. Make the last calls before the program "
            "ends, such as with `atexit` or a context manager, not in `__del__`.",
            code="client_closed",
        ) from exc
    if not _is_of_network(exc):
        raise exc
    for link in chain_of(exc):
        if isinstance(link, httpx.HTTPError):
            _forget_request(link)
    timed_out = means(exc, TIMEOUTS)
    kind = APITimeoutError if timed_out else APIConnectionError
    # Skips the event loop's own cancellation, which is how it ends what took too long: no news to the user.
    texts = (str(link) for link in chain_of(exc) if isinstance(link, Exception))
    detail = next(filter(None, texts), type(exc).__name__)
    place = " at the proxy" if means(exc, PROXY) else ""
    advice = _tls_advice(exc)
    error = kind(
        f"{call.method} {call.path} {'timed out' if timed_out else 'failed'}{place}: {detail}"
        + ("" if advice is None else f". {advice}"),
        # A server whose handshake failed has not read the request, even where TLS 1.3 had let it be sent already.
        outcome_unknown=advice is None and not means(exc, NEVER_SENT),
    )
    error.__cause__ = exc
    return Failure(error, permanent=advice is not None or _is_permanent(exc))


def chain_of(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that it came from, latest first; libraries wrap the one that says why."""
    link: BaseException | None = exc
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _forget_request(exc: httpx.HTTPError) -> None:
    """Drop the request: it holds the bearer, and errors are logged and pickled."""
    exc.request = None  # type: ignore[assignment]  # httpx lets it be set, but its types do not let it be unset
    if isinstance(exc, httpx.HTTPStatusError):
        exc.response = None  # type: ignore[assignment]  # likewise


def _tls_advice(exc: BaseException) -> str | None:
    """What to do about a TLS handshake that no retry can mend; None for anything else."""
    advice = (advice_for(link) for link in chain_of(exc) if isinstance(link, ssl.SSLError))
    return next(filter(None, advice), None)


def _is_permanent(exc: BaseException) -> bool:
    """Whether no retry can help: an unusable URL, or a proxy that would refuse again."""
    return any(
        means(link, UNUSABLE_URL) or (means(link, PROXY) and is_final_refusal(str(link))) for link in chain_of(exc)
    )
