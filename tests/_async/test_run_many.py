"""`client.run_many()`: what is sent, what is sent again, and what comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

import nodus
from nodus._httpx import httpx
from tests._async.clients import scripted
from tests.support.clock import AsyncFakeClock
from tests.support.script import AsyncScript, body_of, job, job_reply, refusal, reply

SPECS: list[Any] = [{"image": "ghcr.io/acme/eval:v2", "name": f"shard {number}"} for number in range(3)]


def accepting(request: httpx.Request) -> httpx.Response:
    """Accept every job of a batch under its own key as id."""
    jobs = json.loads(request.content)["jobs"]
    return reply(200, {"results": [{"job": {**job(), "id": each["idempotency_key"]}} for each in jobs]})


def keys_of(request: httpx.Request) -> list[str]:
    """The idempotency keys of a batch."""
    body: Any = body_of(request)
    return [each["idempotency_key"] for each in body["jobs"]]


def refused(status: int, **more: object) -> dict[str, object]:
    """A result of a job that was not accepted."""
    return {"status": status, "error": "some_code", "message": "It did not work.", **more}


async def test_handles_come_in_the_order_given() -> None:
    """From one request, in which each job has a key of its own."""
    script = AsyncScript(accepting)
    async with scripted(script) as client:
        jobs = await client.run_many([*SPECS, nodus.JobSpec(image="x", idempotency_key="mine")])
    request = script.requests[0]

    assert request.url.path == "/v1/jobs/batch"
    assert [each.id for each in jobs if isinstance(each, nodus.AsyncJob)] == keys_of(request)
    assert keys_of(request)[3] == "mine"
    assert len(set(keys_of(request))) == 4
    assert request.headers["idempotency-key"] not in keys_of(request)


async def test_nothing_is_sent_for_nothing() -> None:
    """No jobs, no request; and none for specs of which one is outside its limits."""
    script = AsyncScript()
    async with scripted(script) as client:
        assert await client.run_many([]) == []
        with pytest.raises(nodus.ValidationError, match=r"specs\[3\]"):
            await client.run_many([*SPECS, {"image": ""}])


async def test_the_same_bytes_are_sent_again_after_a_drop() -> None:
    """With the same keys: the server finds what it had accepted."""
    script = AsyncScript(httpx.ReadError("gone"), accepting)
    async with scripted(script) as client:
        jobs = await client.run_many(SPECS)
    first, second = script.requests

    assert all(isinstance(each, nodus.AsyncJob) for each in jobs)
    assert first.content == second.content
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


async def test_only_what_could_not_be_accepted_is_sent_again() -> None:
    """After as long as the server says; what is refused for good comes back as its error."""
    results = [refused(429, retry_after=7), refused(402), {"job": job(), "replayed": True}]
    clock = AsyncFakeClock()
    script = AsyncScript(reply(200, {"results": results}), job_reply())
    async with scripted(script, clock) as client:
        first, second, third = await client.run_many(SPECS)
        waited = clock.now()

    assert isinstance(first, nodus.AsyncJob)
    assert isinstance(second, nodus.BudgetExceededError)
    assert isinstance(third, nodus.AsyncJob)
    assert third.replayed
    assert waited >= 7.0
    assert script.requests[1].url.path == "/v1/jobs"
    assert script.requests[1].headers["idempotency-key"] == keys_of(script.requests[0])[0]


async def test_sending_again_ends_with_the_retries() -> None:
    """Then the last error of each is its outcome."""
    answer = {"results": [refused(503), refused(503), refused(503)]}
    script = AsyncScript(then=lambda _: reply(200, answer))
    async with scripted(script, max_retries=2) as client:
        outcomes = await client.run_many(SPECS)

    assert [each.status_code for each in outcomes if isinstance(each, nodus.NodusError)] == [503] * 3
    assert len(script.requests) == 3


async def test_an_older_server_gets_one_job_at_a_time() -> None:
    """With the same keys, and one that is refused stops no other."""
    script = AsyncScript(refusal(405), job_reply(), refusal(402), job_reply())
    async with scripted(script) as client:
        first, second, third = await client.run_many(SPECS)

    assert isinstance(first, nodus.AsyncJob)
    assert isinstance(second, nodus.BudgetExceededError)
    assert isinstance(third, nodus.AsyncJob)
    assert [each.headers["idempotency-key"] for each in script.requests[1:]] == keys_of(script.requests[0])


async def test_batches_are_as_large_as_the_burst() -> None:
    """The server says what that is."""
    too_large = reply(422, {"error": "batch_too_large", "message": "…", "burst": 2})
    script = AsyncScript(too_large, accepting, job_reply())
    async with scripted(script) as client:
        jobs = await client.run_many(SPECS)

    assert all(isinstance(each, nodus.AsyncJob) for each in jobs)
    assert [each.url.path for each in script.requests] == ["/v1/jobs/batch", "/v1/jobs/batch", "/v1/jobs"]


async def test_a_wrong_key_is_raised() -> None:
    """Nothing can have been accepted."""
    script = AsyncScript(refusal(401, "invalid_api_key"))
    async with scripted(script) as client:
        with pytest.raises(nodus.AuthenticationError):
            await client.run_many(SPECS)
