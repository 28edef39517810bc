"""Proxies that the environment names: plain forwarding, tunnels for https, exceptions, and names that cannot work."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from pathlib import Path

import pytest

from nodus import APIConnectionError, Client, ConfigurationError
from nodus._proxies import environment_proxy
from tests.support.certificates import make_certificates
from tests.support.server import Action, LoopbackServer, Peer, answer

API_KEY = "nk_test_7Z4dMfQ3"
JOB = {"id": "job-1", "status": "running"}


def tunnel(peer: Peer) -> bool:
    """Do as a proxy does on CONNECT: from then on, carry bytes both ways."""
    assert peer.request is not None
    assert peer.request.method == "CONNECT"
    host, _, port = peer.request.target.rpartition(":")
    with socket.create_connection((host, int(port))) as upstream:
        peer.socket.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=_carry, args=(upstream, peer.socket))
        back.start()
        _carry(peer.socket, upstream)
        back.join()
    return False


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def test_http_goes_to_the_proxy_with_the_whole_url(monkeypatch: pytest.MonkeyPatch) -> None:
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
    """The proxy sees where to, and nothing else: the key is for the server alone."""
    certificates = make_certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    with (
        LoopbackServer(then=answer(200, JOB), tls=certificates.server) as server,
        LoopbackServer(then=Action(tunnel)) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with Client(API_KEY, base_url=server.url) as client:
            client.get("job-1")
            client.get("job-1")

        assert [received.target for received in proxy.received] == [f"127.0.0.1:{server.port}"]
        assert proxy.received[0].header("authorization") is None
        assert len(server.received) == 2


def test_a_proxy_that_refuses_the_tunnel_is_a_connection_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the request was never sent."""
    with LoopbackServer(then=answer(407, {})) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        client = Client(API_KEY, base_url="https://api.nodus.test", max_retries=0)
        with client, pytest.raises(APIConnectionError, match="407") as caught:
            client.get("job-1")

    assert not caught.value.outcome_unknown


def test_a_tunnel_that_stalls_ends_with_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    stall = Action(lambda peer: peer.closing.wait())
    with LoopbackServer(then=stall) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        client = Client(API_KEY, base_url="https://api.nodus.test", timeout=0.2, max_retries=0)
        with client, pytest.raises(APIConnectionError, match="timed out"):
            client.get("job-1")


@pytest.mark.parametrize("exception", ["127.0.0.1", "127.0.0.1:{port}", "*", "example.org, 127.0.0.1"])
def test_no_proxy_names_what_is_reached_directly(exception: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with LoopbackServer(then=answer(200, JOB)) as server, LoopbackServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", exception.format(port=server.port))
        with Client(API_KEY, base_url=server.url) as client:
            client.get("job-1")

        assert len(server.received) == 1
        assert proxy.connections == 0


def test_all_proxy_counts_where_the_scheme_has_none_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
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
    """It says where it was named, and does not repeat it: it may hold a password."""
    monkeypatch.setenv("HTTPS_PROXY", address)
    client = Client(API_KEY, base_url="https://api.nodus.test")
    with client, pytest.raises(ConfigurationError, match="HTTPS_PROXY") as caught:
        client.get("job-1")

    assert caught.value.code == "invalid_proxy"
    assert "hunter2" not in repr(caught.value)


def test_certificates_that_cannot_be_loaded_are_a_configuration_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    client = Client(API_KEY, base_url="https://api.nodus.test")
    with client, pytest.raises(ConfigurationError, match="SSL_CERT_FILE") as caught:
        client.get("job-1")

    assert caught.value.code == "invalid_ca_certificates"
