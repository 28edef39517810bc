"""Waiting for a job: when it is looked at, what the wait survives, and what ends it."""

from __future__ import annotations

import copy
import pickle
import ssl
from collections.abc import Callable
from typing import Any

import pytest

import nodus
from nodus._httpx import httpx
from tests._async.clients import scripted
from tests.support.clock import AsyncFakeClock
from tests.support.script import AsyncScript, body_of, job, job_reply, raw_reply, refusal, reply

HOUR = 3600.0


class Watched:
    """A server whose answers depend on the time; it writes down when it was asked.

    Args:
        clock: the time.
        state: gives the answer for a moment.
    """

    def __init__(self, clock: AsyncFakeClock, state: Callable[[float], httpx.Response]) -> None:
        self._clock = clock
        self._state = state
        self.looks: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return job_reply("queued")
        self.looks.append(self._clock.seconds)
        return self._state(self._clock.seconds)


def running_until(end: float) -> Callable[[float], httpx.Response]:
    """A job that completes at a moment."""
    return lambda now: job_reply("running") if now < end else job_reply("completed", cost_usd=1.0)


async def test_the_first_look_is_immediate() -> None:
    """A job that is over already costs no time."""
    clock = AsyncFakeClock()
    script = AsyncScript(reply(202, job()), job_reply("completed", cost_usd=47.62))
    async with scripted(script, clock) as client:
        handle = await client.run(image="i")
        answer = await handle.wait()

    assert answer is handle
    assert (handle.status, handle.cost_usd, handle.succeeded) == (nodus.JobStatus.COMPLETED, 47.62, True)
    assert clock.slept == []


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_each_terminal_state_ends_the_wait(status: str) -> None:
    """Failure too: it is an outcome of the job, not of the wait."""
    clock = AsyncFakeClock()
    script = AsyncScript(job_reply("queued"), job_reply("placed"), job_reply("running"), job_reply(status))
    async with scripted(script, clock) as client:
        handle = await client.get("a-job")
        await handle.wait()

    assert handle.status == status
    assert handle.is_terminal
    assert handle.succeeded is (status == "completed")
    assert len(clock.slept) == 2


async def test_a_job_that_is_known_to_be_over_is_not_asked_for() -> None:
    """Terminal is terminal."""
    script = AsyncScript(job_reply("failed"))
    async with scripted(script) as client:
        handle = await client.get("a-job")
        await handle.wait()

    assert len(script.requests) == 1


async def test_a_status_of_the_future_is_terminal_once_it_has_an_end() -> None:
    """A newer server may know more ways to end."""
    script = AsyncScript(
        job_reply("queued"), job_reply("archived"), job_reply("archived", finished_at="2026-01-01T00:00:00Z")
    )
    async with scripted(script) as client:
        handle = await client.get("a-job")
        await handle.wait()

    assert handle.status == "archived"
    assert (handle.is_terminal, handle.succeeded) == (True, False)


@pytest.mark.parametrize(("options", "base"), [({}, 2.0), ({"poll_seconds": 0.5}, 0.5), ({"poll_seconds": 60}, 60.0)])
async def test_looks_are_poll_seconds_apart_give_or_take_a_tenth(options: dict[str, Any], base: float) -> None:
    """Two seconds unless told otherwise."""
    clock = AsyncFakeClock()
    server = Watched(clock, running_until(50 * base))
    async with scripted(AsyncScript(then=server), clock) as client:
        await client.job("a-job").wait(**options)

    assert all(0.9 * base <= slept <= 1.1 * base for slept in clock.slept)
    assert len(set(clock.slept)) == len(clock.slept) > 40


@pytest.mark.parametrize("timeout", [0, 1, 5, 10.0, 61.7])
async def test_the_last_look_is_taken_at_the_deadline(timeout: float) -> None:
    """Then the wait ends, and says where the job stood; the job goes on."""
    clock = AsyncFakeClock()
    server = Watched(clock, running_until(1e9))
    script = AsyncScript(then=server)
    async with scripted(script, clock) as client:
        handle = client.job("a-job")
        with pytest.raises(TimeoutError) as caught:
            await handle.wait(timeout_seconds=timeout)

    assert isinstance(caught.value, nodus.JobTimeoutError)
    assert (caught.value.code, caught.value.job) == ("wait_timeout", handle)
    assert "running" in caught.value.message
    assert server.looks[0] == 0.0
    assert server.looks[-1] == pytest.approx(timeout)
    assert clock.seconds == pytest.approx(timeout)
    assert {request.method for request in script.requests} == {"GET"}


