"""Which hosts a proxy is not asked for, and what is said of one that fails: without a socket."""

from __future__ import annotations

import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus._httpx import httpcore, httpx
from nodus._proxies import environment_proxy, is_exempt, is_final_refusal, may_be_of_proxy, through_proxy

EXEMPT = [
    ("api.acme.com", "api.acme.com"),
    ("API.Acme.com", "api.ACME.com"),
    ("api.acme.com.", "api.acme.com"),
    ("api.acme.com", "acme.com"),
    ("api.acme.com", ".acme.com"),
    ("api.acme.com", "*.acme.com"),
    ("acme.com", ".acme.com"),
    ("api.acme.com", "*"),
    ("api.acme.com", "a,b, acme.com"),
    ("api.acme.com", "a b acme.com c"),
    ("api.acme.com", "a\tb\n,, ,acme.com"),
    ("api.acme.com", "acme.com:8443"),
    ("10.1.2.3", "10.0.0.0/8"),
    ("10.1.2.3", "10.9.9.9/8"),
    ("10.1.2.3", "10.1.2.3"),
    ("10.1.2.3", "10.1.2.3:8443"),
    ("10.1.2.3", "192.168.0.0/16 10.0.0.0/8"),
    ("10.1.2.3", "10.0.0.0/255.0.0.0"),
    ("::ffff:10.1.2.3", "10.0.0.0/8"),
    ("10.1.2.3", "::ffff:10.1.2.3"),
    ("fd00::1", "fd00::/8"),
    ("fd00::1", "[fd00::]/8"),
    ("fd00::1", "[fd00::/8]"),
    ("fd00::1", "fd00::1"),
    ("fd00::1", "[fd00::1]"),
    ("fd00::1", "[fd00::1]:8443"),
    ("fd00::1", "FD00:0:0:0:0:0:0:1"),
    ("fd00::1", "*"),
]

NOT_EXEMPT = [
    ("api.acme.com", ""),
    ("api.acme.com", " , "),
    ("api.acme.com", "pi.acme.com"),
    ("api.acme.com", "com.acme"),
    ("notacme.com", "acme.com"),
    ("api.acme.com", "acme.com:443"),
    ("api.acme.com", "."),
    ("api.acme.com", "*."),
    ("api.acme.com", "10.0.0.0/8"),
    ("api.acme.com", "0.0.0.0/0"),
    ("10.1.2.3", "11.0.0.0/8"),
    ("10.1.2.3", "10.1.2.0/33"),
    ("10.1.2.3", "2.3"),
    ("10.1.2.3", "10.1"),
    ("10.1.2.3", "10.1.2.3:443"),
    ("10.1.2.3", "::/0"),
    ("fd00::1", "0.0.0.0/0"),
    ("fd00::1", "[fd00::1]:443"),
    ("fd00::1", "fd00::/129"),
]


@pytest.mark.parametrize(("host", "no_proxy"), EXEMPT)
def test_no_proxy_names_hosts_domains_addresses_and_ranges(host: str, no_proxy: str) -> None:
    """As in curl, Go and requests."""
    assert is_exempt(host, 8443, no_proxy)


@pytest.mark.parametrize(("host", "no_proxy"), NOT_EXEMPT)
def test_no_proxy_names_nothing_else(host: str, no_proxy: str) -> None:
    """Similar hosts are reached through the proxy."""
    assert not is_exempt(host, 8443, no_proxy)


@given(no_proxy=st.text(alphabet="a1.:/[]%*, -", max_size=20))
def test_no_proxy_of_any_kind_is_read(no_proxy: str) -> None:
    """Entries that make no sense match no host, and raise nothing."""
    for host in ("api.acme.com", "10.1.2.3", "fd00::1", "fe80::1%1"):
        assert is_exempt(host, 443, no_proxy) in (True, False)


