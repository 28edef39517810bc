"""Retries of a call: what is tried again, how often and when, and what the caller learns of it."""

from __future__ import annotations

import pickle
import ssl
from typing import Any

import pytest

import nodus
from nodus._httpx import httpx
from tests._async.clients import scripted
from tests.support.clock import AsyncFakeClock
from tests.support.script import AsyncScript, job, job_reply, raw_reply, refusal, reply

RETRIED = {408, 409, 425, 429, 500, 501, 502, 503, 504, 520, 599}
NOT_RETRIED = {300, 302, 304, 308, 400, 401, 402, 403, 404, 405, 410, 412, 413, 418, 422, 424, 451, 499}

NETWORK = [
    httpx.ConnectError("refused"),
    httpx.ConnectTimeout("slow"),
    httpx.ReadError("reset"),
    httpx.ReadTimeout("slow"),
    httpx.WriteError("broken pipe"),
    httpx.RemoteProtocolError("closed"),
    httpx.ProxyError("502"),
    OSError("unreachable"),
]


@pytest.mark.parametrize("status", sorted(RETRIED | NOT_RETRIED))
async def test_transient_statuses_are_tried_again(status: int) -> None:
    """408, 409, 425, 429 and 5xx; what another attempt cannot mend is raised at once."""
    clock = AsyncFakeClock()
    script = AsyncScript(refusal(status), job_reply("running"))
    async with scripted(script, clock) as client:
        if status in RETRIED:
            assert (await client.get("a-job")).status == "running"
        else:
            with pytest.raises(nodus.NodusError):
                await client.get("a-job")

    assert len(script.requests) == (2 if status in RETRIED else 1)
    assert len(clock.slept) == len(script.requests) - 1


@pytest.mark.parametrize("raised", NETWORK, ids=lambda error: type(error).__name__)
async def test_failures_of_the_network_are_tried_again(raised: Exception) -> None:
    """A submission too: its key makes that safe."""
    script = AsyncScript(raised, reply(202, job()))
    async with scripted(script) as client:
        handle = await client.run(image="i")

    assert handle.status == "queued"
    assert len(script.requests) == 2


@pytest.mark.parametrize("code", ["signature_invalid", "signature_stale", "signing_secret_unavailable"])
async def test_failures_of_a_signature_are_never_tried_again(code: str) -> None:
    """Each has another remedy."""
    script = AsyncScript(refusal(401, code))
    async with scripted(script) as client:
        with pytest.raises(nodus.SignatureError) as caught:
            await client.get("a-job")

    assert (caught.value.code, caught.value.attempts) == (code, 1)


async def test_a_certificate_that_does_not_verify_is_not_tried_again() -> None:
    """It will not get better in a second, however deep the cause is buried."""
    error = httpx.ConnectError("certificate verify failed")
    error.__context__ = OSError("wrapped")
    error.__context__.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    script = AsyncScript(error)
    async with scripted(script) as client:
        with pytest.raises(nodus.APIConnectionError) as caught:
            await client.get("a-job")

    assert caught.value.attempts == 1
    assert caught.value.outcome_unknown is False


@pytest.mark.parametrize("raised", [httpx.InvalidURL("bad"), httpx.UnsupportedProtocol("ftp")])
async def test_a_url_that_cannot_be_used_is_not_tried_again(raised: Exception) -> None:
    """Nothing about it changes."""
    script = AsyncScript(raised)
    async with scripted(script) as client:
        with pytest.raises(nodus.APIConnectionError):
            await client.get("a-job")

    assert len(script.requests) == 1


@pytest.mark.parametrize("max_retries", [0, 1, 2, 5])
async def test_the_budget_bounds_the_attempts(max_retries: int) -> None:
    """One attempt and so many retries; the last error says how many there were."""
    script = AsyncScript(then=refusal(500, "boom"))
    async with scripted(script, max_retries=max_retries) as client:
        with pytest.raises(nodus.APIError) as caught:
            await client.get("a-job")

    assert len(script.requests) == max_retries + 1
    assert caught.value.attempts == max_retries + 1


async def test_two_retries_are_the_default() -> None:
    """As the manual says."""
    script = AsyncScript(then=refusal(500))
    async with nodus.AsyncClient("k", http_client=script, _clock=AsyncFakeClock()) as client:
        with pytest.raises(nodus.APIError):
            await client.get("a-job")

    assert len(script.requests) == 3


