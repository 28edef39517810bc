# Generated from tests/_async/test_bodies.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Bodies of answers: packed ones, and such as are larger than a program can bear."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

import nodus
from nodus import _bodies
from tests._sync.clients import on_loopback
from tests.support.plane import http_answer
from tests.support.script import job
from tests.support.server import LoopbackServer, sends

LIMIT = 1024 * 1024


@pytest.fixture(autouse=True)
def low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a mebibyte be too much."""
    monkeypatch.setattr(_bodies, "MAX_BYTES", LIMIT)


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
def test_a_body_that_is_too_large_is_an_answer_that_cannot_be_used(kind: str) -> None:
    """It is not read to its end, nor asked for again; the place of its connection is free."""
    with LoopbackServer(then=sends(TOO_LARGE[kind])) as server:
        with on_loopback(server, max_connections=1) as client:
            for _ in range(2):
                with pytest.raises(nodus.APIError, match="body of more than 1 MiB") as caught:
                    client.get("a-job")

    assert (caught.value.code, caught.value.status_code, caught.value.attempts) == ("invalid_response", 200, 1)
    assert len(server.received) == 2


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
def test_a_body_up_to_the_limit_is_read(encoding: str) -> None:
    """Packed or not; what it becomes is what counts."""
    content = json.dumps(job("running", padding="x" * (LIMIT // 2))).encode()
    packed = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[encoding](content)
    with LoopbackServer(then=sends(http_answer(200, packed, content_encoding=encoding))) as server:
        with on_loopback(server) as client:
            assert (client.get("a-job")).status == nodus.JobStatus.RUNNING
