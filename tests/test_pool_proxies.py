"""Proxies that the environment names: plain forwarding, tunnels for https, exceptions, and names that cannot work."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from nodus import APIConnectionError, APIError, APITimeoutError, Client, ConfigurationError
from nodus._happy_eyeballs import connect
from nodus._proxies import environment_proxy
from tests.support.certificates import CERTIFIED, make_certificates
from tests.support.clock import FakeClock
from tests.support.names import give_names
from tests.support.proxies import TUNNEL
from tests.support.server import Action, LoopbackServer, answer, answer_and_hang_up, unused_port

API_KEY = "nk_test_7Z4dMfQ3"
JOB = {"id": "job-1", "status": "running"}


def test_http_goes_to_the_proxy_with_the_whole_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request line has the absolute form (RFC 9112, section 3.2.2)."""
    with LoopbackServer(then=answer(200, JOB)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//user:secret@"))
        monkeypatch.setenv("NODUS_ALLOW_INSECURE", "1")
        with Client(API_KEY, base_url="http://api.nodus.test/gw") as client:
            assert client.get("job-1").id == "job-1"
            assert client.get("job-1").id == "job-1"

        first, second = proxy.received
        assert first.target == "http://api.nodus.test/gw/v1/jobs/job-1"
        assert first.header("proxy-authorization") == "Basic " + base64.b64encode(b"user:secret").decode()
        assert first.connection == second.connection


def test_https_goes_through_a_tunnel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy learns the host and port alone; the key is encrypted for the server."""
    certificates = make_certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    with (
        LoopbackServer(then=answer(200, JOB), tls=certificates.server) as server,
        LoopbackServer(then=TUNNEL) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with Client(API_KEY, base_url=f"https://{CERTIFIED}:{server.port}") as client:
            client.get("job-1")
            client.get("job-1")

        assert [received.target for received in proxy.received] == [f"{CERTIFIED}:{server.port}"]
        assert proxy.received[0].header("authorization") is None
        assert len(server.received) == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "team.localhost", "[::ffff:127.0.0.1]"])
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_what_goes_to_this_machine_goes_through_no_proxy(
    host: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would see the key of a plain http request to loopback."""
    with LoopbackServer(then=answer(200, JOB)) as server, LoopbackServer() as proxy:
        monkeypatch.setenv(variable, proxy.url)
        with Client(API_KEY, base_url=f"http://{host}:{server.port}") as client:
            client.get("job-1")

        assert len(server.received) == 1
        assert proxy.connections == 0


@pytest.mark.parametrize(("scheme", "target"), [("http", "http://[2001:db8::1]:8443/v1/jobs/job-1"), ("https", None)])
def test_a_proxy_is_sent_ipv6_addresses_in_brackets(
    scheme: str, target: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An authority has brackets (RFC 3986, section 3.2.2), a certificate has none."""
    certificates = make_certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    monkeypatch.setenv("NODUS_ALLOW_INSECURE", "1")
    with (
        LoopbackServer(then=answer(200, JOB), tls=certificates.server) as server,
        LoopbackServer(then=answer(200, JOB) if target else TUNNEL) as proxy,
    ):
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        port = 8443 if target else server.port
        with Client(API_KEY, base_url=f"{scheme}://[2001:db8::1]:{port}") as client:
            client.get("job-1")
            client.get("job-1")

        assert proxy.received[0].target == (target or f"[2001:db8::1]:{port}")
        assert proxy.received[0].header("host") == f"[2001:db8::1]:{port}"
        assert proxy.connections == 1


@pytest.mark.parametrize(
    ("status", "attempts", "advice"),
    [
        (403, 1, "check HTTPS_PROXY"),
        (404, 1, "check HTTPS_PROXY"),
        (407, 1, "user name and a password"),
        (408, 2, "check HTTPS_PROXY"),
        (429, 2, "check HTTPS_PROXY"),
        (502, 2, "check HTTPS_PROXY"),
    ],
)
def test_a_proxy_that_refuses_the_tunnel_is_named(
    status: int, attempts: int, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not taken for a response of the API, and not retried if it would refuse again."""
    with LoopbackServer(then=answer(status, {"error": "forbidden", "message": "no"})) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//user:hunter2@"))
        client = Client(API_KEY, base_url="https://api.nodus.test", max_retries=1, _clock=FakeClock())
        with client, pytest.raises(APIConnectionError, match=str(status)) as caught:
            client.run(image="i")
        connections = proxy.connections

    error = caught.value
    assert f"failed at the proxy: {proxy.url} refused to connect to api.nodus.test:443: {status}" in error.message
    assert advice in error.message
    assert "hunter2" not in repr(error) + str(error.__cause__)
    assert (error.attempts, connections, error.outcome_unknown) == (attempts, attempts, False)
    assert (type(error), error.code, error.status_code) == (APIConnectionError, "connection_error", None)


def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error does not blame the API."""
    with unused_port() as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hunter2@127.0.0.1:{port}")
        client = Client(API_KEY, base_url="https://api.nodus.test", max_retries=0)
        with client, pytest.raises(APIConnectionError, match="NO_PROXY") as caught:
            client.get("job-1")

    assert f"failed at the proxy: http://127.0.0.1:{port} cannot be reached: " in caught.value.message
    assert "hunter2" not in repr(caught.value)


def test_a_proxy_whose_name_nobody_has_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the host that could not be resolved."""
    give_names(monkeypatch)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    client = Client(API_KEY, base_url="https://api.nodus.test", max_retries=0)
    with client, pytest.raises(APIConnectionError, match=r"http://proxy\.test:3128 cannot be reached: .*proxy\.test"):
        client.get("job-1")


def test_a_forwarding_proxy_that_wants_a_password_is_not_taken_for_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over plain http it answers in the server's place; 407 is a proxy's alone (RFC 9110, section 15.5.8)."""
    monkeypatch.setenv("NODUS_ALLOW_INSECURE", "1")
    with LoopbackServer(then=answer(407, {"message": "Access denied"})) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        client = Client(API_KEY, base_url="http://api.nodus.test")
        with client, pytest.raises(APIError, match="by a proxy, which asks for a user name and a password") as caught:
            client.get("job-1")

    assert (caught.value.status_code, caught.value.attempts) == (407, 1)


def test_a_tunnel_that_stalls_ends_with_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt's timeout covers CONNECT too."""
    stall = Action(lambda peer: peer.closing.wait())
    # All of the time is there when the answer of the proxy is awaited, however long it took to connect to it.
    monkeypatch.setattr("nodus._sync.network.connect", lambda addresses, port, timeout: connect(addresses, port, None))
    with LoopbackServer(then=stall) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        client = Client(API_KEY, base_url="https://api.nodus.test", timeout=0.2, max_retries=0, _clock=FakeClock())
        with client, pytest.raises(APITimeoutError, match=f"through the proxy {proxy.url}"):
            client.get("job-1")


def test_an_idle_connection_through_a_proxy_that_was_closed_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request was not sent, so the call does not fail."""
    monkeypatch.setenv("NODUS_ALLOW_INSECURE", "1")
    with LoopbackServer(answer_and_hang_up(200, JOB), then=answer(200, JOB)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with Client(API_KEY, base_url="http://api.nodus.test", max_retries=0) as client:
            client.get("job-1")
            client.get("job-1")

        assert proxy.connections == 2


@pytest.mark.parametrize("exception", ["api.test", "api.test:{port}", "*", "example.org, test", "example.org .test"])
def test_no_proxy_names_what_is_reached_directly(exception: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts that `NO_PROXY` lists are not sent through the proxy."""
    give_names(monkeypatch, api_test=["127.0.0.1"])
    monkeypatch.setenv("NODUS_ALLOW_INSECURE", "1")
    with LoopbackServer(then=answer(200, JOB)) as server, LoopbackServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", exception.format(port=server.port))
        with Client(API_KEY, base_url=f"http://api.test:{server.port}") as client:
            client.get("job-1")

        assert len(server.received) == 1
        assert proxy.connections == 0


def test_all_proxy_counts_where_the_scheme_has_none_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ALL_PROXY` is the fallback for both schemes."""
    monkeypatch.setenv("ALL_PROXY", "proxy.test:3128")
    monkeypatch.setenv("HTTPS_PROXY", "https://other.test")

    by_default = environment_proxy("http", "api.nodus.test")
    by_scheme = environment_proxy("https", "api.nodus.test")
    assert by_default is not None
    assert by_scheme is not None
    assert (str(by_default.url), str(by_scheme.url)) == ("http://proxy.test:3128", "https://other.test")
    assert by_scheme.ssl_context is not None


@pytest.mark.parametrize(
    "address", ["ftp://proxy.test", "http://", "http://user:hunter2@proxy.test:port", "socks4://a"]
)
def test_a_proxy_that_cannot_be_used_is_a_configuration_error(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable and does not repeat the URL, which may have a password."""
    monkeypatch.setenv("HTTPS_PROXY", address)
    client = Client(API_KEY, base_url="https://api.nodus.test")
    with client, pytest.raises(ConfigurationError, match="HTTPS_PROXY") as caught:
        client.get("job-1")

    assert caught.value.code == "invalid_proxy"
    assert "hunter2" not in repr(caught.value)


def test_certificates_that_cannot_be_loaded_are_a_configuration_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names `SSL_CERT_FILE` and `SSL_CERT_DIR`."""
    (tmp_path / "empty.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    client = Client(API_KEY, base_url="https://api.nodus.test")
    with client, pytest.raises(ConfigurationError, match="SSL_CERT_FILE") as caught:
        client.get("job-1")

    assert caught.value.code == "invalid_ca_certificates"
