"""Whose requests are counted together."""

from __future__ import annotations

import pytest

from nodus_control.access.client_address import UNKNOWN, client_address, parse_networks

PROXIES = parse_networks(["10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "counted"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.7"], "198.51.100.7"),
        ("10.1.2.3", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ("10.1.2.3", ["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
        ("10.1.2.3", ["198.51.100.7, garbage"], "10.1.2.3"),
        ("::ffff:10.1.2.3", ["198.51.100.7"], "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", [], "2001:db8:1:2::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::/64"),
        (None, ["198.51.100.7"], UNKNOWN),
        ("", [], UNKNOWN),
        ("testclient", [], UNKNOWN),
    ],
)
def test_only_a_trusted_proxy_speaks_for_another(peer: str | None, forwarded: list[str], counted: str) -> None:
    """And of what it says, only the last hop, which it saw itself."""
    assert client_address(peer, forwarded, PROXIES) == counted


def test_what_is_no_network_is_refused() -> None:
    """The error names what is no network."""
    with pytest.raises(ValueError, match=r"'10\.0\.0\.0/99'"):
        parse_networks(["10.0.0.0/99"])