@pytest.mark.parametrize(("scheme", "entry"), [("https", "api.acme.com:443"), ("http", "api.acme.com:80")])
def test_a_port_that_goes_without_saying_counts(scheme: str, entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`NO_PROXY` may name the default port of the scheme."""
    monkeypatch.setenv("ALL_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", entry)

    assert environment_proxy(scheme, "api.acme.com") is None
    assert environment_proxy(scheme, "api.acme.com", 8443) is not None


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]
)
def test_this_machine_has_no_proxy(scheme: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds whatever the variables are set to, even if that is unusable."""
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", "http://proxy.test:3128")
    assert environment_proxy(scheme, host, 8787) is None

    monkeypatch.setenv(f"{scheme.upper()}_PROXY", "nonsense://")
    assert environment_proxy(scheme, host, 8787) is None


@pytest.mark.parametrize(
    "host", ["localhost.evil.test", "notlocalhost", "128.0.0.1", "0.0.0.0", "::2", "127.0.0.1.nip.io"]
)
def test_other_machines_have_one(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names and addresses are not loopback's."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")

    assert environment_proxy("https", host) is not None


def test_settings_of_the_system_count_where_no_variable_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows and macOS have settings of their own, with a list of exceptions."""
    asked: list[str] = []

    def bypass(host: str) -> bool:
        asked.append(host)
        return host == "direct.test:443"

    monkeypatch.setattr(urllib.request, "getproxies", lambda: {"https": "http://system.test:3128"})
    monkeypatch.setattr(urllib.request, "proxy_bypass", bypass)
    found = environment_proxy("https", "api.acme.com")

    assert found is not None
    assert str(found.url) == "http://system.test:3128"
    assert environment_proxy("https", "direct.test") is None
    assert environment_proxy("https", "127.0.0.1") is None
    assert asked == ["api.acme.com:443", "direct.test:443"]


@pytest.mark.parametrize(
    ("reason", "final"),
    [
        ("302 Found", True),
        ("400 Bad Request", True),
        ("401 Unauthorized", True),
        ("403 Forbidden", True),
        ("407 Proxy Authentication Required", True),
        ("407 ", True),
        ("408 Request Timeout", False),
        ("425 Too Early", False),
        ("429 Too Many Requests", False),
        ("500 Internal Server Error", False),
        ("502 Bad Gateway", False),
        ("503 Service Unavailable", False),
        ("Invalid username/password", True),
        ("Requested NO AUTHENTICATION REQUIRED from proxy server, but got USERNAME/PASSWORD.", True),
        ("Proxy Server could not connect: Connection not allowed by ruleset.", True),
        ("Proxy Server could not connect: Connection refused.", False),
        ("Proxy Server could not connect: Host unreachable.", False),
        ("", False),
    ],
)
def test_a_refusal_that_comes_again_is_told_from_one_that_may_pass(reason: str, final: bool) -> None:
    """A status below 500 is final, but for those that mean "later"."""
    assert is_final_refusal(reason) is final


PROXY = httpx.Proxy("http://user:hunter2@proxy.test:3128")
URL = httpx.URL("https://[2001:db8::1]/v1/jobs")


@pytest.mark.parametrize(("is_connected", "is_open"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize(
    "raised",
    [httpcore.ProxyError("407 No"), httpcore.ConnectError("no"), httpcore.ReadTimeout(""), httpcore.ReadError("")],
)
def test_a_failure_names_the_proxy_without_its_password(raised: Exception, is_connected: bool, is_open: bool) -> None:
    """This holds for all failures, at any stage."""
    error = through_proxy(raised, PROXY, URL, is_connected=is_connected, is_open=is_open)

    assert "http://proxy.test:3128" in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    ("raised", "is_connected", "is_open", "expected"),
    [
        (httpcore.ConnectError("refused"), False, False, httpcore.ProxyError),
        (httpcore.ConnectTimeout("late"), False, False, httpcore.ConnectTimeout),
        (httpcore.ProxyError("403 No"), True, False, httpcore.ProxyError),
        (httpcore.ReadError("reset"), True, False, httpcore.ProxyError),
        (httpcore.RemoteProtocolError("not HTTP"), True, False, httpcore.ProxyError),
        (httpcore.ReadTimeout("late"), True, False, httpcore.ConnectTimeout),
        (httpcore.ConnectError("certificate verify failed"), True, False, httpcore.ConnectError),
        (httpcore.ReadError("reset"), True, True, httpcore.ReadError),
        (httpcore.ReadTimeout("late"), True, True, httpcore.ReadTimeout),
    ],
)
def test_the_class_says_whether_the_request_may_have_been_sent(
    raised: Exception, is_connected: bool, is_open: bool, expected: type[Exception]
) -> None:
    """It was not before the way to the server was open; a certificate is the server's, not the proxy's."""
    assert type(through_proxy(raised, PROXY, URL, is_connected=is_connected, is_open=is_open)) is expected


def test_a_fault_of_a_program_is_not_the_proxys() -> None:
    """A SOCKS proxy that speaks another protocol is at fault; its library is not always there."""
    malformed = type("ProtocolError", (Exception,), {"__module__": "socksio.exceptions"})

    assert may_be_of_proxy(httpcore.ReadError("reset"))
    assert may_be_of_proxy(malformed("Malformed reply"))
    assert not may_be_of_proxy(ValueError("a bug"))
    assert type(through_proxy(malformed(""), PROXY, URL, is_connected=True, is_open=True)) is httpcore.ProxyError