@pytest.mark.parametrize(
    ("status", "word", "attempts"),
    [(500, "false", 1), (503, "false", 1), (429, "false", 1), (400, "true", 3), (418, "true", 3), (500, "maybe", 3)],
)
async def test_the_servers_word_on_retrying_wins(status: int, word: str, attempts: int) -> None:
    """`x-should-retry` of the answer overrules the table, both ways."""
    script = AsyncScript(then=refusal(status, x_should_retry=word))
    async with scripted(script) as client:
        with pytest.raises(nodus.NodusError) as caught:
            await client.get("a-job")

    assert caught.value.attempts == attempts == len(script.requests)


async def test_the_last_error_is_the_one_that_is_raised() -> None:
    """With the facts of its own answer."""
    script = AsyncScript(refusal(500, "first"), httpx.ReadError("second"), refusal(503, "third", x_request_id="r-3"))
    async with scripted(script) as client:
        with pytest.raises(nodus.SupplierUnavailableError) as caught:
            await client.get("a-job")

    assert (caught.value.code, caught.value.request_id, caught.value.attempts) == ("third", "r-3", 3)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0"}, 0.0),
        ({"retry_after_ms": "1500"}, 1.5),
        ({"retry_after_ms": "250", "retry_after": "9"}, 0.25),
        ({"retry_after": "Thu, 01 Jan 2026 00:00:09 GMT", "date": "Thu, 01 Jan 2026 00:00:02 GMT"}, 7.0),
        ({"retry_after": "120"}, 120.0),
    ],
)
async def test_a_rate_limit_is_slept_in_full(headers: dict[str, str], expected: float) -> None:
    """Exactly as long as the server asked, on a 429."""
    clock = AsyncFakeClock()
    async with scripted(AsyncScript(refusal(429, "rate_limited", **headers), job_reply()), clock) as client:
        await client.get("a-job")

    assert clock.slept == [expected]


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "soon", "", "Thu, 01 Jan 1970 00:00:00 GMT"])
async def test_a_hint_that_makes_no_sense_falls_back_to_jitter(value: str) -> None:
    """Between half a second and one and a half, the first time."""
    clock = AsyncFakeClock()
    async with scripted(AsyncScript(refusal(429, retry_after=value), job_reply()), clock) as client:
        await client.get("a-job")

    assert len(clock.slept) == 1
    assert 0.5 <= clock.slept[0] <= 1.5


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_hint_above_two_minutes_is_raised_at_once(status: int) -> None:
    """The caller decides about it, and is told how long."""
    clock = AsyncFakeClock()
    script = AsyncScript(refusal(status, retry_after="3600"))
    async with scripted(script, clock) as client:
        with pytest.raises(nodus.NodusError) as caught:
            await client.get("a-job")

    assert caught.value.retry_after == 3600.0
    assert clock.slept == []


@pytest.mark.parametrize("status", [400, 401, 404, 418, 429, 500])
async def test_every_http_error_tells_the_hint(status: int) -> None:
    """`retry_after` is there whatever the class."""
    async with scripted(AsyncScript(refusal(status, retry_after="9")), max_retries=0) as client:
        with pytest.raises(nodus.NodusError) as caught:
            await client.get("a-job")

    assert caught.value.retry_after == 9.0


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 503, 504])
@pytest.mark.parametrize(("hint", "least", "most"), [("6", 6.0, 6.0), ("0", 0.5, 1.5)])
async def test_elsewhere_a_hint_is_the_least_that_is_slept(status: int, hint: str, least: float, most: float) -> None:
    """The jitter may make it longer, never shorter."""
    clock = AsyncFakeClock()
    async with scripted(AsyncScript(refusal(status, retry_after=hint), job_reply()), clock) as client:
        await client.get("a-job")

    assert least <= clock.slept[0] <= most


def times_out(clock: AsyncFakeClock) -> Any:
    """A server that lets every attempt use up its whole timeout."""

    def answer(request: httpx.Request) -> httpx.Response:
        clock.advance(request.extensions["timeout"]["read"])
        raise httpx.ReadTimeout("no answer")

    return answer


async def test_attempts_have_the_whole_timeout_unless_a_total_is_set() -> None:
    """Three attempts of thirty seconds, and the sleeps between, by the manual's defaults."""
    clock = AsyncFakeClock()
    script = AsyncScript(then=times_out(clock))
    async with scripted(script, clock) as client:
        with pytest.raises(nodus.APITimeoutError) as caught:
            await client.get("a-job")

    assert caught.value.attempts == 3
    assert clock.seconds == pytest.approx(90 + sum(clock.slept))
    assert [request.extensions["timeout"]["connect"] for request in script.requests] == pytest.approx([30.0] * 3)


