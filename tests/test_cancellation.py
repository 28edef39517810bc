"""Cancelled at every point at which it waits, a call leaves nothing behind: no place taken, no job touched.

Each scenario runs once to count its points, and then once for each of them, cancelled there. The client has a single
connection, so that a place lost once would make the next call fail.
"""

from __future__ import annotations

import gc
import threading
import types
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import nodus
from nodus._concurrency import AsyncClock
from tests._async.clients import API_KEY, on_loopback
from tests.support.certificates import CERTIFIED, make_certificates
from tests.support.clock import AsyncFakeClock
from tests.support.optional import import_or_skip
from tests.support.proxies import SOCKS, TUNNEL
from tests.support.script import job
from tests.support.server import STALL, Action, LoopbackServer, Peer, Received, answer, answer_and_hang_up, decide
from tests.support.streams import JOB, frames, streams

MOST_POINTS = 400
"""A scenario that waits more often than this is stuck."""

PATIENCE_SECONDS = 240.0


class Points:
    """Drives a coroutine and counts where it waits.

    Args:
        cancel_at: the number of the point at which to cancel, from 1 on; None only counts.

    Attributes:
        passed: how many points were reached.
    """

    def __init__(self, cancel_at: int | None = None) -> None:
        self._cancel_at = cancel_at
        self.passed = 0

    @types.coroutine
    def drive(self, coroutine: Coroutine[Any, Any, object], scope: anyio.CancelScope) -> Generator[Any, Any, object]:
        """Run `coroutine`, cancelling `scope` at the point chosen: just before the event loop is given control."""
        step: Callable[[Any], Any] = coroutine.send
        value: Any = None
        while True:
            try:
                command = step(value)
            except StopIteration as stop:
                return stop.value
            self.passed += 1
            if self.passed == self._cancel_at:
                scope.cancel()
            try:
                value = yield command
                step = coroutine.send
            except BaseException as exc:
                value, step = exc, coroutine.throw


Act = Callable[[nodus.AsyncClient], Coroutine[Any, Any, object]]


async def cancelled_everywhere(client: nodus.AsyncClient, act: Act, *, before: Act | None = None) -> int:
    """Cancel an act at each of its points; after each, an ordinary call must work. Give the number of points."""
    point = 0
    while point < MOST_POINTS:
        point += 1
        if before is not None:
            await before(client)
        points = Points(cancel_at=point)
        with anyio.CancelScope() as scope:
            await points.drive(act(client), scope)
        with anyio.fail_after(PATIENCE_SECONDS):
            assert (await client.get("after")).id == "after"
        if points.passed < point:
            return points.passed
    raise AssertionError("it never ended")


def echo(request: Received) -> Action:
    """A job that runs, with the id that was asked for."""
    return answer(200, job("running", id=request.target.removesuffix("/cancel").rpartition("/")[2]))


async def test_on_a_connection_that_is_kept() -> None:
    """The connection is closed together with the response that nobody will read."""
    with LoopbackServer(then=decide(echo)) as server:
        async with on_loopback(server, max_connections=1) as client:
            points = await cancelled_everywhere(client, lambda client: client.get("a-job"))

    assert points >= 2


async def test_on_a_new_connection() -> None:
    """This includes the points at which it connects."""
    with LoopbackServer(then=answer_and_hang_up(200, job(id="after"))) as server:
        async with on_loopback(server, max_connections=1) as client:
            points = await cancelled_everywhere(client, lambda client: client.run(image="i"))

    assert points >= 3


async def test_on_a_new_encrypted_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This includes the points of the TLS handshake."""
    certificates = make_certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    hang_up = answer_and_hang_up(200, job(id="after"))
    with LoopbackServer(then=hang_up, tls=certificates.server) as server:
        async with on_loopback(server, max_connections=1) as client:
            points = await cancelled_everywhere(client, lambda client: client.get("a-job"))

    assert points >= 4


@pytest.mark.parametrize(
    ("scheme", "kind", "action"),
    [("https", "http", TUNNEL), ("http", "socks5", SOCKS), ("https", "socks5h", SOCKS)],
    ids=["tunnel", "socks", "socks, https"],
)
async def test_on_a_new_connection_through_a_proxy(
    scheme: str, kind: str, action: Action, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In CONNECT or its like, and in the handshake behind it; no socket stays open."""
    import_or_skip("socksio", "httpcore speaks to SOCKS proxies with it")
    certificates = make_certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    monkeypatch.setenv("NODUS_ALLOW_INSECURE", "1")
    hang_up = answer_and_hang_up(200, job(id="after"))
    tls = certificates.server if scheme == "https" else None
    with LoopbackServer(then=hang_up, tls=tls) as server, LoopbackServer(then=action) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"{kind}://127.0.0.1:{proxy.port}")
        url = f"{scheme}://{CERTIFIED}:{server.port}"
        async with nodus.AsyncClient(API_KEY, base_url=url, max_retries=0, max_connections=1, timeout=240) as client:
            points = await cancelled_everywhere(client, lambda client: client.get("a-job"))
        await anyio.to_thread.run_sync(proxy.wait_until_all_closed)

    assert points >= 4


async def test_between_two_attempts() -> None:
    """The call is cancelled while it sleeps before a retry."""
    requests = 0

    def flaky(request: Received) -> Action:
        nonlocal requests
        requests += 1
        return answer(503, None) if requests % 2 else echo(request)

    with LoopbackServer(then=decide(flaky)) as server:
        async with on_loopback(server, max_connections=1, timeout=1_000_000) as client:
            points = await cancelled_everywhere(client, lambda client: client.get("a-job"))

    assert points >= 4


