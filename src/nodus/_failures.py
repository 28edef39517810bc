"""From what a transport raised to a failed attempt: where exceptions of other libraries are translated."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx

from ._errors import APIConnectionError, APITimeoutError
from ._retry import Failure

if TYPE_CHECKING:
    from ._calls import Call

_ORDINARY = (OSError, EOFError, UnicodeError)

_PACKAGES = frozenset(("anyio", "asyncio", "h11", "h2", "httpcore", "httpx", "json", "socksio", "ssl", "trio", "zlib"))
"""Where the exceptions come from that say how the network or the peer misbehaved."""

# By name, because httpx, httpcore, anyio and trio have classes of their own for the same thing.
_TIMEOUTS = frozenset(("TimeoutException", "TimeoutError", "TooSlowError"))
_NEVER_SENT = frozenset(
    (
        "ConnectError",
        "ConnectTimeout",
        "InvalidURL",
        "LocalProtocolError",
        "PoolTimeout",
        "ProxyError",
        "UnsupportedProtocol",
    )
)
"""Raised before the request's first byte is sent: the server cannot have acted on it."""


def _is_of_network(exc: Exception) -> bool:
    """Whether a transport raises this when the network or the peer misbehaves; anything else is a bug.

    A group is, where everything in it is.
    """
    members = getattr(exc, "exceptions", None)
    if isinstance(members, tuple):
        return all(map(_is_of_network, members))
    return isinstance(exc, _ORDINARY) or any(
        kind.__module__.partition(".")[0] in _PACKAGES for kind in type(exc).__mro__
    )


def failure_from_exception(exc: Exception, call: Call) -> Failure:
    """Turn what a transport raised into a failed attempt, its cause chained; raise it again where it is a bug."""
    if not _is_of_network(exc):
        raise exc
    for link in chain_of(exc):
        if isinstance(link, httpx.HTTPError):
            _forget_request(link)
    names = {kind.__name__ for kind in type(exc).__mro__}
    timed_out = bool(names & _TIMEOUTS)
    kind = APITimeoutError if timed_out else APIConnectionError
    # An event loop says in words of its own that it cancelled what took too long: no news for the user.
    texts = (str(link) for link in chain_of(exc) if isinstance(link, Exception))
    detail = next(filter(None, texts), type(exc).__name__)
    error = kind(
        f"{call.method} {call.path} {'timed out' if timed_out else 'failed'}: {detail}",
        outcome_unknown=not names & _NEVER_SENT,
    )
    error.__cause__ = exc
    return Failure(error, permanent=_is_permanent(exc))


def chain_of(exc: BaseException) -> Iterator[BaseException]:
    """Give an exception and what it came from, the latest first; libraries wrap the one that says why."""
    link: BaseException | None = exc
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _forget_request(exc: httpx.HTTPError) -> None:
    """Let go of the request: it holds the bearer, and errors get logged and pickled."""
    exc.request = None  # type: ignore[assignment]  # httpx sees to it that it is set, not that it can be unset
    if isinstance(exc, httpx.HTTPStatusError):
        exc.response = None  # type: ignore[assignment]  # likewise


def _is_permanent(exc: BaseException) -> bool:
    """Whether no retry can mend it: a URL that cannot be used, or a TLS certificate that does not verify."""
    return any(
        isinstance(link, (ssl.SSLCertVerificationError, httpx.InvalidURL, httpx.UnsupportedProtocol))
        for link in chain_of(exc)
    )