async def test_a_timeout_of_zero_looks_once() -> None:
    """Which is how to ask whether a job is over."""
    clock = AsyncFakeClock()
    script = AsyncScript(job_reply("running"), job_reply("completed"))
    async with scripted(script, clock) as client:
        handle = client.job("a-job")
        with pytest.raises(nodus.JobTimeoutError):
            await handle.wait(timeout_seconds=0)
        await handle.wait(timeout_seconds=0)

    assert (handle.succeeded, clock.slept, script.unused) == (True, [], 0)


async def test_a_job_that_ends_by_the_last_look_is_no_timeout() -> None:
    """That is what it is for."""
    clock = AsyncFakeClock()
    async with scripted(AsyncScript(then=Watched(clock, running_until(9.999))), clock) as client:
        handle = await client.job("a-job").wait(timeout_seconds=10)

    assert handle.succeeded


async def test_a_look_is_one_attempt_and_the_last_takes_five_seconds_at_most() -> None:
    """Whatever hangs, a wait ends."""
    clock = AsyncFakeClock()

    def hang(request: httpx.Request) -> httpx.Response:
        clock.advance(request.extensions["timeout"]["read"])
        raise httpx.ReadTimeout("no answer")

    script = AsyncScript(then=hang)
    async with scripted(script, clock, max_retries=5) as client:
        with pytest.raises(nodus.JobTimeoutError):
            await client.job("a-job").wait(timeout_seconds=40)

    assert clock.seconds <= 45 + 1e-9
    assert all("X-Nodus-Retry-Count" not in request.headers for request in script.requests)


FAILURES = [
    refusal(500),
    refusal(502),
    refusal(503, "no_supplier"),
    refusal(408),
    refusal(429),
    raw_reply(504, b"<html>"),
    httpx.ConnectError("refused"),
    httpx.ReadError("reset"),
    httpx.ReadTimeout("slow"),
    httpx.RemoteProtocolError("closed"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=range(len(FAILURES)))
async def test_what_may_pass_does_not_end_the_wait(failure: Any) -> None:
    """However many retries a call has; the looks become rarer until it has passed."""
    clock = AsyncFakeClock()
    script = AsyncScript(*[failure] * 6, job_reply("running"), job_reply("completed"))
    async with scripted(script, clock, max_retries=0) as client:
        handle = await client.job("a-job").wait()

    expected = [2, 4, 8, 16, 30, 30, 2]

    assert handle.succeeded
    assert clock.slept == [pytest.approx(seconds, rel=0.1) for seconds in expected]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (refusal(401, "invalid_api_key"), nodus.AuthenticationError),
        (refusal(401, "signature_stale"), nodus.SignatureError),
        (refusal(403, "forbidden"), nodus.AuthenticationError),
        (refusal(404, "job_not_found"), nodus.NotFoundError),
        (refusal(400, "bad"), nodus.ValidationError),
        (refusal(410, "gone"), nodus.APIError),
        (refusal(302), nodus.APIError),
        (raw_reply(200, b"<html>"), nodus.APIError),
        (ssl.SSLCertVerificationError("self-signed certificate"), nodus.APIConnectionError),
    ],
)
async def test_what_will_not_pass_ends_the_wait_at_once(failure: Any, kind: type[nodus.NodusError]) -> None:
    """There is nothing to wait for."""
    clock = AsyncFakeClock()
    script = AsyncScript(job_reply("running"), failure)
    async with scripted(script, clock) as client:
        with pytest.raises(nodus.NodusError) as caught:
            await client.job("a-job").wait(timeout_seconds=100)

    assert type(caught.value) is kind
    assert caught.value.attempts == 1
    assert len(clock.slept) == 1


@pytest.mark.parametrize("hint", [0.0, 0.5, 7.0, 90.0, 300.0])
async def test_a_hint_of_the_server_wins_over_the_interval(hint: float) -> None:
    """Whether it is shorter or longer."""
    clock = AsyncFakeClock()
    script = AsyncScript(refusal(429, retry_after=str(hint)), job_reply("completed"))
    async with scripted(script, clock) as client:
        await client.job("a-job").wait()

    assert clock.slept == [hint]


async def test_a_hint_past_the_deadline_leaves_the_last_look_where_it_is() -> None:
    """The caller's limit is the caller's."""
    clock = AsyncFakeClock()
    script = AsyncScript(then=refusal(429, retry_after="3600"))
    async with scripted(script, clock) as client:
        with pytest.raises(nodus.JobTimeoutError):
            await client.job("a-job").wait(timeout_seconds=10)

    assert clock.slept == [10.0]
    assert len(script.requests) == 2


async def test_a_job_just_submitted_may_read_as_absent_for_five_seconds() -> None:
    """The answer may come from a replica that lags behind."""
    clock = AsyncFakeClock()
    server = Watched(clock, lambda now: refusal(404, "job_not_found") if now < 4 else job_reply("completed"))
    async with scripted(AsyncScript(then=server), clock) as client:
        handle = await client.run(image="i")
        await handle.wait()

    assert handle.succeeded
    assert len(server.looks) > 1


