"""A small HTTP server on loopback, in a process of its own, so that its work is not counted as a client's.

The first segment of the path picks how it behaves: `/slow/…` answers after 50 ms, `/fleeting/…` at once but closes the
connection when it has been idle for 5 ms, `/crowd/…` answers listings with pages of 10,000 running jobs, anything else
answers at once with one job. `/stats` tells how many connections were opened and
requests answered since it was last asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator

JOB_ID = "0192c1f4-7a60-7c3e-9d2b-5f1e8a4b6c7d"

JOB = (
    b'{"id":"0192c1f4-7a60-7c3e-9d2b-5f1e8a4b6c7d","status":"running","supplier":"lambda","region":"us-east-1",'
    b'"cost_usd":null,"error_code":null,"error_message":null,"image":"ghcr.io/acme/sim:v3","gpu":"h100_80gb",'
    b'"gpu_count":1,"max_runtime_seconds":3600,"created_at":"2026-01-01T00:00:00Z","started_at":"2026-01-01T00:01:00Z",'
    b'"finished_at":null,"attempts":1,"estimated_cost_usd":2.99}'
)
"""One job as the API describes it: 379 bytes, as most calls answer."""

CROWD = 10_000
PAGE = 200

SLOW_SECONDS = 0.05
FLEETING_SECONDS = 0.005


class Counters:
    """What all connections of the server have seen."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0

    def take(self) -> bytes:
        """Return the counts as JSON, and start again from zero."""
        counted = json.dumps({"connections": self.connections, "requests": self.requests}).encode()
        self.connections = self.requests = 0
        return counted


def reply(body: bytes) -> bytes:
    head = (
        "HTTP/1.1 200 OK\r\n"
        "content-type: application/json\r\n"
        "x-request-id: req_1\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def job_id(number: int) -> str:
    """The id of one of the crowd."""
    return f"{JOB_ID[:-5]}{number:05d}"


@functools.cache
def page(target: bytes) -> bytes:
    """The page of the crowd that `target` asks for, the newest first."""
    cursor = re.search(rb"cursor=(\d+)", target)
    start = 0 if cursor is None else int(cursor[1])
    jobs = b",".join(JOB.replace(JOB_ID.encode(), job_id(n).encode()) for n in range(start, start + PAGE))
    following = f'"{start + PAGE}"' if start + PAGE < CROWD else "null"
    return b'{"jobs":[' + jobs + b'],"next_cursor":' + following.encode() + b"}"


class Connection(asyncio.Protocol):
    """One client's connection: whole requests in, canned answers out. Bodies are skipped by their length."""

    ANSWER = reply(JOB)

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._buffer = b""
        self._farewell: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._counters.connections += 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = _content_length(head)
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            self._answer(head.split(b" ", 2)[1])

    def _answer(self, target: bytes) -> None:
        if target == b"/stats":
            self._counters.connections -= 1
            self._transport.write(reply(self._counters.take()))
            return
        self._counters.requests += 1
        loop = asyncio.get_running_loop()
        if target.startswith(b"/slow/"):
            loop.call_later(SLOW_SECONDS, self._transport.write, self.ANSWER)
            return
        if target.startswith(b"/crowd/"):
            self._transport.write(reply(page(target)))
            return
        self._transport.write(self.ANSWER)
        if target.startswith(b"/fleeting/"):
            if self._farewell is not None:
                self._farewell.cancel()
            self._farewell = loop.call_later(FLEETING_SECONDS, self._transport.close)


def _content_length(head: bytes) -> int:
    at = head.lower().find(b"\r\ncontent-length:")
    return 0 if at < 0 else int(head[at + 17 :].split(b"\r\n", 1)[0])


async def serve() -> None:
    counters = Counters()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(counters), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until whoever started this goes away


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Run the server in a process of its own, on the last core where there are several; return its base URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


def pin(*, server: bool) -> None:
    """Keep this process off the other side's core, where the system can and there are cores enough."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if len(cores) > 1:
        os.sched_setaffinity(0, cores[-1:] if server else cores[:-1])


if __name__ == "__main__":
    pin(server=True)
    asyncio.run(serve())
