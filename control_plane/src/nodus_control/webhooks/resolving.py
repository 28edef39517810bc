"""Where URLs lead right now: looks names up, and judges all of their addresses.

This happens when an endpoint is registered, and again at every attempt, for the very addresses that are then connected
to: a name may have been pointed elsewhere meanwhile.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

import anyio
import anyio.to_thread

from .addresses import AddressRefused, Allowed, IPAddress, admit
from .fair_share import Limits
from .lookups import Lookups, Resolve
from .urls import Target, parse_url

REGISTRATION_SECONDS = 3.0
"""How long, in seconds, looking a name up may take when it is registered."""

_LOOKUPS = Limits().in_all
"""As many as there can be attempts: whoever owns names that nobody answers for must not keep others from theirs."""


class NameNotResolved(Exception):
    """No address of the name can be found right now."""


def system_addresses(name: str, port: int) -> Sequence[str]:
    """Look a name up as this machine does.

    Raises:
        OSError: it has no address, or no name server answers.
    """
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except UnicodeError as exc:
        raise OSError("the name cannot be looked up") from exc
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Destinations:
    """Says where deliveries to a URL may go."""

    def __init__(self, allowed: Allowed, resolve: Resolve = system_addresses) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._lookups: anyio.CapacityLimiter | None = None
        self._of_registrations = Lookups(resolve)

    async def check(self, url: str, customer_id: str) -> None:
        """Judge a URL that a customer wants to register; takes at most 3 s.

        A name that cannot be looked up now is accepted for `https`, since it is judged again before anything is sent;
        `http` must be seen to lead to this machine.

        Raises:
            InvalidUrl: events cannot be delivered to such a URL.
            AddressRefused: nothing may be delivered to where it leads.
        """
        target = parse_url(url)
        addresses = self._known(target)
        if addresses is None:
            addresses = await self._of_registrations.find(customer_id, target.host, target.port, REGISTRATION_SECONDS)
        if addresses or target.scheme != "https":
            self._admit(target, addresses or [])

    async def find(self, target: Target) -> list[IPAddress]:
        """Return the addresses to connect to, one after the other until one answers.

        Raises:
            AddressRefused: one of them is not allowed.
            NameNotResolved: there are none.
        """
        addresses = self._known(target)
        if addresses is None:
            if self._lookups is None:
                self._lookups = anyio.CapacityLimiter(_LOOKUPS)
            try:
                addresses = await anyio.to_thread.run_sync(
                    self._resolve, target.host, target.port, abandon_on_cancel=True, limiter=self._lookups
                )
            except OSError:
                raise NameNotResolved from None
        if not addresses:
            raise NameNotResolved
        return self._admit(target, addresses)

    def _admit(self, target: Target, addresses: Sequence[str]) -> list[IPAddress]:
        return admit(
            scheme=target.scheme, host=target.host, port=target.port, addresses=addresses, allowed=self._allowed
        )

    def _known(self, target: Target) -> Sequence[str] | None:
        """Return the addresses that need no lookup; None for a name that does."""
        if target.is_address:
            return [target.host]
        if target.host.endswith(".localhost"):
            # RFC 6761, section 6.3: these names are this machine's, whatever a name server says.
            return ["127.0.0.1", "::1"]
        return None


__all__ = ["AddressRefused", "Destinations", "NameNotResolved", "Resolve", "system_addresses"]
