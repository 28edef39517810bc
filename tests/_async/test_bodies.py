"""Bodies of answers: packed ones, and such as are larger than a program can bear."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import replace

import pytest

import nodus
from nodus import _bodies, _calls
from tests._async.clients import on_loopback, scripted
from tests.support.fake_control_plane import http_answer
from tests.support.script import AsyncScript, job
from tests.support.server import LoopbackServer, answer, sends
from tests.support.streams import JOB, frames, streams

LIMIT = 1024 * 1024


@pytest.fixture(autouse=True)
def low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a mebibyte be too much."""
    get_job = _calls.get_job
    monkeypatch.setattr(_calls, "get_job", lambda job_id: replace(get_job(job_id), max_bytes=LIMIT))


def bomb(encoding: str) -> bytes:
    """A few kilobytes that become sixteen times too much."""
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding](bytes(16 * LIMIT))
    return http_answer(200, packed, content_encoding=encoding)


TOO_LARGE = {
    "with a length": http_answer(200, b" " * (LIMIT + 1)),
    "in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"10000\r\n%b\r\n" % (b" " * 65536) * 64
    + b"0\r\n\r\n",
    "until the connection ends": b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (4 * LIMIT),
    "packed with gzip": bomb("gzip"),
    "packed with deflate": bomb("deflate"),
}


@pytest.mark.parametrize("kind", TOO_LARGE)
async def test_a_body_that_is_too_large_is_an_answer_that_cannot_be_used(kind: str) -> None:
    """It is not read to its end, nor asked for again; the place of its connection is free."""
    with LoopbackServer(then=sends(TOO_LARGE[kind])) as server:
        async with on_loopback(server, max_connections=1) as client:
            for _ in range(2):
                with pytest.raises(nodus.APIError, match="body of more than 1 MiB") as caught:
                    await client.get("a-job")

    assert (caught.value.code, caught.value.status_code, caught.value.attempts) == ("invalid_response", 200, 1)
    assert len(server.received) == 2


PACKED_IN_A_WAY_NOT_ASKED_FOR = {
    "gzip, gzip": gzip.compress(gzip.compress(b'{"id":"a-job","status":"running"}')),
    "deflate, gzip": gzip.compress(zlib.compress(b'{"id":"a-job","status":"running"}')),
    "br": b"\x0b\x02\x80{}\x03",
    "zstd": b"(\xb5/\xfd\x04\x00\x11\x00\x00{}",
}


@pytest.mark.parametrize("encoding", PACKED_IN_A_WAY_NOT_ASKED_FOR)
async def test_a_body_packed_in_a_way_not_asked_for_is_not_unpacked(encoding: str) -> None:
    """The error names the coding; the next call finds its connection in order."""
    packed = http_answer(200, PACKED_IN_A_WAY_NOT_ASKED_FOR[encoding], content_encoding=encoding)
    with LoopbackServer(sends(packed), then=answer(200, job("running"))) as server:
        async with on_loopback(server, max_connections=1) as client:
            with pytest.raises(nodus.APIError, match=encoding) as caught:
                await client.get("a-job")
            assert (await client.get("a-job")).status == nodus.JobStatus.RUNNING

    assert (caught.value.code, caught.value.attempts) == ("invalid_response", 1)


BROKEN = {
    "cut short": gzip.compress(b'{"id":"a-job","status":"running"}')[:-9],
    "not packed at all": b'{"id":"a-job","status":"running"}',
    "followed by something": gzip.compress(b'{"id":"a-job","status":"running"}') + b"more",
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_body_that_is_not_packed_as_it_says_cannot_be_used(kind: str) -> None:
    """Nor is it asked for again: a server that sends such a thing will send it again."""
    with LoopbackServer(then=sends(http_answer(200, BROKEN[kind], content_encoding="gzip"))) as server:
        async with on_loopback(server) as client:
            with pytest.raises(nodus.APIError, match="packed with gzip") as caught:
                await client.get("a-job")

    assert (caught.value.code, caught.value.attempts) == ("invalid_response", 1)


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "identity"])
async def test_an_error_with_a_body_that_cannot_be_read_is_still_that_error(encoding: str) -> None:
    """It has the class of its status and no payload, and is retried as ever."""
    spoilt = http_answer(503, b"x" * (_bodies.MAX_ERROR_BYTES + 1), content_encoding=encoding)
    with LoopbackServer(sends(spoilt), then=answer(404, {"error": "job_not_found"})) as server:
        async with on_loopback(server, max_connections=1) as client:
            with pytest.raises(nodus.NotFoundError) as caught:
                await client.get("a-job")

    assert (caught.value.code, caught.value.attempts) == ("job_not_found", 2)


