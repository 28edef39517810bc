"""Where deliveries may go: pure decisions on addresses. Nothing in here looks a name up or opens a connection.

Customers choose the URLs that a control plane posts to, so these must not lead into its own network.
An address is judged in its plain form: an IPv4 one that is written as IPv6 (mapped or compatible) counts as what it is.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
"""What the playground allows."""

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")

# Networks that some or all versions of `ipaddress` call global, and those that lead elsewhere than it seems.
_NEVER_PUBLIC: Sequence[IPNetwork] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # relays of 6to4
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64 of a network's own
        "2001::/23",  # protocol assignments, Teredo (2001::/32) among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "fec0::/10",  # site-local
    )
)
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\Z")
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)\Z")


class AddressRefused(Exception):
    """Nothing may be delivered there; the message says why, without the addresses of a name."""


@dataclass(frozen=True)
class Allowed:
    """What an operator allows although it is not public: networks, and names whose addresses are not checked."""

    networks: tuple[IPNetwork, ...] = ()
    names: frozenset[str] = field(default=frozenset())

    def admits(self, address: IPAddress) -> bool:
        """Say whether an address, in its plain form, lies in one of the networks."""
        return any(address in network for network in self.networks)


def parse_allowed(entries: Iterable[str]) -> Allowed:
    """Read `--webhook-allow` values: each a CIDR network, an address or a host name.

    Raises:
        ValueError: an entry is none of these.
    """
    networks: list[IPNetwork] = []
    names: set[str] = set()
    for entry in entries:
        text = entry.strip().lower()
        try:
            networks.append(_plain_network(ipaddress.ip_network(text.strip("[]"))))
            continue
        except ValueError:
            pass
        name = text.removesuffix(".")
        if "/" in text or not is_name(name) or numeric_ipv4(name) is not None:
            raise ValueError(f"{entry!r} is neither a network, such as 10.1.0.0/16, nor an address nor a host name")
        names.add(name)
    return Allowed(tuple(networks), frozenset(names))


def is_name(host: str) -> bool:
    """Say whether this can be a host name: lower-case ASCII, without the final dot."""
    return len(host) <= 253 and _NAME.match(host) is not None


def plain(address: IPAddress) -> IPAddress:
    """Return the IPv4 address in an IPv6 one that is mapped (`::ffff:a.b.c.d`) or compatible; None for others."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    is_compatible = address in _COMPATIBLE and int(address) > 1
    if address in _MAPPED or is_compatible:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_public(address: IPAddress) -> bool:
    """Say whether an address, in its plain form, is one that anybody on the internet can reach."""
    if not address.is_global or address.is_multicast or any(address in network for network in _NEVER_PUBLIC):
        return False
    return address.version == 4 or address in _GLOBAL_UNICAST


def numeric_ipv4(host: str) -> ipaddress.IPv4Address | None:
    """Read a host that C libraries take for an IPv4 address, however it is spelt: `127.1`, `0x7f000001`.

    Returns None for a name: a host whose last label is not a number.

    Raises:
        ValueError: its last label is a number, so it cannot be a name, but it is not an address either.
    """
    labels = host.split(".")
    if not _NUMBER.match(labels[-1]):
        return None
    if len(labels) > 4 or not all(_NUMBER.match(label) for label in labels):
        raise ValueError(f"{host} is neither a name nor an address")
    numbers = [_number(label) for label in labels]
    *leading, last = numbers
    if any(number > 255 for number in leading) or last >= 256 ** (5 - len(numbers)):
        raise ValueError(f"{host} is neither a name nor an address")
    value = last
    for place, number in enumerate(leading):
        value += number << (8 * (3 - place))
    return ipaddress.IPv4Address(value)


def admit(*, scheme: str, host: str, port: int, addresses: Sequence[str], allowed: Allowed) -> list[IPAddress]:
    """Judge where a URL leads; return the addresses that may be connected to, in their plain form.

    All addresses of a name are judged, not only the one that would be used. `https` goes to public addresses, on
    port 443 and those from 1024 on, and to whatever is allowed; `http` only to loopback, where that is allowed.

    Args:
        scheme: `http` or `https`.
        host: the name that was looked up, or the address itself.
        port: 1 to 65535.
        addresses: what the name led to, or the address itself.
        allowed: what is allowed beyond public addresses.

    Raises:
        AddressRefused: there is no address, or one of them is not allowed.
    """
    if not addresses:
        raise AddressRefused("the host has no address")
    admitted: list[IPAddress] = []
    for text in addresses:
        try:
            address = plain(ipaddress.ip_address(text))
        except ValueError:
            # A zone, as in fe80::1%eth0: an address of one link only.
            raise AddressRefused("it leads to an address that is not public") from None
        is_allowed = host in allowed.names or allowed.admits(address)
        if scheme != "https" and not (is_allowed and address.is_loopback):
            raise AddressRefused("without TLS it may only lead to this machine, where the operator allows that")
        if not is_allowed and not is_public(address):
            raise AddressRefused("it leads to an address that is not public")
        if not is_allowed and port != 443 and port < 1024:
            raise AddressRefused("of the ports below 1024 only 443 may be used")
        admitted.append(address)
    return list(dict.fromkeys(admitted))


def _plain_network(network: IPNetwork) -> IPNetwork:
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        low = int(network.network_address) & 0xFFFF_FFFF
        return ipaddress.IPv4Network((low, network.prefixlen - 96))
    return network


def _number(label: str) -> int:
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    if len(label) > 1 and label.startswith("0"):
        return int(label, 8)
    return int(label)
