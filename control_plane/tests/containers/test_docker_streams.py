"""An answer is read as it comes, many lines at a time, and what broke off is not taken for the end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE_SECONDS

from nodus_control.suppliers.docker.streams import Body, Stream, cut
from nodus_control.suppliers.protocol import EngineUnavailable

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(*parts: bytes) -> bytes:
    """A body in chunks, as an engine sends it: one for each line."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


def fed(data: bytes, size: int) -> tuple[Body, bytes]:
    """Feed an answer in pieces of a size."""
    body = Body()
    return body, b"".join(body.feed(data[at : at + size]) for at in range(0, len(data), size))


@given(parts=st.lists(st.binary(min_size=1, max_size=40), max_size=12), size=st.integers(1, 60))
def test_chunks_are_taken_apart_however_they_come(parts: list[bytes], size: int) -> None:
    """The end is known from the last one, which is empty."""
    body, found = fed(CHUNKED + chunked(*parts), size)

    assert (body.status, body.is_over, found) == (200, True, b"".join(parts))


@given(printed=st.binary(max_size=100), size=st.integers(1, 60))
def test_a_body_has_a_length(printed: bytes, size: int) -> None:
    """Where it does not come in chunks."""
    body, found = fed(b"HTTP/1.1 404 Not Found\r\ncontent-length: %d\r\n\r\n" % len(printed) + printed, size)

    assert (body.status, body.is_over, found) == (404, True, printed)


def test_a_body_without_a_length_ends_with_its_connection() -> None:
    """And not before."""
    body, found = fed(b"HTTP/1.0 200 OK\r\n\r\nab", 3)
    was_over = body.is_over
    body.end()

    assert (was_over, body.is_over, found) == (False, True, b"ab")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        CHUNKED,
        CHUNKED + b"5\r\nabc",
        CHUNKED + b"3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
    ],
)
def test_what_breaks_off_is_not_the_end(answer: bytes) -> None:
    """An engine that is killed closes its connections too."""
    body, _ = fed(answer, 7)
    with pytest.raises(ValueError, match="before its end"):
        body.end()


@pytest.mark.parametrize(
    "answer",
    [
        b"no HTTP\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 fine\r\n\r\n",
        b"x" * 70_000,
        CHUNKED + b"-5\r\nabcde\r\n",
        CHUNKED + b"size\r\n",
        CHUNKED + b"0" * 2_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_refused(answer: bytes) -> None:
    """Whatever listens there, it is no engine."""
    with pytest.raises(ValueError):  # noqa: PT011  # whose words differ
        fed(answer, 1000)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, engines = socket.socketpair()
    with ours, engines:
        yield ours, engines


def opened(connection: socket.socket, silence_seconds: float | None = PATIENCE_SECONDS) -> Stream:
    return Stream(
        connection,
        host="engine",
        target="/logs",
        params={"follow": "true"},
        silence_seconds=silence_seconds,
        answer_seconds=PATIENCE_SECONDS,
    )


def test_all_that_has_come_is_one_part(pair: tuple[socket.socket, socket.socket]) -> None:
    """However many chunks it has: each part costs a write."""
    lines = [b"line %d\n" % number for number in range(500)]
    pair[1].sendall(CHUNKED + chunked(*lines))
    stream = opened(pair[0])

    assert (stream.status, list(stream.parts(None))) == (200, [b"".join(lines)])
    assert pair[1].recv(1000) == b"GET /logs?follow=true HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n"


def test_a_line_is_not_held_until_another_comes(pair: tuple[socket.socket, socket.socket]) -> None:
    """Whoever follows an output sees it live."""
    pair[1].sendall(CHUNKED)
    parts = opened(pair[0]).parts(None)
    seen = []
    for line in (b"one\n", b"two\n"):
        pair[1].sendall(b"4\r\n%b\r\n" % line)
        seen.append(next(parts))

    assert seen == [b"one\n", b"two\n"]


def test_where_nobody_waits_small_parts_are_put_together(pair: tuple[socket.socket, socket.socket]) -> None:
    """So many bytes at least, and what is left at the end."""

    def send() -> None:
        pair[1].sendall(CHUNKED)
        for piece in [b"5\r\n", *[b"a"] * 5, b"\r\n", b"4\r\nbbbb\r\n", b"0\r\n\r\n"]:
            pair[1].sendall(piece)

    sending = threading.Thread(target=send)
    sending.start()
    found = list(opened(pair[0]).parts(8))
    sending.join(PATIENCE_SECONDS)

    assert b"".join(found) == b"aaaaabbbb"
    assert all(len(part) >= 8 for part in found[:-1])


def test_a_stream_that_is_cut_has_broken_off(pair: tuple[socket.socket, socket.socket]) -> None:
    """Whoever waits for it goes on at once."""
    pair[1].sendall(CHUNKED)
    stream = opened(pair[0], None)
    cutting = threading.Timer(0.0, cut, (pair[0],))
    cutting.start()
    with pytest.raises(EngineUnavailable):
        list(stream.parts(None))
    cutting.join(PATIENCE_SECONDS)


@pytest.mark.parametrize("size", [None, 1000])
def test_what_came_before_a_stream_broke_off_is_kept(
    pair: tuple[socket.socket, socket.socket], size: int | None
) -> None:
    """An answer that always breaks off at one place is all that will ever come of an output."""
    pair[1].sendall(CHUNKED + b"5\r\nprint")
    pair[1].shutdown(socket.SHUT_WR)
    found: list[bytes] = []
    parts = opened(pair[0]).parts(size)
    with pytest.raises(EngineUnavailable, match="broke off"):
        found.extend(parts)

    assert b"".join(found) == b"print"


def test_an_engine_may_not_be_silent_for_ever(pair: tuple[socket.socket, socket.socket]) -> None:
    """Where it has all that is asked for."""
    pair[1].sendall(CHUNKED)
    stream = opened(pair[0], 0.01)
    with pytest.raises(EngineUnavailable, match="in time"):
        list(stream.parts(None))


def test_an_engine_that_hangs_up_gave_no_answer(pair: tuple[socket.socket, socket.socket]) -> None:
    """Nothing is known then."""
    pair[1].close()
    with pytest.raises(EngineUnavailable, match="broke off"):
        opened(pair[0])