async def test_a_byte_order_mark_before_the_json_is_passed_over() -> None:
    """Some gateways write one."""
    marked = http_answer(200, b"\xef\xbb\xbf" + json.dumps(job("running")).encode())
    listing = http_answer(200, b"\xef\xbb\xbf [" + json.dumps(job("running")).encode() + b"]")
    with LoopbackServer(sends(marked), sends(listing)) as server:
        async with on_loopback(server) as client:
            assert (await client.get("a-job")).status == nodus.JobStatus.RUNNING
            assert len(await client.list()) == 1


@pytest.mark.parametrize("amount", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b'"NaN"'])
async def test_what_is_no_finite_number_is_not_taken_for_money(amount: bytes) -> None:
    """JSON has no such numbers, and a sum with one would be worthless."""
    body = b'{"id":"a-job","status":"completed","cost_usd":%b}' % amount
    with LoopbackServer(then=sends(http_answer(200, body))) as server:
        async with on_loopback(server) as client:
            with pytest.raises(nodus.APIError) as caught:
                await client.get("a-job")

    assert caught.value.code == "invalid_response"
    assert isinstance(caught.value.payload, dict)
    assert caught.value.payload["cost_usd"] in (None, "NaN")


async def test_a_listing_is_no_longer_than_was_asked_for() -> None:
    """A server that ignores the limit does not fill memory with handles."""
    page = {"jobs": [job("running") for _ in range(300)], "next_cursor": None}
    with LoopbackServer(then=answer(200, page)) as server:
        async with on_loopback(server) as client:
            assert len(await client.list(limit=5)) == 5


async def test_a_body_without_memory_for_it_is_an_answer_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where little memory is left, even what is within the limits may be too much."""

    def exhausted(*_: object) -> None:
        raise MemoryError

    with LoopbackServer(then=answer(200, job("running"))) as server:
        async with on_loopback(server) as client:
            with monkeypatch.context() as patch:
                patch.setattr(_bodies.BodyReader, "_keep", exhausted)
                with pytest.raises(nodus.APIError, match="not enough memory") as while_read:
                    await client.get("a-job")
            monkeypatch.setattr(_bodies, "json_of", exhausted)
            with pytest.raises(nodus.APIError, match="not enough memory") as while_parsed:
                await client.healthz()

    async with scripted(AsyncScript(MemoryError())) as client:
        with pytest.raises(nodus.APIError, match="not enough memory") as while_sent:
            await client.get("a-job")

    assert {each.value.code for each in (while_read, while_parsed, while_sent)} == {"invalid_response"}


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "identity"])
async def test_a_body_up_to_the_limit_is_read(encoding: str) -> None:
    """Packed or not; what it becomes is what counts."""
    content = json.dumps(job("running", padding="x" * (LIMIT // 2))).encode()
    packed = {"deflate": zlib.compress, "identity": bytes}.get(encoding, gzip.compress)(content)
    with LoopbackServer(then=sends(http_answer(200, packed, content_encoding=encoding))) as server:
        async with on_loopback(server) as client:
            assert (await client.get("a-job")).status == nodus.JobStatus.RUNNING


@pytest.mark.parametrize("encoding", ["gzip", "br"])
async def test_a_stream_that_is_packed_is_an_error_that_names_the_coding(encoding: str) -> None:
    """It was not asked for, and some would have to be unpacked without end."""
    with LoopbackServer(then=streams(frames(1), content_encoding=encoding)) as server:
        async with on_loopback(server, max_connections=1) as client:
            for stream in (client.job(JOB).events(), client.job(JOB).logs(follow=True)):
                with pytest.raises(nodus.APIError, match=encoding) as caught:
                    async for _ in stream:
                        pass
                assert caught.value.code == "invalid_response"
            busy = repr(client._session._pool)

    assert "0 busy" in busy