async def test_between_two_looks_of_a_wait() -> None:
    """A cancelled wait does not cancel the remote job."""
    clock = AsyncFakeClock()

    async def wait_for_a_while(client: nodus.AsyncClient) -> None:
        with pytest.raises(nodus.JobTimeoutError):
            await client.job("a-job").wait(timeout_seconds=5)

    with LoopbackServer(then=decide(echo)) as server:
        async with on_loopback(server, clock, max_connections=1, timeout=1_000_000) as client:
            points = await cancelled_everywhere(client, wait_for_a_while)

    assert points >= 8
    assert {request.method for request in server.received} == {"GET"}


async def test_a_wait_that_takes_its_job_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is cancelled, it still asks the server to cancel the job."""
    # The few seconds that it takes for that at most are not enough for a busy machine.
    monkeypatch.setattr("nodus._async.polling.CANCEL_SECONDS", PATIENCE_SECONDS)
    cancelled: list[str] = []

    def note(request: Received) -> Action:
        if request.method == "POST":
            cancelled.append(request.target)
        return echo(request)

    async def wait(client: nodus.AsyncClient) -> None:
        await client.job(f"job-{len(waits)}").wait(timeout_seconds=3, cancel_on_exit=True)

    waits: list[int] = []
    with LoopbackServer(then=decide(note)) as server:
        async with on_loopback(server, AsyncFakeClock(), max_connections=1, timeout=1_000_000) as client:
            for point in range(1, 5):
                waits.append(point)
                with anyio.CancelScope() as scope:
                    await Points(cancel_at=point).drive(wait(client), scope)
                assert scope.cancelled_caught

    assert cancelled == [f"/v1/jobs/job-{number}/cancel" for number in range(1, 5)]


@contextmanager
def held() -> Iterator[tuple[Action, threading.Event]]:
    """An action that answers when it is let go, and what lets it go."""
    let_go = threading.Event()

    def perform(peer: Peer) -> bool:
        let_go.wait()
        return answer(200, job(id="held")).perform(peer)

    try:
        yield Action(perform), let_go
    finally:
        let_go.set()


async def test_in_the_queue_for_a_connection() -> None:
    """A task that leaves the queue takes no place with it, and the next in the queue is served."""
    ids: list[str] = []

    async def fetch(client: nodus.AsyncClient, job_id: str) -> None:
        ids.append((await client.get(job_id)).id)

    with held() as (hold, let_go), LoopbackServer(hold, then=decide(echo)) as server:
        async with on_loopback(server, max_connections=1, clock=AsyncClock()) as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(fetch, client, "held")
                await until(lambda: len(server.received) == 1)
                for _ in range(3):
                    points = Points(cancel_at=1)
                    with anyio.CancelScope() as scope:
                        await points.drive(client.get("never"), scope)
                    assert scope.cancelled_caught
                tasks.start_soon(fetch, client, "next")
                await anyio.lowlevel.checkpoint()
                let_go.set()
            await fetch(client, "last")

    assert sorted(ids) == ["held", "last", "next"]
    assert [request.target for request in server.received] == ["/v1/jobs/held", "/v1/jobs/next", "/v1/jobs/last"]


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until something has come true."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def test_while_a_stream_is_read() -> None:
    """It can be read on: no event is lost or repeated, and its place is free afterwards."""

    def serve(request: Received) -> Action:
        if not request.target.endswith("/events"):
            return echo(request)
        behind = int(request.header("last-event-id") or 0)
        return streams(frames(*range(behind + 1, min(behind + 3, 5))), ends=behind >= 2)

    async def follow(stream: nodus.AsyncEventStream, told: list[int]) -> None:
        async for event in stream:
            told.append(event.seq)

    with LoopbackServer(then=decide(serve)) as server:
        async with on_loopback(server, max_connections=2) as client:
            points = MOST_POINTS
            for point in range(1, MOST_POINTS):
                stream, told = client.job(JOB).events(), list[int]()
                counting = Points(cancel_at=point)
                with anyio.CancelScope() as scope:
                    await counting.drive(follow(stream, told), scope)
                with anyio.fail_after(PATIENCE_SECONDS):
                    await follow(stream, told)
                    assert (await client.get("after")).id == "after"
                assert told == [1, 2, 3, 4]
                if counting.passed < point:
                    points = counting.passed
                    break

            assert 4 <= points < MOST_POINTS
            assert client._session._pool._stack.streams.free == 1


async def test_while_closing() -> None:
    """The client is closed nevertheless, and no socket stays open."""
    with LoopbackServer(then=decide(echo)) as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        for point in range(1, 5):
            client = on_loopback(server)
            await client.get("a-job")
            with anyio.CancelScope() as scope:
                await Points(cancel_at=point).drive(client.aclose(), scope)
            with pytest.raises(nodus.ConfigurationError):
                await client.get("a-job")
            await client.aclose()
            del client
            gc.collect()


async def test_a_deadline_of_the_callers_own_is_kept() -> None:
    """A wait inside a timeout of the event loop ends with it, at once."""
    with LoopbackServer(then=STALL) as server:
        async with on_loopback(server, clock=AsyncClock()) as client:
            with pytest.raises(TimeoutError), anyio.fail_after(0.05):
                await client.job("a-job").wait()

    assert {request.method for request in server.received} <= {"GET"}


def test_the_counting_counts(anyio_backend: str) -> None:
    """Each turn of the event loop is one point at which a call can be cancelled."""

    async def three_turns() -> str:
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        return "done"

    async def main() -> tuple[object, int]:
        points = Points()
        result: Awaitable[object] = points.drive(three_turns(), anyio.CancelScope())
        return await result, points.passed

    result, passed = anyio.run(main, backend=anyio_backend)

    assert result == "done"
    assert passed >= 3
