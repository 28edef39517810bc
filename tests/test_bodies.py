"""Bodies of responses: what unpacking and parsing them may cost."""

from __future__ import annotations

import contextlib
import gzip
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nodus
from nodus import _bodies, _http
from nodus._httpx import httpx
from nodus._job_pages import JobGlances, JobPage
from nodus._models import JobView
from nodus._resources import JobEvent, LedgerPage, Routing
from tests.support.script import job

MIB = 1 << 20


def collected(body: bytes, encoding: str, *, limit: int = MIB, size: int = 1000) -> tuple[bytes, str | None]:
    """Feed a body in pieces; return what became of it, and the problem with it."""
    reader = _bodies.BodyReader(httpx.Headers({"Content-Encoding": encoding}), limit)
    for start in range(0, len(body), size):
        reader.feed(body[start : start + size])
    return reader.finish(), reader.problem


def raw_deflate(content: bytes) -> bytes:
    """What some servers call "deflate"."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


@given(content=st.binary(max_size=5000), size=st.integers(1, 64))
@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("", bytes),
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("X-GZip", gzip.compress),
        ("deflate, identity", zlib.compress),
        ("deflate", raw_deflate),
    ],
)
def test_what_was_packed_once_is_unpacked(encoding: str, pack: type[bytes], content: bytes, size: int) -> None:
    """The content and the size of the pieces do not matter."""
    assert collected(pack(content), encoding, size=size) == (content, None)


@given(garbage=st.binary(min_size=1, max_size=200), encoding=st.sampled_from(["gzip", "deflate", "br", "gzip, gzip"]))
def test_garbage_never_raises(garbage: bytes, encoding: str) -> None:
    """It is read as far as possible, or reported as a problem."""
    content, problem = collected(garbage, encoding, size=7)

    assert problem is not None or isinstance(content, bytes)


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "gzip"])
def test_an_empty_body_is_empty_however_it_is_said_to_be_packed(encoding: str) -> None:
    """The response to a deletion has no body, whatever its headers say."""
    assert collected(b"", encoding) == (b"", None)


@pytest.mark.parametrize(
    ("pack", "encoding"), [(gzip.compress, "gzip"), (zlib.compress, "deflate"), (raw_deflate, "deflate"), (bytes, "")]
)
def test_a_body_is_unpacked_no_further_than_its_limit(pack: type[bytes], encoding: str) -> None:
    """The limit holds for any ratio of compression and any pieces."""
    body = pack(bytes(200 * MIB))
    reader = _bodies.BodyReader({"content-encoding": encoding}, MIB)
    tracemalloc.start()
    try:
        reader.feed(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert reader.problem == "a body of more than 1 MiB"
    assert reader.finish() == b""
    assert peak < 16 * MIB


def test_bytes_that_come_to_nothing_are_limited_too() -> None:
    """Otherwise a server could send empty blocks for ever."""
    endless = b"\x78\x9c" + b"\x00\x00\x00\xff\xff" * 1000

    assert collected(endless, "deflate", limit=1000)[1] == "a body of more than 0 KiB"


def test_tiny_pieces_take_no_more_memory_than_large_ones() -> None:
    """The pieces are not kept as objects of their own."""
    reader = _bodies.BodyReader({}, MIB)
    tracemalloc.start()
    try:
        for _ in range(200_000):
            reader.feed(b"x")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert reader.finish() == b"x" * 200_000
    assert peak < MIB


ITEMS = {
    "lists": "[]",
    "nested lists": "[[[[0]]]]",
    "objects": "{}",
    "objects with a key": '{"":0}',
    "numbers": "0",
    "fractions": "1.5",
    "texts": '""',
    "escapes": '"\\u0041"',
    "jobs": '{"id":"","status":""}',
    "wide texts": '"' + "é" * 1000 + '"',
    "one wide text": '"' + "😀" * (8 * MIB - 100) + '"',
}
PLACES = {
    "ignored": ("get", '{"id":"a","status":"running","x":[%s]}'),
    "jobs": ("list", '{"jobs":[%s]}'),
    "a bare array": ("list", "[%s]"),
    "glances": ("glances", '{"jobs":[%s]}'),
    "rows": ("ledger", '{"entries":[%s]}'),
    "a payload": (
        "ledger",
        '{"entries":[{"seq":1,"at":"","kind":"","job_id":null,"key_id":null,"principal_kind":null,"prev_hash":"",'
        '"leaf":"","leaf_hash":"","payload":{"x":[%s]}}]}',
    ),
    "candidates": ("routing", '{"candidates":[%s]}'),
    "health": ("healthz", '{"status":[%s]}'),
    "an error": ("error", '{"error":"e","message":"m","x":[%s]}'),
    "an event": ("event", '{"seq":1,"job_id":"a","status":"running","x":[%s]}'),
}
READERS = {
    "get": lambda response: _http.parse(response, JobView),
    "list": _http.parse_page,
    "glances": _http.parse_glances,
    "ledger": lambda response: _http.parse(response, LedgerPage),
    "routing": lambda response: _http.parse(response, Routing),
    "healthz": _http.parse_object,
    "error": lambda response: response.payload(),
    "event": lambda response: _http.parse(response, JobEvent),
}


@pytest.mark.campaign(7)
@pytest.mark.parametrize("amount", ["as large as may be", "as many values as may be", "always small"])
@pytest.mark.parametrize("item", ITEMS)
@pytest.mark.parametrize("place", PLACES)
def test_json_of_any_shape_is_read_in_bounded_memory(place: str, item: str, amount: str) -> None:
    """It is read, or refused; `tracemalloc` measures what Python allocates, errors included."""
    kind, frame = PLACES[place]
    start, _, end = frame.partition("%s")
    text = ITEMS[item]
    size = _bodies.ALWAYS_SMALL_BYTES if amount == "always small" else _bodies.MAX_JSON_BYTES
    count = (size - len(frame)) // (len(text.encode()) + 1)
    if amount == "as many values as may be":
        most = _bodies.MAX_PAGE_VALUES if kind in ("list", "glances") else _bodies.MAX_VALUES
        count = min(count, (most - 50) // (1 + sum(map(text.count, "{[,"))))
    content = (start + text + f",{text}" * (count - 1) + end).encode()[: _bodies.MAX_JSON_BYTES]
    response = _http.Response(200, {}, content)
    tracemalloc.start()
    try:
        with contextlib.suppress(nodus.APIError):
            READERS[kind](response)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert peak <= _bodies.MAX_PARSED_BYTES


def test_large_pages_that_people_have_are_read() -> None:
    """A server without a limit of its own may return ten thousand jobs at once."""
    jobs = ",".join([json.dumps(job("running"))] * 10_000)
    page = _http.parse_page(_http.Response(200, {}, f'{{"jobs":[{jobs}]}}'.encode()))
    bare = _http.parse_page(_http.Response(200, {}, f"\n [{jobs}]".encode()))

    assert isinstance(page, JobPage)
    assert page == bare
    assert len(page.jobs) == 10_000
    assert isinstance(_http.parse_glances(_http.Response(200, {}, b"[]")), JobGlances)


def test_a_page_with_one_job_that_is_none_cannot_be_used() -> None:
    """Parsing stops at the first item that is invalid."""
    with pytest.raises(nodus.APIError, match="no usable JobPage"):
        _http.parse_page(_http.Response(200, {}, b'{"jobs":[{"id":"a","status":"running"},{},{},{}]}'))


def test_numbers_that_are_not_finite_are_left_out_of_an_error() -> None:
    """Otherwise arithmetic with an error's figures would give NaN or infinity."""
    response = _http.Response(402, {}, b'{"error":"over_budget","month_to_date_usd":NaN,"headroom_usd":1e999,"n":1.5}')

    assert response.payload() == {"error": "over_budget", "month_to_date_usd": None, "headroom_usd": None, "n": 1.5}
