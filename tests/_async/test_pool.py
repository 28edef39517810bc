"""The pool: which connection a request gets, when it goes back, and what a bad one costs."""

from __future__ import annotations

import gc
import gzip
import ssl
from pathlib import Path

import pytest

from nodus import APIConnectionError, APITimeoutError, AsyncClient, ConfigurationError, RetryEvent
from nodus._async.pool import AsyncPool
from nodus._concurrency import AsyncClock
from nodus._httpx import httpcore, httpx
from nodus._requests import Request, address_of
from tests.support.busy_server import BusyServer
from tests.support.certificates import Certificates, make_certificates
from tests.support.clock import AsyncFakeClock
from tests.support.server import (
    DRIPPED_BODY,
    DRIPPED_HEADERS,
    HANG_UP,
    STALL,
    STALLED_BODY,
    Action,
    LoopbackServer,
    answer,
    answer_and_hang_up,
    decide,
    sends,
)

API_KEY = "nk_test_7Z4dMfQ3"
JOB = {"id": "job-1", "status": "running"}
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SOON = 0.2
"""Seconds that a call may take that never gets its answer."""


@pytest.fixture
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    """A server certificate that clients trust."""
    made = make_certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    return made


def pool_of(connections: int, clock: AsyncClock | None = None) -> AsyncPool:
    return AsyncPool(max_connections=connections, clock=AsyncClock() if clock is None else clock)


def client_of(server: LoopbackServer, *, timeout: float = 120.0, max_retries: int = 0) -> AsyncClient:
    return AsyncClient(API_KEY, base_url=server.url, timeout=timeout, max_retries=max_retries)


def request(
    server: LoopbackServer, path: str = "/", *, repeatable: bool = True, deadline: float | None = None
) -> Request:
    url = httpx.URL(server.url + path)
    headers = [(b"Host", url.netloc)]
    return Request("GET", url, address_of(url), headers, repeatable=repeatable, deadline=deadline)


def endless_for(job_id: str, action: Action) -> Action:
    """Do this about every request for one job, and answer any other.

    By what is asked, not in turn: on a busy machine a request that was given up may be read after the next.
    """
    return decide(lambda received: action if received.target.endswith(job_id) else answer(200, JOB))


async def test_one_connection_serves_one_request_after_the_other() -> None:
    with LoopbackServer(then=answer(200, JOB)) as server:
        async with client_of(server) as client:
            for _ in range(5):
                await client.get("job-1")

        assert [received.connection for received in server.received] == [1] * 5


async def test_the_connection_used_last_is_used_next() -> None:
    """So that those not needed any more grow old, and go."""
    with LoopbackServer(then=answer(200, JOB)) as server, LoopbackServer(then=answer(200, JOB)) as other:
        pool = pool_of(3)
        first = await pool.open(request(server))
        second = await pool.open(request(server))
        third = await pool.open(request(other))
        for response in (first, second, third):
            assert b"".join([chunk async for chunk in response.stream])
            await response.aclose()
        await pool.fetch(request(server))
        await pool.aclose()

        assert [received.connection for received in server.received] == [1, 2, 2]


async def test_the_body_is_read_before_the_connection_goes_back() -> None:
    """Two answers in pieces, over the same connection, each whole."""
    pieces = sends(CHUNKED + b'a\r\n{"id":"a",\r\n13\r\n"status":"running"}\r\n0\r\n\r\n', keep_alive=True)
    with LoopbackServer(pieces, then=answer(200, JOB)) as server:
        async with client_of(server) as client:
            assert (await client.get("a")).id == "a"
            assert (await client.get("job-1")).id == "job-1"

        assert server.connections == 1


async def test_a_streamed_answer_holds_its_place_until_closed() -> None:
    with LoopbackServer(sends(CHUNKED + b"3\r\nabc\r\n"), then=answer(200, JOB)) as server:
        pool = pool_of(1)
        response = await pool.open(request(server))
        waiting = request(server, deadline=AsyncClock().now() + SOON)
        with pytest.raises(APITimeoutError, match="stayed busy"):
            await pool.fetch(waiting)
        await response.aclose()
        answered = await pool.fetch(request(server))
        await pool.aclose()

        assert answered.status == 200


async def test_a_stream_that_is_closed_early_costs_its_connection_only() -> None:
    """Nothing of it is left running: a generator left hanging would be a ResourceWarning on trio."""
    endless = Action(lambda peer: peer.socket.sendall(CHUNKED + b"3\r\nabc\r\n") is not None or peer.closing.wait())
    with LoopbackServer(endless, then=answer(200, JOB)) as server:
        pool = pool_of(1)
        response = await pool.open(request(server))
        async for chunk in response.stream:
            assert chunk == b"abc"
            break
        await response.aclose()
        del response
        gc.collect()
        await pool.fetch(request(server))
        await pool.aclose()

        assert [received.connection for received in server.received] == [1, 2]


