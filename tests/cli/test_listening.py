"""What `nodus webhooks listen` takes for a request."""

from __future__ import annotations

import pytest

from nodus._cli import listening
from nodus._cli.listening import MAX_BODY_BYTES, Delivery, RequestRefused, _receive, parse_head


def head(*lines: str) -> str:
    return "\r\n".join(["POST /hooks HTTP/1.1", *lines])


class Chunks:
    """A connection on which these pieces arrive, one after the other."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return self._pieces.pop(0)


def test_a_head_is_read() -> None:
    """Names of fields ignore case, and white space around values is dropped."""
    assert parse_head(head("Content-Length:  2 \t", "X-A: b: c", "X-A: d", "Nodus-Signature:t=1")) == (
        "POST",
        "/hooks",
        {"content-length": "2", "x-a": "d", "nodus-signature": "t=1"},
        2,
    )


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((" Content-Length: 2",), 400),
        (("Content-Length : 2",), 400),
        (("no colon",), 400),
        ((": x",), 400),
        (("Content-Length: 2", "content-length: 3"), 400),
        (("Nodus-Signature: a", "Nodus-Signature: b", "Content-Length: 2"), 400),
        ((), 411),
        (("Content-Length: two",), 411),
        (("Content-Length: \u0662",), 411),
        (("Content-Length: -1",), 411),
        (("Content-Length: 2", "Transfer-Encoding: chunked"), 411),
        ((f"Content-Length: {MAX_BODY_BYTES + 1}",), 413),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(lines: tuple[str, ...], status: int) -> None:
    """So is a head that cannot be read at all."""
    with pytest.raises(RequestRefused) as caught:
        parse_head(head(*lines))

    assert caught.value.status == status


@pytest.mark.parametrize("line", ["GET /", "GET / HTTP/2", "GET  / HTTP/1.1", ""])
def test_what_is_no_request_is_refused(line: str) -> None:
    """It is refused before its fields are read."""
    with pytest.raises(RequestRefused) as caught:
        parse_head(f"{line}\r\nContent-Length: 0")

    assert caught.value.status == 400


def test_a_header_is_read_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """No regular expression is applied to a field's value, however many spaces it has."""
    seen: list[int] = []

    class Pattern:
        def fullmatch(self, name: str) -> bool:
            seen.append(len(name))
            return True

    monkeypatch.setattr(listening, "_FIELD_NAME", Pattern())
    spaces = " " * 63_000
    _, _, headers, _ = parse_head(head(f"x:{spaces}y{spaces}z", "content-length: 0"))

    assert len(headers["x"]) == 63_002
    assert seen == [1, len("content-length")]


async def test_a_request_arrives_in_any_pieces() -> None:
    """It may be cut anywhere, and what follows the body is ignored."""
    whole = head("Content-Length: 3").encode() + b"\r\n\r\nabcdef"
    for pieces in ([whole], [bytes([each]) for each in whole], [whole[:40], whole[40:43], whole[43:]]):
        assert await _receive(Chunks(*pieces)) == Delivery("POST", "/hooks", {"content-length": "3"}, b"abc")


async def test_a_head_without_end_is_refused() -> None:
    """The limit holds for one large piece and for many small ones."""
    for pieces in ([b"a" * 70_000], [b"a" * 1000] * 70, [b"POST / HTTP/1.1\r\nx: " + b" " * 70_000 + b"\r\n\r\n"]):
        with pytest.raises(RequestRefused) as caught:
            await _receive(Chunks(*pieces))
        assert caught.value.status == 431


@pytest.mark.parametrize("body", [b"[" * 100_000, b"1" * 10_000, b"\xff", b"[]", b'"x"'])
def test_a_body_that_is_no_event_is_shown_as_none(body: bytes) -> None:
    """It is signed, so it is forwarded all the same."""
    assert listening._event_of(body) == {}
