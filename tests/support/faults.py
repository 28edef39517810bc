"""Everything that a server, a gateway or a network can do wrong, by name, and the server that does it on demand.

Each fault is an `Action` for one request. Those made with `spoiling` let the control plane act on the request first and
spoil its answer, so that the client cannot know; the others fail before anything was done.
"""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Callable, Iterable

from tests.support.fake_control_plane import FakeControlPlane, http_answer
from tests.support.server import (
    DRIP_SECONDS,
    LINGER_NOT,
    Action,
    LoopbackServer,
    Peer,
    Received,
)

Fault = Callable[[FakeControlPlane], Action]
"""Makes the action for one request to a control plane."""

After = Callable[[Peer], bool]
"""What becomes of a connection once its bytes are sent; True if it stays open."""


def hang_up(_: Peer) -> bool:
    return False


def stay(_: Peer) -> bool:
    return True


def reset(peer: Peer) -> bool:
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    return False


def stall(peer: Peer) -> bool:
    peer.closing.wait()
    return False


def half_close(peer: Peer) -> bool:
    peer.socket.shutdown(socket.SHUT_WR)
    peer.closing.wait()
    return False


def silent(after: After, *, reads: bool) -> Fault:
    """Say nothing, and do nothing."""
    return lambda control_plane: Action(after, reads=reads)


def saying(data: bytes, after: After = hang_up) -> Fault:
    """Say this, and do nothing: what a gateway does that never asks the server behind it."""

    def perform(peer: Peer) -> bool:
        peer.socket.sendall(data)
        return after(peer)

    return lambda control_plane: Action(perform)


def spoiling(spoil: Callable[[bytes, bytes], bytes], after: After = hang_up) -> Fault:
    """Do what is asked, then send what `spoil` makes of the answer's head and body."""

    def make(control_plane: FakeControlPlane) -> Action:
        def perform(peer: Peer) -> bool:
            peer.socket.sendall(spoil(*_good(control_plane, peer)))
            return after(peer)

        return Action(perform)

    return make


def dripping(spoil: Callable[[bytes, bytes], tuple[bytes, bytes]]) -> Fault:
    """Do what is asked, then send the first part at once and the second a byte at a time."""

    def make(control_plane: FakeControlPlane) -> Action:
        def perform(peer: Peer) -> bool:
            at_once, slowly = spoil(*_good(control_plane, peer))
            peer.socket.sendall(at_once)
            for byte in slowly:
                if peer.closing.wait(DRIP_SECONDS):
                    break
                peer.socket.sendall(bytes((byte,)))
            return False

        return Action(perform)

    return make


def flooding(start: bytes, again: bytes) -> Fault:
    """Send one thing, then another for ever, as fast as it is taken."""

    def perform(peer: Peer) -> bool:
        peer.socket.sendall(start)
        while not peer.closing.is_set():
            peer.socket.sendall(again)
        return False

    return lambda control_plane: Action(perform)


def _good(control_plane: FakeControlPlane, peer: Peer) -> tuple[bytes, bytes]:
    assert peer.request is not None
    head, _, body = control_plane.answer(peer.request).partition(b"\r\n\r\n")
    return head + b"\r\n", body


def _status(status: int, payload: object = None, **headers: str) -> Fault:
    payload = {"error": "some_code", "message": "It did not work."} if payload is None else payload
    return saying(http_answer(status, json.dumps(payload).encode(), **headers), stay)


def _body(body: bytes, after: After = stay, **headers: str) -> Fault:
    """Do what is asked, and answer 200 with another body."""
    return spoiling(lambda *_: http_answer(200, body, **headers), after)


def _length(value: str) -> Fault:
    return spoiling(lambda _, body: b"HTTP/1.1 200 OK\r\nContent-Length: " + value.encode() + b"\r\n\r\n" + body)