@pytest.mark.parametrize("total", [0.1, 5, 29.9, 30, 31, 40, 61, 75.5, 1000])
async def test_a_total_timeout_bounds_everything(total: float) -> None:
    """Attempts and sleeps together never take longer."""
    clock = AsyncFakeClock()
    script = AsyncScript(then=times_out(clock))
    async with scripted(script, clock, total_timeout=total) as client:
        with pytest.raises(nodus.APITimeoutError):
            await client.get("a-job")

    assert clock.seconds <= total + 1e-9
    assert script.requests[0].extensions["timeout"]["read"] == min(30.0, total)


async def test_the_last_error_is_raised_when_the_total_timeout_is_over() -> None:
    """It says more than that time is up."""
    clock = AsyncFakeClock()
    script = AsyncScript(then=refusal(503, "no_supplier"))
    async with scripted(script, clock, total_timeout=2, max_retries=100) as client:
        with pytest.raises(nodus.SupplierUnavailableError) as caught:
            await client.get("a-job")

    assert clock.seconds < 2
    assert caught.value.attempts == len(script.requests) > 1


async def test_an_attempt_that_the_total_timeout_ends_hides_no_error() -> None:
    """What the server said before tells more than that time is up; and the cut attempt may have been acted on."""
    clock = AsyncFakeClock()
    script = AsyncScript(refusal(503, "no_supplier"), then=times_out(clock))
    async with scripted(script, clock, timeout=30, total_timeout=20) as client:
        with pytest.raises(nodus.SupplierUnavailableError) as caught:
            await client.run(image="i")

    assert clock.seconds == pytest.approx(20)
    assert (caught.value.attempts, caught.value.outcome_unknown) == (2, True)
    assert caught.value.idempotency_key is not None


async def test_an_attempt_that_had_its_whole_time_is_told() -> None:
    """Only what the total cuts short is passed over."""
    clock = AsyncFakeClock()
    script = AsyncScript(refusal(503, "no_supplier"), then=times_out(clock))
    async with scripted(script, clock, timeout=5, total_timeout=1000) as client:
        with pytest.raises(nodus.APITimeoutError) as caught:
            await client.get("a-job")

    assert caught.value.attempts == 3


async def test_a_hint_past_the_total_timeout_raises_at_once() -> None:
    """It is not slept in vain."""
    clock = AsyncFakeClock()
    script = AsyncScript(refusal(429, retry_after="41"))
    async with scripted(script, clock, total_timeout=40) as client:
        with pytest.raises(nodus.RateLimitError) as caught:
            await client.get("a-job")

    assert (caught.value.retry_after, clock.slept) == (41.0, [])


async def test_options_for_some_calls_leave_the_others_alone() -> None:
    """A child shares the connections and differs in what was named."""
    clock = AsyncFakeClock()
    script = AsyncScript(then=times_out(clock))
    async with scripted(script, clock) as client:
        for options in ({"max_retries": 0}, {"timeout": 1, "max_retries": 0}, {"total_timeout": 2, "max_retries": 0}):
            with pytest.raises(nodus.APITimeoutError):
                await client.with_options(**options).get("a-job")  # type: ignore[arg-type]
        with pytest.raises(nodus.APITimeoutError):
            await client.get("a-job")

    timeouts = [request.extensions["timeout"]["read"] for request in script.requests]

    assert timeouts == pytest.approx([30.0, 1.0, 2.0, 30.0, 30.0, 30.0])


async def test_each_retry_is_announced() -> None:
    """To the hook before the sleep, and in the log in one line."""
    events: list[nodus.RetryEvent] = []
    clock = AsyncFakeClock()
    script = AsyncScript(refusal(503, "no_supplier"), httpx.ReadError("reset"), job_reply())
    async with scripted(script, clock, on_retry=events.append) as client:
        await client.get("a-job")

    assert [(event.method, event.path, event.retry, event.max_retries) for event in events] == [
        ("GET", "/v1/jobs/a-job", 1, 2),
        ("GET", "/v1/jobs/a-job", 2, 2),
    ]
    assert [event.delay_seconds for event in events] == clock.slept
    assert [type(event.error) for event in events] == [nodus.SupplierUnavailableError, nodus.APIConnectionError]
    assert [event.error.attempts for event in events] == [1, 2]


async def test_retries_are_logged_at_info(caplog: pytest.LogCaptureFixture) -> None:
    """So that somebody who waits can see for what."""
    caplog.set_level("INFO", "nodus")
    script = AsyncScript(refusal(503, "no_supplier"), httpx.ReadError("reset"), job_reply())
    async with scripted(script, AsyncFakeClock()) as client:
        await client.get("a-job")

    first, second = caplog.messages

    assert first.startswith("retry 1 of 2 in ")
    assert first.endswith(" s: 503 no_supplier")
    assert second.startswith("retry 2 of 2 in ")
    assert second.endswith(" s: connection_error")


