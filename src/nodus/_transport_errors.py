"""What the exceptions of HTTP libraries mean, in one table, by name: httpx and httpcore each have a class for the same.

So do anyio and trio, and the successors of httpx and httpcore.
"""

from __future__ import annotations

PACKAGES = frozenset(
    (
        "anyio",
        "asyncio",
        "h11",
        "h2",
        "httpcore",
        "httpcore2",
        "httpx",
        "httpx2",
        "json",
        "socksio",
        "ssl",
        "trio",
        "zlib",
    )
)
"""Whose exceptions mean that the network or the peer misbehaved."""

TIMEOUTS = frozenset(("TimeoutException", "TimeoutError", "TooSlowError"))
"""Time ran out."""

NEVER_SENT = frozenset(
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

CONNECTING = frozenset(("ConnectError", "ConnectTimeout"))
"""There is no connection, or the TLS handshake over it failed."""

DEAD_CONNECTION = frozenset(("CloseError", "ReadError", "RemoteProtocolError", "WriteError"))
"""How a connection fails that the peer had closed while it was idle."""

PROXY = frozenset(("ProxyError",))
"""A proxy refused."""

UNUSABLE_URL = frozenset(("InvalidURL", "UnsupportedProtocol"))
"""The request can never be sent."""


_HTTP_LIBRARIES = frozenset(("httpcore", "httpcore2", "httpx", "httpx2"))
_TRANSPORT = frozenset(("NetworkError", "ProtocolError", "ProxyError", "TimeoutException", "UnsupportedProtocol"))


def is_of_transport(exc: BaseException) -> bool:
    """Whether httpx or httpcore could not send a request, or not read its response."""
    return any(kind.__name__ in _TRANSPORT and package_of(kind) in _HTTP_LIBRARIES for kind in type(exc).__mro__)


def means(exc: BaseException, meaning: frozenset[str]) -> bool:
    """Whether an exception is of one of these classes, whichever library it comes from."""
    return not meaning.isdisjoint(kind.__name__ for kind in type(exc).__mro__)


def package_of(kind: type) -> str:
    """The package that defines a class."""
    return kind.__module__.partition(".")[0]