async def test_a_job_that_stays_absent_ends_the_wait() -> None:
    """After the five seconds, and not much later."""
    clock = AsyncFakeClock()
    async with scripted(AsyncScript(then=Watched(clock, lambda now: refusal(404, "job_not_found"))), clock) as client:
        handle = await client.run(image="i")
        with pytest.raises(nodus.NotFoundError):
            await handle.wait()

    assert 5 < clock.seconds < 5 + 2.2


async def test_fifteen_minutes_of_nothing_but_failures_end_an_endless_wait() -> None:
    """With the last of them; one good answer would have started the count again."""
    clock = AsyncFakeClock()

    def answer(now: float) -> httpx.Response:
        if 100 <= now < 900 or now >= 1000:
            raise httpx.ConnectError("refused")
        return job_reply("running")

    server = Watched(clock, answer)
    async with scripted(AsyncScript(then=server), clock) as client:
        with pytest.raises(nodus.APIConnectionError) as caught:
            await client.job("a-job").wait()

    assert caught.value.code == "connection_error"
    assert 1900 <= clock.seconds < 1933


async def test_how_long_failures_are_put_up_with_can_be_chosen() -> None:
    """In seconds; zero means not at all."""
    clock = AsyncFakeClock()
    script = AsyncScript(then=refusal(500))
    async with scripted(script, clock) as client:
        with pytest.raises(nodus.APIError):
            await client.job("a-job").wait(unreachable_seconds=0)
        with pytest.raises(nodus.APIError):
            await client.job("a-job").wait(unreachable_seconds=60)

    assert clock.seconds == pytest.approx(60)


async def test_with_a_timeout_only_the_timeout_ends_the_wait() -> None:
    """Though nothing was to be seen of the job all that time."""
    clock = AsyncFakeClock()
    async with scripted(AsyncScript(then=refusal(500)), clock) as client:
        with pytest.raises(nodus.JobTimeoutError) as caught:
            await client.job("a-job").wait(timeout_seconds=7200)

    assert clock.seconds == pytest.approx(7200)
    assert isinstance(caught.value.__cause__, nodus.APIError)
    assert str(caught.value.__cause__) in caught.value.message


async def test_every_change_is_told_once() -> None:
    """To the callback, with the handle as it now is."""
    seen: list[tuple[str, str | None]] = []
    script = AsyncScript(
        reply(202, job("queued")),
        job_reply("queued"),
        job_reply("running", supplier="lambda"),
        refusal(500),
        job_reply("running", supplier="lambda"),
        job_reply("running", supplier="crusoe"),
        job_reply("completed", supplier="crusoe"),
    )
    async with scripted(script) as client:
        handle = await client.run(image="i")
        await handle.wait(on_update=lambda one: seen.append((one.status.value, one.supplier)))

    assert seen == [("running", "lambda"), ("running", "crusoe"), ("completed", "crusoe")]


async def test_what_the_callback_raises_ends_the_wait() -> None:
    """It is the caller's own."""

    def stop(one: nodus.AsyncJob) -> None:
        raise LookupError("enough")

    async with scripted(AsyncScript(then=job_reply("running"))) as client:
        with pytest.raises(LookupError, match="enough"):
            await client.job("a-job").wait(on_update=stop)


async def test_leaving_a_wait_leaves_the_job_alone() -> None:
    """Neither a timeout nor a failure cancels anything."""
    for ending in (refusal(401), job_reply("running")):
        script = AsyncScript(then=ending)
        async with scripted(script) as client:
            with pytest.raises(nodus.NodusError):
                await client.job("a-job").wait(timeout_seconds=0)

        assert [request.method for request in script.requests] == ["GET"]


@pytest.mark.parametrize("answer", [job_reply("cancelled"), refusal(500), httpx.ReadError("reset")], ids=range(3))
async def test_a_wait_can_be_told_to_take_the_job_with_it(answer: Any) -> None:
    """It asks once, for five seconds at most, and raises what it would have raised."""
    script = AsyncScript(job_reply("running"), answer)
    async with scripted(script) as client:
        with pytest.raises(nodus.JobTimeoutError):
            await client.job("a-job").wait(timeout_seconds=0, cancel_on_exit=True)

    request = script.requests[1]

    assert request.method == "POST"
    assert request.url.raw_path.endswith(b"/cancel")
    assert request.extensions["timeout"]["read"] == pytest.approx(5.0)
    assert len(script.requests) == 2


async def test_a_job_that_ended_is_not_cancelled() -> None:
    """There is nothing to cancel."""
    script = AsyncScript(job_reply("completed"))
    async with scripted(script) as client:
        await client.job("a-job").wait(cancel_on_exit=True)

    assert len(script.requests) == 1