async def test_each_answer_is_told_to_the_hook() -> None:
    """Good ones and bad ones; an attempt without an answer is not one."""
    events: list[nodus.ResponseEvent] = []
    clock = AsyncFakeClock()

    def slow(request: httpx.Request) -> httpx.Response:
        clock.advance(0.25)
        return reply(200, job(), x_request_id="r-2", x_more="m")

    script = AsyncScript(refusal(500), httpx.ReadError("reset"), slow)
    async with scripted(script, clock, on_response=events.append) as client:
        await client.run(image="i")

    first, second = events

    assert (first.status_code, first.attempt, first.request_id) == (500, 1, None)
    assert (second.method, second.path, second.status_code, second.attempt) == ("POST", "/v1/jobs", 200, 3)
    assert (second.request_id, second.headers["X-More"], second.elapsed_seconds) == ("r-2", "m", 0.25)


@pytest.mark.parametrize("hook", ["on_retry", "on_response"])
async def test_what_a_hook_raises_is_the_callers(hook: str) -> None:
    """It ends the call and is not swallowed, nor taken for a failure of the network."""

    def fail(event: object) -> None:
        raise RuntimeError("the hook failed")

    script = AsyncScript(refusal(500))
    async with scripted(script, **{hook: fail}) as client:
        with pytest.raises(RuntimeError, match="the hook failed"):
            await client.get("a-job")

    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("answers", "unknown"),
    [
        ([refusal(500)], True),
        ([refusal(503)], True),
        ([httpx.ReadError("reset")], True),
        ([httpx.ReadTimeout("slow")], True),
        ([httpx.ConnectError("refused")], False),
        ([httpx.ConnectTimeout("slow")], False),
        ([refusal(429)], False),
        ([refusal(400)], False),
        ([refusal(401)], False),
        ([httpx.ReadError("reset"), httpx.ConnectError("refused")], True),
        ([refusal(500), refusal(429)], True),
        ([httpx.ConnectError("refused"), refusal(429)], False),
        ([httpx.ReadError("reset"), refusal(402, "budget_exceeded")], False),
    ],
)
async def test_a_failed_submission_says_what_is_known(answers: list[Any], unknown: bool) -> None:
    """The key it was sent under, how often, and whether the job may exist."""
    script = AsyncScript(*answers)
    async with scripted(script, max_retries=len(answers) - 1) as client:
        with pytest.raises(nodus.NodusError) as caught:
            await client.run(image="i")

    error = caught.value

    assert error.outcome_unknown is unknown
    assert error.attempts == len(answers)
    assert error.idempotency_key == script.requests[0].headers["Idempotency-Key"]
    assert pickle.loads(pickle.dumps(error)).idempotency_key == error.idempotency_key


async def test_the_recovery_is_to_run_again_with_the_errors_key() -> None:
    """The server then gives the job that it may have made."""
    script = AsyncScript(httpx.ReadError("reset"), reply(200, job("running"), idempotent_replayed="true"))
    async with scripted(script, max_retries=0) as client:
        with pytest.raises(nodus.APIConnectionError) as caught:
            await client.run(image="i")
        handle = await client.run(image="i", idempotency_key=caught.value.idempotency_key)

    first, second = script.requests

    assert handle.replayed
    assert first.content == second.content


async def test_the_key_of_a_submission_is_logged_before_it_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    """A task that is cancelled gets no error that could carry it."""
    caplog.set_level("INFO", "nodus")
    seen: list[str] = []

    def look(request: httpx.Request) -> httpx.Response:
        seen.extend(caplog.messages)
        return reply(202, job())

    script = AsyncScript(look)
    async with scripted(script) as client:
        await client.run(image="i")

    assert any(script.requests[0].headers["Idempotency-Key"] in message for message in seen)


async def test_cancelling_is_tried_again_under_one_key() -> None:
    """It is idempotent."""
    script = AsyncScript(job_reply("running"), httpx.ReadError("reset"), refusal(500), job_reply("cancelled"))
    async with scripted(script) as client:
        handle = await client.get("a-job")
        await handle.cancel()

    assert handle.status == "cancelled"
    assert len({request.headers["Idempotency-Key"] for request in script.requests[1:]}) == 1


async def test_a_good_answer_that_cannot_be_used_is_not_tried_again() -> None:
    """The server has done its part, and would say the same again."""
    clock = AsyncFakeClock()
    script = AsyncScript(refusal(500), raw_reply(200, b"<html>"))
    async with scripted(script, clock) as client:
        with pytest.raises(nodus.APIError) as caught:
            await client.get("a-job")

    assert (caught.value.code, caught.value.attempts) == ("invalid_response", 2)
    assert len(clock.slept) == 1