def _cut(text: bytes) -> bytes:
    return text[: len(text) // 2]


def _chunks(coded: Callable[[bytes], bytes], after: After = hang_up) -> Fault:
    return spoiling(lambda _, body: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + coded(body), after)


def _zipped(packed: Callable[[bytes], bytes], encoding: str = "gzip") -> Fault:
    return spoiling(lambda _, body: http_answer(200, packed(body), content_encoding=encoding), stay)


def _echo(status: int) -> Fault:
    """Answer with everything that was sent, the way a debugging proxy and some frameworks do."""

    def make(control_plane: FakeControlPlane) -> Action:
        def perform(peer: Peer) -> bool:
            assert peer.request is not None
            sent = {"headers": dict(peer.request.headers), "body": peer.request.body.decode("utf-8", "replace")}
            parsed = json.loads(peer.request.body) if peer.request.body else None
            finding = {"loc": ["body"], "msg": f"cannot use {sent}", "input": parsed}
            peer.socket.sendall(http_answer(status, json.dumps({"id": sent, "detail": [finding]}).encode()))
            return True

        return Action(perform)

    return make


def _nested(levels: int) -> bytes:
    return b'{"error":' + b"[" * levels + b"]" * levels + b"}"


_HTML = b"<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>"

_SILENT: dict[str, Fault] = {
    "reset before reading": silent(reset, reads=False),
    "closed before reading": silent(hang_up, reads=False),
    "reset after reading": silent(reset, reads=True),
    "closed after reading": silent(hang_up, reads=True),
    "half-closed after reading": silent(half_close, reads=True),
}

_CUT_SHORT: dict[str, Fault] = {
    "reset after acting": spoiling(lambda head, body: b"", reset),
    "closed after acting": spoiling(lambda head, body: b""),
    "half-closed after acting": spoiling(lambda head, body: b"", half_close),
    "reset in the headers": spoiling(lambda head, body: _cut(head), reset),
    "closed in the headers": spoiling(lambda head, body: _cut(head)),
    "reset in the body": spoiling(lambda head, body: head + b"\r\n" + _cut(body), reset),
    "closed in the body": spoiling(lambda head, body: head + b"\r\n" + _cut(body)),
    "half-closed in the body": spoiling(lambda head, body: head + b"\r\n" + _cut(body), half_close),
}

_LENGTHS: dict[str, Fault] = {
    "length too long": _length("1000"),
    "length too short": spoiling(lambda _, body: http_answer(200, body, content_length="5"), stay),
    "length zero": spoiling(lambda _, body: http_answer(200, body, content_length="0"), stay),
    "lengths that differ": _length("5\r\nContent-Length: 7"),
    "length negative": _length("-1"),
    "length garbage": _length("many"),
    "length beyond all bounds": _length("9" * 30),
    "length and chunks": _length("5\r\nTransfer-Encoding: chunked"),
}

_CHUNKS: dict[str, Fault] = {
    "chunk size garbage": _chunks(lambda body: b"zz\r\n" + body),
    "chunk size negative": _chunks(lambda body: b"-5\r\n" + body),
    "chunk size huge": _chunks(lambda body: b"f" * 25 + b"\r\n" + body),
    "chunk too short": _chunks(lambda body: b"%x\r\n%s\r\n0\r\n\r\n" % (len(body) - 1, body)),
    "chunks without an end": _chunks(lambda body: b"%x\r\n%s\r\n" % (len(body), body)),
    "chunks cut short": _chunks(lambda body: b"%x\r\n%s" % (len(body), _cut(body)), reset),
    "coding unknown": spoiling(lambda _, body: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: sparkling\r\n\r\n" + body),
}

_NOT_HTTP: dict[str, Fault] = {
    "garbage": saying(b"\x00\xff\xfe this is not HTTP \r\n\r\n"),
    "zeros": saying(bytes(5000)),
    "a TLS alert": saying(b"\x15\x03\x03\x00\x02\x02\x28"),
    "an SSH banner": saying(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "an HTTP/2 preface": saying(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)),
    "HTTP/0.9": spoiling(lambda head, body: body),
    "no status": saying(b"HTTP/1.1\r\n\r\n"),
    "a status of two digits": saying(b"HTTP/1.1 20 OK\r\n\r\n"),
    "a status of letters": saying(b"HTTP/1.1 abc OK\r\n\r\n"),
    "a version unknown": saying(b"HTTP/7.5 200 OK\r\nContent-Length: 0\r\n\r\n"),
}

_HEADERS: dict[str, Fault] = {
    "an enormous header": spoiling(lambda head, body: head + b"X-Large: " + b"x" * 300_000 + b"\r\n\r\n" + body),
    "too many headers": spoiling(lambda head, body: head + b"X-Many: 1\r\n" * 20_000 + b"\r\n" + body),
    "headers without an end": flooding(b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n" * 500),
    "a header with NUL": spoiling(lambda head, body: head + b"X-Nul: \0\r\n\r\n" + body),
    "a header without a colon": spoiling(lambda head, body: head + b"nonsense\r\n\r\n" + body),
    "headers not UTF-8": spoiling(
        lambda head, body: head + b"X-Request-Id: \xff\xfe\r\nContent-Type: text/\xe9\r\n\r\n" + body, stay
    ),
}

_INTERIM: dict[str, Fault] = {
    "interim answers": spoiling(
        lambda head, body: b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 103 Hints\r\n\r\n" * 3 + head + b"\r\n" + body,
        stay,
    ),
    "another protocol": saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello"),
    "only an interim answer": saying(b"HTTP/1.1 100 Continue\r\n\r\n"),
}

_STATUSES: dict[str, Fault] = {
    **{f"status {status}": _status(status) for status in (408, 409, 425, 500, 501, 502, 503, 504, 599, 999)},
    **{f"status {status}": _status(status) for status in (401, 403, 405, 413, 418, 451)},
    "status 302": _status(302, location="http://127.0.0.1:1/v1/jobs"),
    "status 304": saying(b"HTTP/1.1 304 Not Modified\r\n\r\n", stay),
    "status 204": spoiling(lambda head, body: b"HTTP/1.1 204 No Content\r\n\r\n", stay),
    "a gateway's page": saying(http_answer(502, _HTML, content_type="text/html"), stay),
    "an error without a body": saying(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n", stay),
    "an error not to be retried": _status(503, x_should_retry="false"),
    "an error after acting": spoiling(lambda head, body: http_answer(500, _HTML), stay),
    "an error body that is a list": _status(500, [1, 2]),
    "an error body of wrong types": _status(500, {"error": 5, "message": ["a"], "request_id": {}, "detail": {"a": 1}}),
    "an error body nested 900 deep": saying(http_answer(500, _nested(900)), stay),
    "an error body nested 100,000 deep": saying(http_answer(400, _nested(100_000)), stay),
    "an error body with a lone surrogate": saying(http_answer(500, rb'{"error":"\ud800","message":"\udfff"}'), stay),
    "an error body with a number too long": saying(http_answer(500, b'{"error":' + b"9" * 5000 + b"}"), stay),
    "an error body not UTF-8": saying(http_answer(500, b'{"message":"\xff\xfe\x80"}'), stay),
    "an error that repeats the request": _echo(422),
    "a fault that repeats the request": _echo(500),
}

RETRY_AFTER: dict[str, dict[str, str]] = {
    "seconds": {"retry_after": "3"},
    "fractions": {"retry_after": "0.25"},
    "zero": {"retry_after": "0"},
    "milliseconds": {"retry_after_ms": "1500"},
    "a date": {"retry_after": "Thu, 01 Jan 2026 00:00:05 GMT", "date": "Thu, 01 Jan 2026 00:00:00 GMT"},
    "a date without a clock": {"retry_after": "Thu, 01 Jan 2026 00:00:05 GMT"},
    "a date far off": {"retry_after": "Fri, 31 Dec 9999 23:59:59 GMT"},
    "NaN": {"retry_after": "nan", "retry_after_ms": "nan"},
    "infinity": {"retry_after": "inf", "retry_after_ms": "1e999"},
    "less than nothing": {"retry_after": "-5"},
    "garbage": {"retry_after": "soon", "date": "yesterday"},
    "more than is slept": {"retry_after": "121"},
    "more than there is": {"retry_after": "9" * 400},
}
"""What a `Retry-After` may look like, by name."""

_HINTS: dict[str, Fault] = {
    **{f"429 with {name}": _status(429, **headers) for name, headers in RETRY_AFTER.items()},
    **{f"503 with {name}": _status(503, **headers) for name, headers in RETRY_AFTER.items()},
}

_BODIES: dict[str, Fault] = {
    "gzip": _zipped(gzip.compress),
    "deflate": _zipped(zlib.compress, "deflate"),
    "gzip of something else": _zipped(lambda body: body),
    "gzip cut short": _zipped(lambda body: _cut(gzip.compress(body))),
    "gzip broken inside": _zipped(lambda body: gzip.compress(body)[:12] + b"\xff" * 40),
    "gzip of gzip of nothing": _zipped(lambda body: b"", "gzip, gzip"),
    "a packing unknown": _zipped(lambda body: b"\x01\x02", "sparkling"),
    "no body": _body(b""),
    "an HTML page": _body(_HTML, content_type="text/html"),
    "not UTF-8": _body(b'{"id":"\xff\xfe","status":"running"}'),
    "JSON cut short": _body(b'{"id": "job-'),
    "JSON null": _body(b"null"),
    "a number": _body(b"1e999"),
    "a list of numbers": _body(b"[1, 2]"),
    "wrong types": _body(b'{"id": 5, "status": [], "jobs": {"a": 1}}'),
    "wrong types inside": _body(b'{"id":{},"status":"running","jobs":[null]}'),
    "a lone surrogate": _body(rb'{"id":"\ud800","status":"\udfff","jobs":[{"id":"\ud800","status":"a"}]}'),
    "nested 900 deep": _body(_nested(900)),
    "nested 100,000 deep": _body(b"[" * 100_000),
    "a request repeated": _echo(200),
}

_ANSWERED: dict[str, Fault] = {
    "no fault": spoiling(lambda head, body: head + b"\r\n" + body, stay),
    "closed while idle": spoiling(lambda head, body: head + b"\r\n" + body),
    "reset while idle": spoiling(lambda head, body: head + b"\r\n" + body, reset),
    "closed as announced": spoiling(lambda head, body: head + b"Connection: close\r\n\r\n" + body),
    "HTTP/1.0": spoiling(lambda head, body: b"HTTP/1.0 200 OK\r\n\r\n" + body),
    "an answer too many": spoiling(
        lambda head, body: head + b"\r\n" + body + http_answer(200, b'{"id":"another","status":"failed","jobs":[]}'),
        stay,
    ),
}

QUICK: dict[str, Fault] = {
    **_SILENT,
    **_CUT_SHORT,
    **_LENGTHS,
    **_CHUNKS,
    **_NOT_HTTP,
    **_HEADERS,
    **_INTERIM,
    **_STATUSES,
    **_HINTS,
    **_BODIES,
    **_ANSWERED,
}
"""Faults that show at once."""

SLOW: dict[str, Fault] = {
    "stalled before reading": silent(stall, reads=False),
    "stalled after reading": silent(stall, reads=True),
    "stalled after acting": spoiling(lambda head, body: b"", stall),
    "stalled in the headers": spoiling(lambda head, body: _cut(head), stall),
    "stalled in the body": spoiling(lambda head, body: head + b"\r\n" + _cut(body), stall),
    "dripping headers": dripping(lambda head, body: (head, b"X-Slow: 1\r\n" * 1000)),
    "dripping body": dripping(lambda head, body: (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 10_000)),
    "dripping interim answers": dripping(lambda head, body: (b"", b"HTTP/1.1 102 Wait\r\n\r\n" * 500)),
    "interim answers without an end": flooding(b"", b"HTTP/1.1 102 Wait\r\n\r\n" * 50),
    "a body without an end": flooding(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 100),
}
"""Faults that last until the attempt's time is over."""

FAULTS = {**QUICK, **SLOW}
"""Every fault, by name."""

GOOD = _ANSWERED["no fault"]


class FaultServer(LoopbackServer):
    """Commits one fault a request, in order, and then none.

    Args:
        faults: names from `FAULTS`.
        control_plane: what answers where there is no fault, or a fault lets it.

    Attributes:
        is_slow: whether a fault lasts until the attempt's time is over.
    """

    def __init__(self, faults: Iterable[str] = (), control_plane: FakeControlPlane | None = None) -> None:
        names = list(faults)
        self.control_plane = FakeControlPlane() if control_plane is None else control_plane
        self.is_slow = not SLOW.keys().isdisjoint(names)
        super().__init__(*(FAULTS[name](self.control_plane) for name in names), then=GOOD(self.control_plane))

    def heal(self) -> None:
        """Commit no more faults."""
        with self._mutex:
            self._actions.clear()

    def requests(self, method: str) -> list[Received]:
        """The requests with a method that were read, in order."""
        return [request for request in self.received if request.method == method]
