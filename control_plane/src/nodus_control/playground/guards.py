"""Who may talk to a playground. Every page that the user visits can reach a local server; these keep it out.

A `Host` that is neither loopback nor allowed is a name that somebody pointed here (DNS rebinding); an `Origin` other
than this server is another page's script. Where commands really run, the page is an empty shell for whom its visitors
do not include.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from functools import lru_cache

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import ApiError
from .seeded import SeededKeys
from .visitors import Visitors

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HARDENING = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?\Z")


@dataclass(frozen=True)
class Guard:
    """What a playground checks. `visitors` is None if the page is open to everybody who can connect.

    The page calls the API with these keys.
    """

    allowed_hosts: frozenset[str] = frozenset()
    visitors: Visitors | None = field(default=None, repr=False)
    page_keys: SeededKeys | None = field(default=None, repr=False)

    def admits_host(self, host: str | None) -> bool:
        """Say whether a `Host` header names this machine, or an allowed name."""
        found = _HOST.match(host or "")
        return found is not None and self._is_own(found.group(1))

    def admits_origin(self, origin: str | None, host: str | None) -> bool:
        """Say whether an `Origin` is this server itself; without one, the request does not come from another page."""
        return origin is None or (host is not None and origin.casefold() == f"http://{host}".casefold())

    def _is_own(self, name: str) -> bool:
        bare = name.strip("[]").rstrip(".").casefold()
        return bare in self.allowed_hosts or is_loopback(bare)


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Say whether a host name or address is this machine's loopback; no name is looked up."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class GuardMiddleware:
    """Refuses whom the guard does not admit, and hardens every answer."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HARDENING]
            await send(message)

        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        host = hosts[0] if len(hosts) == 1 else None
        request_id: str = scope["state"]["request_id"]
        if not self._guard.admits_host(host):
            refusal = ApiError(
                421,
                "host_not_allowed",
                "The playground answers only to loopback names: use 127.0.0.1 or localhost, or --allow-host.",
            )
        elif len(origins) > 1 or not self._guard.admits_origin(origins[0] if origins else None, host):
            refusal = ApiError(403, "origin_not_allowed", "The playground answers no other site's pages.")
        else:
            await self._app(scope, receive, send_hardened)
            return
        await refusal.response(request_id)(scope, receive, send_hardened)
