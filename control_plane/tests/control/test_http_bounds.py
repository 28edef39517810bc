"""What a server takes of a request before it answers, and for how long: over raw sockets."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import httpx
import pytest
from patience import PATIENCE_SECONDS, eventually

from nodus_control.serving import http_protocol
from nodus_control.serving.connections import BODY_SECONDS
from nodus_control.testing import LocalControlPlane


class Hours:
    """The clock that connections go by. It stands; while it `passes`, each look at it is later than all deadlines."""

    def __init__(self) -> None:
        self.passes = False
        self.looks = 0
        self.received = 0
        """How many bytes have come to the server."""
        self._now = 0.0

    def monotonic(self) -> float:
        """Return seconds."""
        if self.passes:
            self._now += 2 * BODY_SECONDS
            self.looks += 1
        return self._now

    def pass_after(self, count: int) -> None:
        """Let time pass once so many bytes have come to the server."""
        eventually(lambda: self.received == count, lambda: f"{self.received} of {count} bytes came")
        self.passes = True


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> Hours:
    """The clock of all connections."""
    made = Hours()
    receive = http_protocol.BoundedProtocol.data_received

    def counted(protocol: http_protocol.BoundedProtocol, data: bytes) -> None:
        receive(protocol, data)
        made.received += len(data)

    monkeypatch.setattr(http_protocol.BoundedProtocol, "data_received", counted)
    monkeypatch.setattr(http_protocol, "time", made)
    monkeypatch.setattr(http_protocol, "SWEEP_SECONDS", 0.05)
    return made


@pytest.fixture
def served(hours: Hours) -> Iterator[LocalControlPlane]:
    """A control plane on loopback, for whose connections time passes only where a test lets it."""
    with LocalControlPlane() as started:
        yield started


def connect(control_plane: LocalControlPlane) -> socket.socket:
    """Open a connection."""
    port = int(control_plane.base_url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)


def answer_to(control_plane: LocalControlPlane, *parts: bytes) -> bytes:
    """Send this on a connection of its own; return all that comes until the server closes it."""
    with connect(control_plane) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except OSError:
            pass
        return rest(connection)


def answer_too_late_to(control_plane: LocalControlPlane, hours: Hours, begun: bytes) -> bytes:
    """Send this, and nothing more in all the time that there is; return what comes until the server closes."""
    with connect(control_plane) as connection:
        connection.sendall(begun)
        hours.pass_after(len(begun))
        return rest(connection)


def rest(connection: socket.socket) -> bytes:
    """Read until the end, however it comes."""
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


def test_a_head_may_be_large_but_not_endless(served: LocalControlPlane) -> None:
    """32 KiB, in one field or in many, sent at once or piece by piece."""
    line = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    good = answer_to(served, line + b"X-A: " + b"a" * 30_000 + b"\r\n\r\n")
    one = answer_to(served, line + b"X-A: " + b"a" * 40_000 + b"\r\n\r\n")
    unfinished = answer_to(served, line + b"X-A: ", *[b"a" * 1000] * 200)
    target = answer_to(served, b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")

    assert good.startswith(b"HTTP/1.1 200 ")
    for refused in (one, target):
        assert refused.startswith(b"HTTP/1.1 431 ")
        assert b'"headers_too_large"' in refused
    assert unfinished == b"" or unfinished.startswith(b"HTTP/1.1 431 ")


def test_a_head_may_have_a_hundred_fields(served: LocalControlPlane) -> None:
    """A request with more header fields is refused."""
    line = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"

    assert answer_to(served, line + b"X: y\r\n" * 98 + b"\r\n").startswith(b"HTTP/1.1 200 ")
    assert answer_to(served, line + b"X: y\r\n" * 99 + b"\r\n").startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: a\r\n"])
def test_a_request_has_one_host(served: LocalControlPlane, hosts: bytes) -> None:
    """RFC 9112, section 3.2; the older protocol has none."""
    assert answer_to(served, b"GET /healthz HTTP/1.1\r\n" + hosts + b"\r\n").startswith(b"HTTP/1.1 400 ")
    assert answer_to(served, b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"\r\n",
        b"GET /healthz HTTP/1.1\r\nX-",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
        b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    ],
)
def test_what_does_not_come_whole_is_closed(served: LocalControlPlane, hours: Hours, begun: bytes) -> None:
    """The connection is closed without an answer, unless the request named a key."""
    received = answer_too_late_to(served, hours, begun)

    assert b" 408 " not in received
    assert received.count(b"HTTP/1.1 200 ") == begun.count(b"\r\n\r\nGET")


def test_whoever_names_a_key_is_told_that_the_body_took_too_long(served: LocalControlPlane, hours: Hours) -> None:
    """The answer has the common form of errors."""
    key = served.api_key.encode()
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key + b"\r\nContent-Length: 9\r\n\r\n{"
    received = answer_too_late_to(served, hours, head)

    assert received.startswith(b"HTTP/1.1 408 ")
    assert b'"request_timeout"' in received


def test_what_is_answered_for_long_is_not_cut(served: LocalControlPlane, hours: Hours) -> None:
    """A stream has come whole; only its answer goes on."""
    with connect(served) as connection:
        head = f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.api_key}\r\n\r\n"
        connection.sendall(head.encode())
        hours.pass_after(len(head))
        eventually(lambda: hours.looks > 3)
        hours.passes = False
        headers = {"Authorization": f"Bearer {served.api_key}"}
        job = {"image": "x", "gpu": "l40s"}
        httpx.post(
            f"{served.base_url}/v1/jobs", json=job, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS
        ).raise_for_status()
        received = b""
        while b"event: status" not in received:
            data = connection.recv(65536)
            assert data
            received += data


@pytest.mark.usefixtures("hours")
def test_those_that_send_nothing_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, somebody else is answered at once."""
    monkeypatch.setattr("nodus_control.serving.server.most_connections", lambda _limit: 8)
    with LocalControlPlane() as control_plane:
        held = [connect(control_plane) for _ in range(40)]
        try:
            for connection in held:
                connection.sendall(b"GET /healthz HTTP/1.1\r\n")
            request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            answered = answer_to(control_plane, request)
            left = [each for each in held if not _is_closed(each)]
        finally:
            for connection in held:
                connection.close()

    assert answered.startswith(b"HTTP/1.1 200 ")
    assert len(left) <= 8


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_garbage_does_not_fill_the_log(served: LocalControlPlane, caplog: pytest.LogCaptureFixture) -> None:
    """What is no HTTP is answered, and not logged."""
    caplog.set_level(logging.INFO)
    for garbage in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"no http\r\n\r\n"):
        assert answer_to(served, garbage).startswith(b"HTTP/1.1 400 ")

    assert [record for record in caplog.records if record.name.startswith(("uvicorn", "nodus"))] == []
