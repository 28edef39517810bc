# Generated from tests/_async/test_waits.py: do not edit. Edit that file, then run tools/unasync_build.py.
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
from tests._sync.clients import scripted
from tests.support.clock import FakeClock
from tests.support.script import Script, body_of, job, job_reply, raw_reply, refusal, reply

HOUR = 3600.0


class Watched:
    """A server whose answers depend on the time; it writes down when it was asked.

    Args:
        clock: the time.
        state: gives the answer for a moment.
    """

    def __init__(self, clock: FakeClock, state: Callable[[float], httpx.Response]) -> None:
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


def test_the_first_look_is_immediate() -> None:
    """A job that is over already costs no time."""
    clock = FakeClock()
    script = Script(reply(202, job()), job_reply("completed", cost_usd=47.62))
    with scripted(script, clock) as client:
        handle = client.run(image="i")
        answer = handle.wait()

    assert answer is handle
    assert (handle.status, handle.cost_usd, handle.succeeded) == (nodus.JobStatus.COMPLETED, 47.62, True)
    assert clock.slept == []


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_each_terminal_state_ends_the_wait(status: str) -> None:
    """Failure too: it is an outcome of the job, not of the wait."""
    clock = FakeClock()
    script = Script(job_reply("queued"), job_reply("placed"), job_reply("running"), job_reply(status))
    with scripted(script, clock) as client:
        handle = client.get("a-job")
        handle.wait()

    assert handle.status == status
    assert handle.is_terminal
    assert handle.succeeded is (status == "completed")
    assert len(clock.slept) == 2


def test_a_job_that_is_known_to_be_over_is_not_asked_for() -> None:
    """Terminal is terminal."""
    script = Script(job_reply("failed"))
    with scripted(script) as client:
        handle = client.get("a-job")
        handle.wait()

    assert len(script.requests) == 1


def test_a_status_of_the_future_is_terminal_once_it_has_an_end() -> None:
    """A newer server may know more ways to end."""
    script = Script(
        job_reply("queued"), job_reply("archived"), job_reply("archived", finished_at="2026-01-01T00:00:00Z")
    )
    with scripted(script) as client:
        handle = client.get("a-job")
        handle.wait()

    assert handle.status == "archived"
    assert (handle.is_terminal, handle.succeeded) == (True, False)


@pytest.mark.parametrize(("options", "base"), [({}, 2.0), ({"poll_seconds": 0.5}, 0.5), ({"poll_seconds": 60}, 60.0)])
def test_looks_are_poll_seconds_apart_give_or_take_a_tenth(options: dict[str, Any], base: float) -> None:
    """Two seconds unless told otherwise."""
    clock = FakeClock()
    server = Watched(clock, running_until(50 * base))
    with scripted(Script(then=server), clock) as client:
        client.job("a-job").wait(**options)

    assert all(0.9 * base <= slept <= 1.1 * base for slept in clock.slept)
    assert len(set(clock.slept)) == len(clock.slept) > 40


@pytest.mark.parametrize("timeout", [0, 1, 5, 10.0, 61.7])
def test_the_last_look_is_taken_at_the_deadline(timeout: float) -> None:
    """Then the wait ends, and says where the job stood; the job goes on."""
    clock = FakeClock()
    server = Watched(clock, running_until(1e9))
    script = Script(then=server)
    with scripted(script, clock) as client:
        handle = client.job("a-job")
        with pytest.raises(TimeoutError) as caught:
            handle.wait(timeout_seconds=timeout)

    assert isinstance(caught.value, nodus.JobTimeoutError)
    assert (caught.value.code, caught.value.job) == ("wait_timeout", handle)
    assert "running" in caught.value.message
    assert server.looks[0] == 0.0
    assert server.looks[-1] == pytest.approx(timeout)
    assert clock.seconds == pytest.approx(timeout)
    assert {request.method for request in script.requests} == {"GET"}


def test_a_timeout_of_zero_looks_once() -> None:
    """Which is how to ask whether a job is over."""
    clock = FakeClock()
    script = Script(job_reply("running"), job_reply("completed"))
    with scripted(script, clock) as client:
        handle = client.job("a-job")
        with pytest.raises(nodus.JobTimeoutError):
            handle.wait(timeout_seconds=0)
        handle.wait(timeout_seconds=0)

    assert (handle.succeeded, clock.slept, script.unused) == (True, [], 0)


def test_a_job_that_ends_by_the_last_look_is_no_timeout() -> None:
    """That is what it is for."""
    clock = FakeClock()
    with scripted(Script(then=Watched(clock, running_until(9.999))), clock) as client:
        handle = client.job("a-job").wait(timeout_seconds=10)

    assert handle.succeeded


