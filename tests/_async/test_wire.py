"""Over real sockets: what the bytes look like, which connections are kept, and that no server holds a call for ever."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

import nodus
from nodus._concurrency import AsyncClock
from tests._async.clients import API_KEY, SIGNING_SECRET, on_loopback
from tests.support import server as misdeeds
from tests.support.certificates import make_certificates
from tests.support.names import give_names
from tests.support.script import job
from tests.support.server import Action, LoopbackServer, answer, answer_and_hang_up, unused_port

LISTING: dict[str, object] = {"jobs": [], "next_cursor": None}


async def test_a_submission_on_the_wire() -> None:
    """One request, every header once, and the body that was signed."""
    with LoopbackServer(answer(202, job(), X_Request_Id="r-1")) as server:
        async with on_loopback(server, signing_secret=SIGNING_SECRET) as client:
            handle = await client.run(image="i", env={"NAME": "☃"}, idempotency_key="k")

    (request,) = server.received
    names = [name for name, _ in request.headers]

    assert handle.status == "queued"
    assert (request.method, request.target) == ("POST", "/v1/jobs")
    assert sorted(names) == [
        "accept",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "nodus-signature",
        "user-agent",
    ]
    assert request.header("Host") == f"127.0.0.1:{server.port}"
    assert request.header("Content-Length") == str(len(request.body))
    assert json.loads(request.body)["env"] == {"NAME": "☃"}


async def test_a_connection_is_used_again() -> None:
    """Ten calls one after another need one."""
    with LoopbackServer(then=answer(200, LISTING)) as server:
        async with on_loopback(server) as client:
            for _ in range(10):
                await client.list()

    assert len(server.received) == 10
    assert server.connections == 1


async def test_a_connection_that_was_closed_while_idle_is_replaced() -> None:
    """The request is sent again, a submission too, and that is no retry: the server has not seen it."""
    with LoopbackServer(then=answer_and_hang_up(200, job())) as server:
        async with on_loopback(server, max_retries=0) as client:
            for number in range(5):
                await client.run(image="i", idempotency_key=f"key-{number}")
                await client.get("a-job")

    keys = [request.header("Idempotency-Key") for request in server.received if request.method == "POST"]

    assert keys == [f"key-{number}" for number in range(5)]
    assert server.connections == 10
    assert all(request.header("X-Nodus-Retry-Count") is None for request in server.received)


@pytest.mark.parametrize("drop", [misdeeds.DROP_BEFORE_READING, misdeeds.DROP_AFTER_READING, misdeeds.HANG_UP])
async def test_a_drop_on_a_new_connection_is_a_failed_attempt(drop: Action) -> None:
    """Nobody can know whether the server had acted."""
    with LoopbackServer(drop) as server:
        async with on_loopback(server, max_retries=0) as client:
            with pytest.raises(nodus.APIConnectionError) as caught:
                await client.run(image="i")

    assert (caught.value.attempts, caught.value.outcome_unknown) == (1, True)
    assert server.connections == 1


async def test_a_connection_that_is_refused_leaves_nothing_unknown() -> None:
    """It is tried again, and no byte was sent."""
    with unused_port() as port:
        async with nodus.AsyncClient(
            API_KEY, base_url=f"http://127.0.0.1:{port}", max_retries=1, _rng=random.Random(1)
        ).with_options() as client:
            client._session.clock.sleep = no_sleep  # type: ignore[method-assign]
            with pytest.raises(nodus.APIConnectionError) as caught:
                await client.run(image="i")

    assert (caught.value.code, caught.value.attempts, caught.value.outcome_unknown) == ("connection_error", 2, False)


async def no_sleep(seconds: float) -> None:
    """Let no time pass."""


async def test_a_name_that_cannot_be_resolved_is_a_failed_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """`.invalid` never exists (RFC 2606); real DNS may take its time to say so."""
    give_names(monkeypatch)
    async with nodus.AsyncClient(API_KEY, base_url="https://api.nodus.invalid", max_retries=0) as client:
        with pytest.raises(nodus.APIConnectionError) as caught:
            await client.get("a-job")

    assert caught.value.outcome_unknown is False
    assert caught.value.__cause__ is not None


BROKEN = {
    "garbage": misdeeds.GARBAGE,
    "truncated headers": misdeeds.TRUNCATED_HEADERS,
    "truncated body": misdeeds.TRUNCATED_BODY,
    "truncated chunks": misdeeds.TRUNCATED_CHUNKS,
    "bad chunks": misdeeds.BAD_CHUNKS,
}


@pytest.mark.parametrize("name", BROKEN)
async def test_an_answer_that_is_broken_is_a_failed_attempt(name: str) -> None:
    """It is tried again on another connection, and the next answer counts."""
    with LoopbackServer(BROKEN[name], answer(200, job("running"))) as server:
        async with on_loopback(server) as client:
            handle = await client.get("a-job")

    assert handle.status == "running"
    assert server.connections == 2
    assert server.received[1].header("X-Nodus-Retry-Count") == "1"


ENDLESS = {
    "says nothing": misdeeds.STALL,
    "says nothing more": misdeeds.STALLED_BODY,
    "drips its headers": misdeeds.DRIPPED_HEADERS,
    "drips its body": misdeeds.DRIPPED_BODY,
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_an_attempt_ends_with_its_timeout(name: str) -> None:
    """A byte now and then does not keep it alive."""
    with LoopbackServer(answer(200, job()), then=ENDLESS[name]) as server:
        async with on_loopback(server, timeout=0.2, max_retries=0, clock=AsyncClock()) as client:
            # So that the time is not over, on a busy machine, before anything was sent.
            await client.with_options(timeout=120.0).get("a-job")
            with pytest.raises(nodus.APITimeoutError) as caught:
                await client.run(image="i")

    assert (caught.value.code, caught.value.outcome_unknown) == ("timeout", True)
    # How an event loop came to stop is no news: which scope it cancelled, and where in memory that is.
    assert caught.value.message.startswith("POST /v1/jobs timed out: ")
    assert "cancel" not in caught.value.message.lower()


async def test_a_total_timeout_ends_a_call_that_drips() -> None:
    """Whatever is left of it clips the attempt."""
    with LoopbackServer(then=misdeeds.DRIPPED_BODY) as server:
        async with on_loopback(server, total_timeout=0.2, clock=AsyncClock()) as client:
            with pytest.raises(nodus.APITimeoutError):
                await client.get("a-job")


async def test_a_large_answer_is_read_whole() -> None:
    """In as many pieces as it comes."""
    jobs = [job(id=str(number), error_message="x" * 1000) for number in range(1000)]
    with LoopbackServer(answer(200, {"jobs": jobs, "next_cursor": None})) as server:
        async with on_loopback(server) as client:
            listed = await client.list(limit=1000)

    assert [handle.id for handle in listed] == [str(number) for number in range(1000)]


async def test_a_certificate_nobody_vouches_for_is_refused_at_once(tmp_path: Any) -> None:
    """It is no transient failure, and nothing was sent."""
    certificates = make_certificates(tmp_path)
    with LoopbackServer(then=answer(200, LISTING), tls=certificates.server) as server:
        async with on_loopback(server) as client:
            with pytest.raises(nodus.APIConnectionError) as caught:
                await client.list()

    assert (caught.value.attempts, caught.value.outcome_unknown) == (1, False)
    assert "certificate" in caught.value.message.lower()
    assert server.received == []


async def test_a_certificate_can_be_vouched_for_in_the_environment(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`SSL_CERT_FILE` works as in httpx."""
    certificates = make_certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    with LoopbackServer(then=answer(200, LISTING), tls=certificates.server) as server:
        async with on_loopback(server) as client:
            jobs = await client.list()

    assert jobs == []
    assert server.received[0].header("Authorization") == f"Bearer {API_KEY}"
