"""Whose request it is, by address, behind proxies too. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Networks: TypeAlias = tuple[IPNetwork, ...]

UNKNOWN = "unknown"
_OF_ONE_CLIENT_V6 = 64


def parse_networks(texts: Iterable[str]) -> Networks:
    """Read networks such as `10.0.0.0/8`, or single addresses.

    Raises:
        ValueError: one is neither.
    """
    networks: list[IPNetwork] = []
    for text in texts:
        try:
            networks.append(ipaddress.ip_network(text.strip(), strict=False))
        except ValueError:
            raise ValueError(f"{text!r} is neither a network, such as 10.0.0.0/8, nor an address") from None
    return tuple(networks)


def client_address(peer: str | None, forwarded_for: Sequence[str], trusted: Networks) -> str:
    """Return whose requests are counted together: an IPv4 address, or the /64 of an IPv6 one.

    Args:
        peer: who is connected; None if that is not known.
        forwarded_for: the values of `X-Forwarded-For`, in order. Only what a trusted peer added, the last of them, is
            believed.
        trusted: the proxies.
    """
    if trusted and forwarded_for and _is_in(peer, trusted):
        last = forwarded_for[-1].rpartition(",")[2].strip()
        peer = peer if _parsed(last) is None else last
    return _counted_as(peer)


def _is_in(peer: str | None, networks: Networks) -> bool:
    address = _parsed(peer)
    return address is not None and any(address in network for network in networks)


@lru_cache(maxsize=1024)
def _counted_as(text: str | None) -> str:
    address = _parsed(text)
    if address is None:
        return UNKNOWN
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address, _OF_ONE_CLIENT_V6), strict=False))
    return str(address)


def _parsed(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address((text or "").strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
