# Generated from tests/_async/test_log_streams.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Following what a job prints."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import nodus
from tests._sync.clients import on_loopback, scripted
from tests.support.script import Script
from tests.support.script import job as view
from tests.support.server import Action, LoopbackServer, answer
from tests.support.streams import JOB, logs

OVER = answer(200, view("completed"))
RUNNING = answer(200, view("running"))
NOTHING_MORE = answer(416)


def followed(server: LoopbackServer) -> list[str]:
    """Follow the job to its end."""
    with on_loopback(server) as client:
        return [text for text in client.job(JOB).logs(follow=True)]


def test_output_comes_as_text_until_the_job_is_over() -> None:
    """Pieces are cut anywhere but inside a character; what is no UTF-8 becomes U+FFFD."""
    text = "épöch 1 😀\n".encode()
    with LoopbackServer(logs(*(text[at : at + 1] for at in range(len(text))), b"\xff"), OVER, NOTHING_MORE) as server:
        pieces = followed(server)

    assert "".join(pieces) == "épöch 1 😀\n�"
    assert "�" not in "".join(pieces[:-1])
    assert server.received[0].target == f"/v1/jobs/{JOB}/logs?follow=true"
    assert server.received[0].header("range") is None


def test_a_dropped_connection_is_resumed_by_byte() -> None:
    """In the middle of a character too; a server that takes no range is passed over as far."""
    text = "wärme\nkälte\n".encode()
    with LoopbackServer(
        logs(text[:2], ends=False),
        logs(text[2:9], ends=False, status=206),
        logs(text, ends=True),
        OVER,
        NOTHING_MORE,
    ) as server:
        pieces = followed(server)

    assert "".join(pieces) == text.decode()
    assert [request.header("range") for request in server.received[:3]] == [None, "bytes=2-", "bytes=9-"]


def test_what_is_printed_at_the_end_is_not_missed() -> None:
    """Only a read that began when the job was over can be the last."""
    with LoopbackServer(
        logs(b"one\n"), RUNNING, logs(b"two\n", status=206), OVER, logs(b"three\n", status=206)
    ) as server:
        pieces = followed(server)

    assert "".join(pieces) == "one\ntwo\nthree\n"


def test_the_next_placement_begins_anew() -> None:
    """Offsets count within one placement's output."""
    with LoopbackServer(
        logs(b"first try\n", nodus_attempt="1"),
        RUNNING,
        logs(b"longer than before\n"[10:], status=206, nodus_attempt="2"),
        logs(b"longer than before\n", nodus_attempt="2"),
        OVER,
        NOTHING_MORE,
        OVER,
        logs(b"longer than before\n", nodus_attempt="2"),
    ) as server:
        pieces = followed(server)

    assert "".join(pieces) == "first try\nlonger than before\n"


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_logs_is_a_clear_error(status: int) -> None:
    """Told apart from a job that is not there."""
    absent = answer(404, {"error": "job_not_found"})
    with LoopbackServer(answer(status), absent) as server:
        with on_loopback(server) as client:
            with pytest.raises(nodus.NodusError, match="does not serve job output") as unsupported:
                for _ in client.logs(JOB, follow=True):
                    pass
            with pytest.raises(nodus.NotFoundError) as unknown:
                for _ in client.logs(JOB, follow=True):
                    pass

    assert (unsupported.value.code, unsupported.value.status_code) == ("logs_unsupported", status)
    assert unknown.value.code == "job_not_found"


def test_output_is_read_in_turns_while_the_key_has_too_many_streams() -> None:
    """Nothing is missed or repeated, and it is followed again as soon as the server may allow it."""
    full = answer(429, {"error": "too_many_streams"}, retry_after="3")
    with LoopbackServer(
        full,
        logs(b"one\n"),
        RUNNING,
        logs(b"two\n", status=206),
        RUNNING,
        logs(b"three\n", status=206),
        OVER,
        NOTHING_MORE,
    ) as server:
        pieces = followed(server)

    read = [request for request in server.received if "/logs" in request.target]
    assert "".join(pieces) == "one\ntwo\nthree\n"
    assert ["follow" in request.target for request in read] == [True, False, False, True, True]


def test_an_injected_client_that_cannot_stream_cannot_follow() -> None:
    """That is said, rather than a wait that ends with all the text."""
    with scripted(Script()) as client:
        with pytest.raises(nodus.ConfigurationError, match="stream=True"):
            for _ in client.logs(JOB, follow=True):
                pass


def test_leaving_half_way_gives_the_connection_back() -> None:
    """With `close()`, or as a context manager."""
    action: Action = logs(b"one\n", b"two\n", ends=False)
    with LoopbackServer(action) as server:
        with on_loopback(server) as client:
            with client.logs(JOB, follow=True) as pieces:
                for text in pieces:
                    assert text.startswith("one")
                    break
            busy = repr(client._session._pool)
            rest = [text for text in pieces]

    assert "0 busy" in busy
    assert rest == []


def test_without_following_it_is_one_text() -> None:
    """By the client or by the job."""
    with LoopbackServer(then=logs(b"all of it\n")) as server:
        with on_loopback(server) as client:
            assert client.logs(JOB) == client.job(JOB).logs() == "all of it\n"


def note_down(pieces: Iterator[str], told: list[str]) -> None:
    """Keep what an iterator gives, should it raise."""
    for piece in pieces:
        told.append(piece)


def test_a_server_that_breaks_every_answer_off_ends_it_at_last() -> None:
    """What it had to tell was told; the error is that of the connection."""
    told: list[str] = []
    with LoopbackServer(then=logs(b"ab", ends=False)) as server:
        with on_loopback(server, total_timeout=60) as client:
            with pytest.raises(nodus.APIConnectionError) as caught:
                note_down(client.job(JOB).logs(follow=True), told)

    assert "".join(told) == "ab"
    assert caught.value.attempts == 1