def test_a_look_is_one_attempt_and_the_last_takes_five_seconds_at_most() -> None:
    """Whatever hangs, a wait ends."""
    clock = FakeClock()

    def hang(request: httpx.Request) -> httpx.Response:
        clock.advance(request.extensions["timeout"]["read"])
        raise httpx.ReadTimeout("no answer")

    script = Script(then=hang)
    with scripted(script, clock, max_retries=5) as client:
        with pytest.raises(nodus.JobTimeoutError):
            client.job("a-job").wait(timeout_seconds=40)

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
def test_what_may_pass_does_not_end_the_wait(failure: Any) -> None:
    """However many retries a call has; the looks become rarer until it has passed."""
    clock = FakeClock()
    script = Script(*[failure] * 6, job_reply("running"), job_reply("completed"))
    with scripted(script, clock, max_retries=0) as client:
        handle = client.job("a-job").wait()

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
def test_what_will_not_pass_ends_the_wait_at_once(failure: Any, kind: type[nodus.NodusError]) -> None:
    """There is nothing to wait for."""
    clock = FakeClock()
    script = Script(job_reply("running"), failure)
    with scripted(script, clock) as client:
        with pytest.raises(nodus.NodusError) as caught:
            client.job("a-job").wait(timeout_seconds=100)

    assert type(caught.value) is kind
    assert caught.value.attempts == 1
    assert len(clock.slept) == 1


@pytest.mark.parametrize("hint", [0.0, 0.5, 7.0, 90.0, 300.0])
def test_a_hint_of_the_server_wins_over_the_interval(hint: float) -> None:
    """Whether it is shorter or longer."""
    clock = FakeClock()
    script = Script(refusal(429, retry_after=str(hint)), job_reply("completed"))
    with scripted(script, clock) as client:
        client.job("a-job").wait()

    assert clock.slept == [hint]


def test_a_hint_past_the_deadline_leaves_the_last_look_where_it_is() -> None:
    """The caller's limit is the caller's."""
    clock = FakeClock()
    script = Script(then=refusal(429, retry_after="3600"))
    with scripted(script, clock) as client:
        with pytest.raises(nodus.JobTimeoutError):
            client.job("a-job").wait(timeout_seconds=10)

    assert clock.slept == [10.0]
    assert len(script.requests) == 2


def test_a_job_just_submitted_may_read_as_absent_for_five_seconds() -> None:
    """The answer may come from a replica that lags behind."""
    clock = FakeClock()
    server = Watched(clock, lambda now: refusal(404, "job_not_found") if now < 4 else job_reply("completed"))
    with scripted(Script(then=server), clock) as client:
        handle = client.run(image="i")
        handle.wait()

    assert handle.succeeded
    assert len(server.looks) > 1


def test_a_job_that_stays_absent_ends_the_wait() -> None:
    """After the five seconds, and not much later."""
    clock = FakeClock()
    with scripted(Script(then=Watched(clock, lambda now: refusal(404, "job_not_found"))), clock) as client:
        handle = client.run(image="i")
        with pytest.raises(nodus.NotFoundError):
            handle.wait()

    assert 5 < clock.seconds < 5 + 2.2


def test_fifteen_minutes_of_nothing_but_failures_end_an_endless_wait() -> None:
    """With the last of them; one good answer would have started the count again."""
    clock = FakeClock()

    def answer(now: float) -> httpx.Response:
        if 100 <= now < 900 or now >= 1000:
            raise httpx.ConnectError("refused")
        return job_reply("running")

    server = Watched(clock, answer)
    with scripted(Script(then=server), clock) as client:
        with pytest.raises(nodus.APIConnectionError) as caught:
            client.job("a-job").wait()

    assert caught.value.code == "connection_error"
    assert 1900 <= clock.seconds < 1933


def test_how_long_failures_are_put_up_with_can_be_chosen() -> None:
    """In seconds; zero means not at all."""
    clock = FakeClock()
    script = Script(then=refusal(500))
    with scripted(script, clock) as client:
        with pytest.raises(nodus.APIError):
            client.job("a-job").wait(unreachable_seconds=0)
        with pytest.raises(nodus.APIError):
            client.job("a-job").wait(unreachable_seconds=60)

    assert clock.seconds == pytest.approx(60)


def test_with_a_timeout_only_the_timeout_ends_the_wait() -> None:
    """Though nothing was to be seen of the job all that time."""
    clock = FakeClock()
    with scripted(Script(then=refusal(500)), clock) as client:
        with pytest.raises(nodus.JobTimeoutError) as caught:
            client.job("a-job").wait(timeout_seconds=7200)

    assert clock.seconds == pytest.approx(7200)
    assert isinstance(caught.value.__cause__, nodus.APIError)
    assert str(caught.value.__cause__) in caught.value.message


def test_every_change_is_told_once() -> None:
    """To the callback, with the handle as it now is."""
    seen: list[tuple[str, str | None]] = []
    script = Script(
        reply(202, job("queued")),
        job_reply("queued"),
        job_reply("running", supplier="lambda"),
        refusal(500),
        job_reply("running", supplier="lambda"),
        job_reply("running", supplier="crusoe"),
        job_reply("completed", supplier="crusoe"),
    )
    with scripted(script) as client:
        handle = client.run(image="i")
        handle.wait(on_update=lambda one: seen.append((one.status.value, one.supplier)))

    assert seen == [("running", "lambda"), ("running", "crusoe"), ("completed", "crusoe")]


