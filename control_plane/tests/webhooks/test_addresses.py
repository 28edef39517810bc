"""Where deliveries may lead: every kind of address, however it is spelt."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_control.webhooks.addresses import (
    LOOPBACK,
    AddressRefused,
    Allowed,
    admit,
    is_public,
    numeric_ipv4,
    parse_allowed,
    plain,
)

NOTHING = Allowed()

REFUSED = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.9",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:a9fe:a9fe",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:801::200e"]


def try_https(
    *addresses: str, allowed: Allowed = NOTHING, host: str = "hooks.example.com", port: int = 443
) -> list[str]:
    """Judge addresses of a name; return those that may be connected to."""
    return [
        str(address) for address in admit(scheme="https", host=host, port=port, addresses=addresses, allowed=allowed)
    ]


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public_is_refused(address: str) -> None:
    """Nothing leads into the network that the control plane stands in, or where translators lead."""
    with pytest.raises(AddressRefused):
        try_https(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_let_through(address: str) -> None:
    """A public address is connected to as it is."""
    assert try_https(address) == [address]


@pytest.mark.parametrize("refused", ["127.0.0.1", "::ffff:10.0.0.1", "fe80::1"])
def test_one_refused_address_among_public_ones_is_enough(refused: str) -> None:
    """All addresses of a name are judged."""
    with pytest.raises(AddressRefused):
        try_https("8.8.8.8", refused, "1.1.1.1")


@pytest.mark.parametrize("spelling", ["::ffff:8.8.8.8", "::8.8.8.8"])
def test_the_plain_form_is_connected_to(spelling: str) -> None:
    """An IPv4 address that is written as IPv6 is judged, and used, as what it is."""
    assert try_https(spelling) == ["8.8.8.8"]


@given(st.ip_addresses(v=4))
def test_no_spelling_of_an_ipv4_address_changes_the_verdict(address: ipaddress.IPv4Address) -> None:
    """Mapped, compatible, decimal, hexadecimal, octal and short forms are all the same address."""
    value = int(address)
    first, *rest = str(address).split(".")
    short = f"{first}.{value & 0xFFFFFF}"
    spellings = [str(value), hex(value), f"0{value:o}", short, f"0x{int(first):x}.{'.'.join(rest)}"]

    assert {numeric_ipv4(spelling) for spelling in spellings} == {address}
    assert plain(ipaddress.IPv6Address(f"::ffff:{address}")) == address
    if value > 1:
        assert plain(ipaddress.IPv6Address(value)) == address


@given(st.ip_addresses())
def test_nothing_is_public_that_the_registries_call_special(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """Whatever is let through is global unicast, and in its plain form."""
    bare = plain(address)
    try:
        admitted = try_https(str(address))
    except AddressRefused:
        assert not is_public(bare)
    else:
        assert admitted == [str(bare)]
        assert bare.is_global
        assert not any((bare.is_multicast, bare.is_private, bare.is_loopback, bare.is_link_local, bare.is_reserved))


@given(
    st.sampled_from(
        ["2002::/16", "2001::/32", "64:ff9b::/96", "64:ff9b:1::/48", "fec0::/10", "ff00::/8", "fc00::/7", "fe80::/10"]
    ),
    st.integers(min_value=0, max_value=2**128 - 1),
)
def test_no_address_of_these_networks_is_public(network: str, bits: int) -> None:
    """6to4, Teredo, NAT64, site-local, multicast, unique local, link-local."""
    of = ipaddress.IPv6Network(network)
    address = ipaddress.IPv6Address(int(of.network_address) | (bits & int(of.hostmask)))

    with pytest.raises(AddressRefused):
        try_https(str(address))


@pytest.mark.parametrize(
    "host", ["1.2.3.4.5", "256.0.0.1", "1.2.3.256", "0x1.2.3.4.0x5", "4294967296", "foo.09", "a.0x7"]
)
def test_a_number_that_is_no_address_is_no_name_either(host: str) -> None:
    """Where C libraries might differ, nothing is looked up."""
    with pytest.raises(ValueError, match="neither"):
        numeric_ipv4(host)


@pytest.mark.parametrize("host", ["hooks.example.com", "1.2.3.com", "0x7f.example", "localhost", "a1"])
def test_names_are_no_addresses(host: str) -> None:
    """Only the last label decides."""
    assert numeric_ipv4(host) is None


@pytest.mark.parametrize("port", [22, 25, 80, 444, 1023])
def test_ports_of_other_services_are_refused(port: int) -> None:
    """Of the well-known ports only that of HTTPS is used."""
    with pytest.raises(AddressRefused):
        try_https("8.8.8.8", port=port)


@pytest.mark.parametrize("port", [443, 1024, 8443, 65_535])
def test_the_port_of_https_and_unprivileged_ones_are_used(port: int) -> None:
    """An endpoint may listen where its owner needs no privilege."""
    assert try_https("8.8.8.8", port=port) == ["8.8.8.8"]


def test_allowed_networks_are_let_through_in_any_spelling() -> None:
    """The operator names the network; the customer may spell the address as it likes."""
    allowed = parse_allowed(["10.1.0.0/16", "fd00::/8"])

    assert try_https("10.1.2.3", "::ffff:10.1.2.3", "fd00::1", allowed=allowed, port=80) == ["10.1.2.3", "fd00::1"]
    with pytest.raises(AddressRefused):
        try_https("10.2.0.1", allowed=allowed)


def test_a_mapped_network_is_the_ipv4_one() -> None:
    """`::ffff:10.0.0.0/104` says what `10.0.0.0/8` says."""
    assert parse_allowed(["::ffff:10.0.0.0/104"]) == parse_allowed(["10.0.0.0/8"])


def test_an_allowed_name_is_not_questioned_and_others_are() -> None:
    """The operator trusts that name, wherever it leads."""
    allowed = parse_allowed(["Hooks.Internal."])

    assert try_https("10.9.9.9", host="hooks.internal", allowed=allowed) == ["10.9.9.9"]
    with pytest.raises(AddressRefused):
        try_https("10.9.9.9", host="other.internal", allowed=allowed)


@pytest.mark.parametrize(
    "entry", ["", "10.0.0.0/33", "10.0.0.1/8", "*.example.com", "http://a", "a/24", "-a", "1.2.3.4.5"]
)
def test_an_entry_that_is_nothing_is_refused(entry: str) -> None:
    """A slip does not open more, or less, than was meant."""
    with pytest.raises(ValueError, match="neither"):
        parse_allowed([entry])


@pytest.mark.parametrize(
    ("addresses", "allow"),
    [
        (["8.8.8.8"], []),
        (["127.0.0.1"], []),
        (["10.0.0.1"], ["10.0.0.0/8"]),
        (["127.0.0.1", "8.8.8.8"], LOOPBACK),
        ([], LOOPBACK),
    ],
)
def test_http_leads_to_this_machine_or_nowhere(addresses: list[str], allow: list[str]) -> None:
    """Without TLS nothing leaves the machine."""
    with pytest.raises(AddressRefused):
        admit(scheme="http", host="a", port=8080, addresses=addresses, allowed=parse_allowed(allow))


def test_http_is_for_loopback_where_that_is_allowed() -> None:
    """As on the playground."""
    allowed = parse_allowed(LOOPBACK)

    admitted = admit(scheme="http", host="localhost", port=80, addresses=["127.0.0.1", "::1"], allowed=allowed)

    assert [str(address) for address in admitted] == ["127.0.0.1", "::1"]
