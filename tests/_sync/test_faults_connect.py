# Generated from tests/_async/test_faults_connect.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""What can go wrong before a request is on its way: names, ports, TLS, proxies, and arguments that make no URL."""

from __future__ import annotations

import errno
import socket
import ssl
from pathlib import Path

import pytest

import nodus
from tests._sync.fault_calls import CALLS, PATIENCE_SECONDS, client_at
from tests.support.bad_certificates import FLAWS, flawed
from tests.support.certificates import make_certificates
from tests.support.server import (
    DROP_BEFORE_READING,
    HANG_UP,
    STALL,
    Action,
    LoopbackServer,
    Peer,
    answer,
    decide,
    sends,
    unused_port,
)
from tests.support.soundness import API_KEY, assert_sound


def failing(client: nodus.Client, call: str = "run") -> nodus.APIConnectionError:
    """Make a call that must fail for a reason of the network; return its error."""
    with client:
        with pytest.raises(nodus.APIConnectionError) as caught:
            CALLS[call][0](client)
    assert_sound(caught.value)
    assert " 0 busy, 0 idle," in repr(client._session._pool)
    return caught.value


@pytest.mark.parametrize("call", sorted(CALLS.keys() - {"wait with a deadline"}))
def test_a_port_where_nobody_listens(call: str) -> None:
    """Every call ends; nothing was sent, so nothing is unknown."""
    with unused_port() as port:
        error = failing(client_at(f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS), call)

    assert not error.outcome_unknown


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70 + ".invalid"])
def test_a_name_that_nobody_has(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up that fails is a failed connection, whatever the system calls it."""

    def unknown(*arguments: object, **options: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = failing(client_at(f"https://{host}", timeout=PATIENCE_SECONDS))

    assert (error.attempts, error.outcome_unknown) == (3, False)


@pytest.mark.parametrize("problem", [errno.EMFILE, errno.ENETUNREACH, errno.EACCES])
def test_a_system_that_gives_no_socket(problem: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many open files, no network, a firewall: an error of ours too."""

    def refuse(*arguments: object, **options: object) -> object:
        raise OSError(problem, "no")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    error = failing(client_at("https://api.nodus.test", timeout=PATIENCE_SECONDS))

    assert not error.outcome_unknown


ADVICE = {
    "self-signed": "set SSL_CERT_FILE to a PEM file with the authority's certificate",
    "expired": "Check this machine's clock",
    "not yet valid": "Check this machine's clock",
    "for another host": "check the host of the base URL",
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_certificate_that_does_not_verify(flaw: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No retry mends it, and not a byte of the request is sent."""
    context, trusted = flawed(flaw, tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with LoopbackServer(then=answer(200, {}), tls=context) as server:
        url = f"https://localhost:{server.port}"
        error = failing(client_at(url, timeout=PATIENCE_SECONDS))

    assert (error.attempts, error.outcome_unknown) == (1, False)
    assert ADVICE[flaw] in error.message
    assert server.received == []


@pytest.mark.parametrize(
    "action",
    [
        DROP_BEFORE_READING,
        Action(HANG_UP.perform, reads=False),
        Action(sends(b"\x15\x03\x03\x00\x02\x02\x28").perform, reads=False),
        Action(sends(b"\x15\x03\x03\x00\x02\x02\x50").perform, reads=False),
        Action(sends(b"\x16\x03\x03\xff\xff" + bytes(100)).perform, reads=False),
    ],
    ids=["reset", "closed", "a handshake failure", "an internal error", "garbage"],
)
def test_a_handshake_that_fails(action: Action) -> None:
    """It may be a passing fault, so it is tried again; nothing was sent."""
    with LoopbackServer(then=action) as server:
        error = failing(client_at(f"https://127.0.0.1:{server.port}", timeout=PATIENCE_SECONDS))

    assert (error.attempts, error.outcome_unknown) == (3, False)
    assert not isinstance(error, nodus.APITimeoutError)


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\nplain HTTP, please", "does not speak TLS: check the port of the base URL"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "TLS 1.2 or newer"),
        (b"\x15\x03\x03\x00\x02\x02\x74", "asks for a client certificate"),
        (b"\x15\x03\x03\x00\x02\x02\x2a", "asks for a client certificate"),
        (b"\x15\x03\x03\x00\x02\x02\x30", "asks for a client certificate"),
    ],
    ids=["plain HTTP", "protocol version", "certificate required", "bad certificate", "unknown CA"],
)
def test_a_handshake_that_can_never_succeed(data: bytes, advice: str) -> None:
    """It is not tried again, and the error says what to change."""
    with LoopbackServer(then=Action(sends(data).perform, reads=False)) as server:
        error = failing(client_at(f"https://127.0.0.1:{server.port}", timeout=PATIENCE_SECONDS))
        connections = server.connections

    assert (error.attempts, connections, error.outcome_unknown) == (1, 1, False)
    assert advice in error.message


def test_a_server_that_wants_a_client_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In TLS 1.3 it says so once the request was sent; it has not read it."""
    certificates = make_certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    certificates.server.verify_mode = ssl.CERT_REQUIRED

    def demand(peer: Peer) -> bool:
        with peer.socket.dup() as copy, pytest.raises(ssl.SSLError):
            certificates.server.wrap_socket(copy, server_side=True)
        # A close with something unread would reset the connection, and the alert be lost.
        while peer.socket.recv(65536):
            pass
        return False

    with LoopbackServer(then=Action(demand, reads=False)) as server:
        error = failing(client_at(f"https://127.0.0.1:{server.port}", timeout=PATIENCE_SECONDS))

    assert (error.attempts, error.outcome_unknown) == (1, False)
    assert "asks for a client certificate" in error.message


def test_a_handshake_that_stalls() -> None:
    """It ends with the attempt's timeout."""
    with LoopbackServer(then=Action(STALL.perform, reads=False)) as server:
        error = failing(client_at(f"https://127.0.0.1:{server.port}"))

    assert isinstance(error, nodus.APITimeoutError)
    assert (error.attempts, error.outcome_unknown) == (3, False)


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_refuses_to_connect(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its password shows in no error, and the API key never reaches it."""
    with LoopbackServer(then=answer(status, {"error": "no"})) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hunter2-of-the-proxy@127.0.0.1:{proxy.port}")
        error = failing(client_at("https://api.example.com", timeout=PATIENCE_SECONDS))

    assert not error.outcome_unknown
    assert "hunter2" not in f"{error} {error!r} {vars(error)} {error.__cause__!r}"
    assert {request.method for request in proxy.received} == {"CONNECT"}
    assert all(API_KEY not in str(request.headers) for request in proxy.received)


@pytest.mark.parametrize("action", [DROP_BEFORE_READING, HANG_UP, sends(b"SSH-2.0-OpenSSH\r\n")])
def test_a_proxy_that_breaks_off(action: Action, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy is one more thing that can be broken; the request was not sent before there was a tunnel."""
    with LoopbackServer(then=action) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        error = failing(client_at("https://api.example.com", timeout=PATIENCE_SECONDS))

    assert (error.attempts, error.outcome_unknown) == (3, False)
    assert f"failed at the proxy: http://127.0.0.1:{proxy.port}" in error.message


def test_a_certificate_behind_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The advice is the same, and the proxy is named: it may have put in a certificate of its own."""
    context, trusted = flawed("self-signed", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))

    def intercept(peer: Peer) -> bool:
        peer.socket.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with peer.socket.dup() as copy, pytest.raises(ssl.SSLError):
            context.wrap_socket(copy, server_side=True)
        return False

    with LoopbackServer(then=Action(intercept)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        error = failing(client_at("https://api.example.com", timeout=PATIENCE_SECONDS))

    assert (error.attempts, error.outcome_unknown) == (1, False)
    assert f"through the proxy http://127.0.0.1:{proxy.port}" in error.message
    assert "SSL_CERT_FILE" in error.message


def test_an_id_too_long_for_a_url() -> None:
    """What makes no URL is refused as an argument, not as an error of the URL's parser."""
    with client_at("http://127.0.0.1:1") as client:
        with pytest.raises(nodus.ValidationError) as caught:
            client.get("x" * 70_000)

    assert_sound(caught.value)


@pytest.mark.parametrize("cursor", ["x" * 70_000, "\x00\r\n", "\u2028 ?&#"])
def test_a_cursor_of_any_kind(cursor: str) -> None:
    """A server's cursor goes back as it came, or ends the iteration with an error of ours."""
    pages = iter([{"jobs": [{"id": "a", "status": "queued"}], "next_cursor": cursor}, {"jobs": []}])
    with LoopbackServer(then=decide(lambda request: answer(200, next(pages)))) as server:
        with client_at(server.url, timeout=PATIENCE_SECONDS) as client:
            jobs = client.iter_jobs()
            first = jobs.__next__()
            try:
                rest = [job.id for job in jobs]
            except nodus.NodusError as exc:
                assert_sound(exc)
                rest = []

    assert (first.id, rest) == ("a", [])


def test_a_job_that_is_listed_twice() -> None:
    """A listing that moved while it was read names a job twice; it ends once."""
    twice = {"jobs": [{"id": job_id, "status": "completed"} for job_id in ("a", "b", "a", "b")]}
    with LoopbackServer(then=answer(200, twice)) as server:
        with client_at(server.url, timeout=PATIENCE_SECONDS) as client:
            handles = [client.job(job_id) for job_id in ("a", "b", "a")]
            ended = [job.id for job in client.as_completed(handles)]

    assert sorted(ended) == ["a", "a", "b"]