async def test_a_wait_on_a_closed_client_says_so() -> None:
    """Even where it was told to cancel the job, which cannot be done either."""
    async with scripted(AsyncScript()) as client:
        handle = client.job("a-job")

    with pytest.raises(nodus.ConfigurationError) as caught:
        await handle.wait(cancel_on_exit=True)

    assert caught.value.code == "client_closed"


@pytest.mark.parametrize(
    "options",
    [
        {"poll_seconds": 0},
        {"poll_seconds": -1},
        {"poll_seconds": float("nan")},
        {"poll_seconds": float("inf")},
        {"poll_seconds": 1e300},
        {"poll_seconds": "2"},
        {"poll_seconds": None},
        {"poll_seconds": True},
        {"timeout_seconds": -1},
        {"timeout_seconds": float("nan")},
        {"timeout_seconds": float("inf")},
        {"timeout_seconds": 10**400},
        {"timeout_seconds": "60"},
        {"unreachable_seconds": -1},
        {"unreachable_seconds": None},
    ],
    ids=str,
)
async def test_times_that_make_no_sense_are_refused_before_sending(options: dict[str, Any]) -> None:
    """With the name of the argument."""
    script = AsyncScript()
    async with scripted(script) as client:
        with pytest.raises(nodus.ValidationError, match=next(iter(options))) as caught:
            await client.job("a-job").wait(**options)

    assert caught.value.code == "invalid_argument"
    assert script.requests == []


@pytest.mark.parametrize("again", [copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
async def test_the_error_of_a_wait_can_travel(again: Callable[[Any], Any]) -> None:
    """It then has the last snapshot in place of the handle."""
    async with scripted(AsyncScript(then=job_reply("running", supplier="lambda"))) as client:
        handle = client.job("a-job")
        with pytest.raises(nodus.JobTimeoutError) as caught:
            await handle.wait(timeout_seconds=0)
        twin = again(caught.value)

    assert twin.job == handle.view
    assert twin.job.supplier == "lambda"
    assert str(twin) == str(caught.value)


async def test_a_wait_of_twenty_hours_survives_a_bad_day() -> None:
    """Five minutes away, two restarts, a while of 500s and of 429s: it ends within one interval of the job's end."""
    clock = AsyncFakeClock()
    end = 20 * HOUR - 100.0

    def bad_day(now: float) -> httpx.Response:
        hour = now / HOUR
        if 3 <= hour < 3 + 1 / 12:
            raise httpx.ConnectError("connection refused")
        if 6 <= hour < 6.01 or 15 <= hour < 15.01:
            raise httpx.RemoteProtocolError("server disconnected")
        if 8 <= hour < 8.2:
            return refusal(500)
        if 11 <= hour < 11.1:
            return refusal(429, "rate_limited", retry_after="45")
        if 13 <= hour < 13.1:
            return raw_reply(503, b"<html>maintenance</html>")
        return running_until(end)(now)

    server = Watched(clock, bad_day)
    async with scripted(AsyncScript(then=server), clock, max_retries=0) as client:
        handle = client.job("a-job")
        await handle.wait(poll_seconds=10, timeout_seconds=20 * HOUR)

    assert handle.succeeded
    assert end <= clock.seconds <= end + 11
    assert len(server.looks) > 6_000


async def test_two_handles_of_one_job_are_apart() -> None:
    """Each shows what it has seen."""
    script = AsyncScript(job_reply("queued"), job_reply("running"))
    async with scripted(script) as client:
        first = await client.get("a-job")
        second = await client.get("a-job")

    assert (first.status, second.status) == ("queued", "running")
    assert first.id == second.id
    assert first.view != second.view


async def test_a_submission_and_its_wait_make_the_quick_start() -> None:
    """Submit, wait, read: what the manual's first example prints."""
    clock = AsyncFakeClock()
    script = AsyncScript(
        reply(202, job("queued")),
        job_reply("placed", supplier="lambda"),
        job_reply("running", supplier="lambda"),
        job_reply("completed", supplier="lambda", cost_usd=47.62),
    )
    async with scripted(script, clock) as client:
        handle = await client.run(
            image="ghcr.io/acme/train:v3",
            command=["python", "train.py", "--epochs", "10"],
            gpu="h100_80gb",
            gpu_count=8,
            env={"WANDB_API_KEY": "w"},
            max_runtime_seconds=18 * 3600,
        )
        await handle.wait(timeout_seconds=20 * 3600)

    assert f"{handle.status} {handle.supplier} {handle.cost_usd}" == "JobStatus.COMPLETED lambda 47.62"
    assert body_of(script.requests[0])["max_runtime_seconds"] == 64_800