def test_what_the_callback_raises_ends_the_wait() -> None:
    """It is the caller's own."""

    def stop(one: nodus.Job) -> None:
        raise LookupError("enough")

    with scripted(Script(then=job_reply("running"))) as client:
        with pytest.raises(LookupError, match="enough"):
            client.job("a-job").wait(on_update=stop)


def test_leaving_a_wait_leaves_the_job_alone() -> None:
    """Neither a timeout nor a failure cancels anything."""
    for ending in (refusal(401), job_reply("running")):
        script = Script(then=ending)
        with scripted(script) as client:
            with pytest.raises(nodus.NodusError):
                client.job("a-job").wait(timeout_seconds=0)

        assert [request.method for request in script.requests] == ["GET"]


@pytest.mark.parametrize("answer", [job_reply("cancelled"), refusal(500), httpx.ReadError("reset")], ids=range(3))
def test_a_wait_can_be_told_to_take_the_job_with_it(answer: Any) -> None:
    """It asks once, for five seconds at most, and raises what it would have raised."""
    script = Script(job_reply("running"), answer)
    with scripted(script) as client:
        with pytest.raises(nodus.JobTimeoutError):
            client.job("a-job").wait(timeout_seconds=0, cancel_on_exit=True)

    request = script.requests[1]

    assert request.method == "POST"
    assert request.url.raw_path.endswith(b"/cancel")
    assert request.extensions["timeout"]["read"] == pytest.approx(5.0)
    assert len(script.requests) == 2


def test_a_job_that_ended_is_not_cancelled() -> None:
    """There is nothing to cancel."""
    script = Script(job_reply("completed"))
    with scripted(script) as client:
        client.job("a-job").wait(cancel_on_exit=True)

    assert len(script.requests) == 1


def test_a_wait_on_a_closed_client_says_so() -> None:
    """Even where it was told to cancel the job, which cannot be done either."""
    with scripted(Script()) as client:
        handle = client.job("a-job")

    with pytest.raises(nodus.ConfigurationError) as caught:
        handle.wait(cancel_on_exit=True)

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
def test_times_that_make_no_sense_are_refused_before_sending(options: dict[str, Any]) -> None:
    """With the name of the argument."""
    script = Script()
    with scripted(script) as client:
        with pytest.raises(nodus.ValidationError, match=next(iter(options))) as caught:
            client.job("a-job").wait(**options)

    assert caught.value.code == "invalid_argument"
    assert script.requests == []


@pytest.mark.parametrize("again", [copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_the_error_of_a_wait_can_travel(again: Callable[[Any], Any]) -> None:
    """It then has the last snapshot in place of the handle."""
    with scripted(Script(then=job_reply("running", supplier="lambda"))) as client:
        handle = client.job("a-job")
        with pytest.raises(nodus.JobTimeoutError) as caught:
            handle.wait(timeout_seconds=0)
        twin = again(caught.value)

    assert twin.job == handle.view
    assert twin.job.supplier == "lambda"
    assert str(twin) == str(caught.value)


def test_a_wait_of_twenty_hours_survives_a_bad_day() -> None:
    """Five minutes away, two restarts, a while of 500s and of 429s: it ends within one interval of the job's end."""
    clock = FakeClock()
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
    with scripted(Script(then=server), clock, max_retries=0) as client:
        handle = client.job("a-job")
        handle.wait(poll_seconds=10, timeout_seconds=20 * HOUR)

    assert handle.succeeded
    assert end <= clock.seconds <= end + 11
    assert len(server.looks) > 6_000


def test_two_handles_of_one_job_are_apart() -> None:
    """Each shows what it has seen."""
    script = Script(job_reply("queued"), job_reply("running"))
    with scripted(script) as client:
        first = client.get("a-job")
        second = client.get("a-job")

    assert (first.status, second.status) == ("queued", "running")
    assert first.id == second.id
    assert first.view != second.view


def test_a_submission_and_its_wait_make_the_quick_start() -> None:
    """Submit, wait, read: what the manual's first example prints."""
    clock = FakeClock()
    script = Script(
        reply(202, job("queued")),
        job_reply("placed", supplier="lambda"),
        job_reply("running", supplier="lambda"),
        job_reply("completed", supplier="lambda", cost_usd=47.62),
    )
    with scripted(script, clock) as client:
        handle = client.run(
            image="ghcr.io/acme/train:v3",
            command=["python", "train.py", "--epochs", "10"],
            gpu="h100_80gb",
            gpu_count=8,
            env={"WANDB_API_KEY": "w"},
            max_runtime_seconds=18 * 3600,
        )
        handle.wait(timeout_seconds=20 * 3600)

    assert f"{handle.status} {handle.supplier} {handle.cost_usd}" == "JobStatus.COMPLETED lambda 47.62"
    assert body_of(script.requests[0])["max_runtime_seconds"] == 64_800