async def test_a_stream_closed_early_keeps_its_connection_if_the_rest_was_there() -> None:
    with LoopbackServer(
        sends(CHUNKED + b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", keep_alive=True), then=answer()
    ) as server:
        pool = pool_of(1)
        response = await pool.open(request(server))
        async for chunk in response.stream:
            assert chunk == b"abc"
            break
        await response.aclose()
        await pool.fetch(request(server))
        await pool.aclose()

        assert server.connections == 1


async def test_a_connection_closed_while_idle_is_replaced_at_once() -> None:
    """The server may do that at any time; it is no failed attempt, and no retry."""
    retries: list[RetryEvent] = []
    with LoopbackServer(answer_and_hang_up(200, JOB), then=answer(200, JOB)) as server:
        async with AsyncClient(
            API_KEY, base_url=server.url, timeout=120, on_retry=retries.append, max_retries=0
        ) as client:
            await client.get("job-1")
            await client.get("job-1")

        assert server.connections == 2
        assert retries == []


async def test_a_request_that_meets_a_closing_connection_is_sent_again_at_once() -> None:
    """The server closed as the request was on its way: it reads as an answer that never began."""
    retries: list[RetryEvent] = []
    with LoopbackServer(answer(200, JOB), HANG_UP, then=answer(200, JOB)) as server:
        async with AsyncClient(
            API_KEY, base_url=server.url, timeout=120, on_retry=retries.append, max_retries=0
        ) as client:
            await client.get("job-1")
            await client.get("job-1")

        assert [received.connection for received in server.received] == [1, 1, 2]
        assert {received.header("x-nodus-retry-count") for received in server.received} == {None}
        assert retries == []


async def test_a_request_that_may_not_be_repeated_is_not_sent_again() -> None:
    with LoopbackServer(answer(200, JOB), HANG_UP, then=answer(200, JOB)) as server:
        pool = pool_of(1)
        await pool.fetch(request(server))
        with pytest.raises(httpcore.RemoteProtocolError):
            await pool.fetch(request(server, repeatable=False))
        await pool.aclose()

        assert len(server.received) == 2


async def test_an_answer_that_had_begun_is_not_asked_for_again() -> None:
    with LoopbackServer(answer(200, JOB), sends(b"HTTP/1.1 200"), then=answer(200, JOB)) as server:
        async with client_of(server) as client:
            await client.get("job-1")
            with pytest.raises(APIConnectionError):
                await client.get("job-1")

        assert len(server.received) == 2


async def test_a_new_connection_that_is_dropped_is_not_tried_again() -> None:
    """That is a failure of the attempt, for the retries to decide about."""
    with LoopbackServer(HANG_UP, then=answer(200, JOB)) as server:
        async with client_of(server) as client:
            with pytest.raises(APIConnectionError):
                await client.get("job-1")

        assert len(server.received) == 1


async def test_bytes_after_an_answer_never_begin_the_next_one() -> None:
    """Another job's answer, sent unasked, must not be taken for the answer to what is asked next."""
    smuggled = b'HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n{"id": "evil", "status": "failed"}\n'
    first = b'HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n{"id": "job-1", "status": "queued"}'
    with LoopbackServer(sends(first + smuggled, keep_alive=True), then=answer(200, JOB)) as server:
        pool = pool_of(1)
        await pool.fetch(request(server))
        second = await pool.fetch(request(server))
        await pool.aclose()

        assert b"evil" not in second.content
        assert server.connections == 2


async def test_several_servers_share_the_limit() -> None:
    """At the limit, the connection that was idle longest makes room."""
    with (
        LoopbackServer(then=answer()) as one,
        LoopbackServer(then=answer()) as two,
        LoopbackServer(then=answer()) as three,
    ):
        pool = pool_of(2)
        for server in (one, two, one, three, one, two):
            await pool.fetch(request(server))
            assert pool._stack.connections <= 2
        await pool.aclose()

        assert [server.connections for server in (one, two, three)] == [1, 2, 1]


async def test_connections_that_were_idle_for_long_are_closed_when_another_comes_back() -> None:
    clock = AsyncFakeClock()
    with LoopbackServer(then=answer()) as server:
        pool = pool_of(3, clock)
        responses = [await pool.open(request(server)) for _ in range(3)]
        for response in responses:
            await response.aclose()
        held = pool._stack.connections
        clock.advance(31.0)
        await pool.fetch(request(server))

        assert held == 3
        assert pool._stack.connections == 1
        await pool.aclose()


async def test_a_packed_answer_is_unpacked() -> None:
    packed = gzip.compress(b'{"id":"job-1","status":"running"}')
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    with LoopbackServer(sends(head + packed)) as server:
        async with client_of(server) as client:
            assert (await client.get("job-1")).id == "job-1"


@pytest.mark.parametrize(
    "action",
    [STALL, STALLED_BODY, DRIPPED_HEADERS, DRIPPED_BODY],
    ids=["no answer", "half a body", "headers by the byte", "body by the byte"],
)
async def test_an_answer_that_does_not_end_ends_with_the_attempt(action: Action) -> None:
    """However slowly it comes: the timeout bounds the attempt, not the wait for each byte."""
    with LoopbackServer(then=endless_for("endless", action)) as server:
        async with client_of(server, timeout=SOON) as client:
            patient = client.with_options(timeout=120)
            # So that the time is not over, on a busy machine, before anything was sent.
            await patient.get("job-1")
            with pytest.raises(APITimeoutError) as caught:
                await client.get("endless")
            assert (await patient.get("job-1")).id == "job-1"

        assert caught.value.outcome_unknown


async def test_a_stalled_tls_handshake_ends_with_the_attempt() -> None:
    with LoopbackServer(Action(STALL.perform, reads=False)) as server:
        url = server.url.replace("http:", "https:")
        async with AsyncClient(API_KEY, base_url=url, timeout=SOON, max_retries=0) as client:
            with pytest.raises(APITimeoutError):
                await client.get("job-1")


async def test_nothing_is_sent_once_the_time_is_over() -> None:
    with LoopbackServer(then=answer()) as server:
        pool = pool_of(1)
        await pool.fetch(request(server))
        late = request(server, deadline=AsyncClock().now() - 1)
        with pytest.raises(httpcore.TimeoutException):
            await pool.fetch(late)
        await pool.aclose()

        assert len(server.received) == 1


async def test_https_works_and_keeps_its_connection(certificates: Certificates) -> None:
    with LoopbackServer(then=answer(200, JOB), tls=certificates.server) as server:
        async with client_of(server) as client:
            await client.get("job-1")
            await client.get("job-1")

        assert server.connections == 1


async def test_a_certificate_that_nobody_vouches_for_is_refused_without_a_retry(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with LoopbackServer(then=answer(200, JOB), tls=certificates.server) as server:
        async with client_of(server, max_retries=2) as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.get("job-1")

        assert caught.value.attempts == 1
        cause = caught.value.__cause__
        while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
            cause = cause.__cause__ or cause.__context__
        assert cause is not None


async def test_what_others_put_around_httpx_transports_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracers and mocks replace the method of the transport's class: every request must go through it."""
    seen: list[httpx.Request] = []

    async def record(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=JOB, headers={"x-request-id": "req_1"})

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", record)
    async with AsyncClient(API_KEY, base_url="https://api.nodus.test") as client:
        job = await client.get("job-1")

    assert job.id == "job-1"
    assert [str(request.url) for request in seen] == ["https://api.nodus.test/v1/jobs/job-1"]
    assert seen[0].headers["authorization"] == f"Bearer {API_KEY}"


@pytest.mark.parametrize(
    ("owner", "method"),
    [(httpx.AsyncHTTPTransport, "handle_async_request"), (httpcore.AsyncConnectionPool, "handle_async_request")],
    ids=["httpx", "httpcore"],
)
async def test_what_is_put_around_httpx_between_two_calls_sees_the_second_and_costs_nothing(
    owner: type, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tracer passes requests on: connections are reused, deadlines hold, and what follows a response is dropped."""
    seen: list[str] = []
    original = getattr(owner, method)

    async def trace(self: object, request: object) -> object:
        seen.append(type(self).__name__)
        return await original(self, request)

    followed = b'HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n{"id": "job-1", "status": "queued"}HTTP/1.1 200 OK\r\n'
    script = [answer(200, JOB)] * 3 + [sends(followed, keep_alive=True)]
    with LoopbackServer(*script, then=endless_for("endless", DRIPPED_BODY)) as server:
        async with client_of(server, timeout=SOON) as client:
            patient = client.with_options(timeout=120)
            await patient.get("job-1")
            monkeypatch.setattr(owner, method, trace)
            for _ in range(4):
                await patient.get("job-1")
            with pytest.raises(APITimeoutError):
                await client.get("endless")
            monkeypatch.undo()
            assert (await patient.get("job-1")).id == "job-1"

        # The second connection is the tracer's first; then one bytes too many, and the one that never ends: its time
        # may be over before the request is on its way, or before the server has read it.
        ended = [received for received in server.received if not received.target.endswith("endless")]
        assert [received.connection for received in ended] == [1, 2, 2, 2, 3, 4]
        assert len(seen) == 5


async def test_closing_the_pool_closes_idle_connections_and_busy_ones_as_they_come_back() -> None:
    with LoopbackServer(then=answer(200, JOB)) as server:
        pool = pool_of(2)
        busy = await pool.open(request(server))
        await pool.fetch(request(server))
        await pool.aclose()
        held = pool._stack.connections
        await busy.aclose()

        assert (held, pool._stack.connections) == (1, 0)
        with pytest.raises(ConfigurationError, match="closed"):
            await pool.fetch(request(server))


async def test_a_whole_page_of_calls_opens_one_connection() -> None:
    """One task at a time needs one, whatever the limit."""
    with BusyServer() as server:
        async with AsyncClient(API_KEY, base_url=server.url, timeout=120) as client:
            for _ in range(100):
                await client.get("job-1")

        assert server.opened == 1
