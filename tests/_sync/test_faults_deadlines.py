# Generated from tests/_async/test_faults_deadlines.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Times that are kept, whatever the server does with its own."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nodus
from nodus._httpx import httpx
from tests._sync.clients import scripted
from tests._sync.fault_calls import PATIENCE_SECONDS, client_of
from tests.support.clock import FakeClock
from tests.support.faults import RETRY_AFTER, SLOW, FaultServer
from tests.support.script import Script, job_reply, refusal
from tests.support.soundness import assert_sound

TOTAL_SECONDS = 40.0

Attempt = tuple["int | type[Exception]", float, dict[str, str]]
"""What comes of an attempt, after how many seconds, and with what hint."""

OUTCOMES = st.one_of(
    st.sampled_from([200, 400, 408, 429, 500, 503]),
    st.sampled_from([httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError, httpx.ReadTimeout]),
)
HINTS = st.one_of(
    st.just({}),
    st.sampled_from(sorted(RETRY_AFTER)).map(RETRY_AFTER.__getitem__),
    st.floats(0, 130).map(lambda seconds: {"retry_after": f"{seconds:.3f}"}),
)
ATTEMPTS = st.lists(st.tuples(OUTCOMES, st.floats(0, 100), HINTS), min_size=1, max_size=6)

CHOSEN = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def responding(clock: FakeClock, attempt: Attempt) -> Callable[[httpx.Request], httpx.Response]:
    """A server that takes its time over one answer; the client listens no longer than it means to."""
    outcome, seconds, hint = attempt

    def respond(request: httpx.Request) -> httpx.Response:
        listens = request.extensions["timeout"]["read"]
        clock.advance(min(seconds, listens))
        if seconds > listens:
            raise httpx.ReadTimeout("the read operation timed out")
        if isinstance(outcome, type):
            raise outcome("it broke")
        return job_reply("running") if outcome == 200 else refusal(outcome, "some_code", **hint)

    return respond


@pytest.mark.anyio
@CHOSEN
@given(attempts=ATTEMPTS, seed=st.integers(0, 1000))
def test_a_call_never_passes_its_total_timeout(attempts: list[Attempt], seed: int) -> None:
    """Thirty seconds an attempt, two retries, and forty seconds for all of it, the sleeps included."""
    clock = FakeClock()
    script = Script(*(responding(clock, attempt) for attempt in attempts), then=job_reply("running"))
    client = scripted(script, clock, timeout=30, max_retries=2, total_timeout=TOTAL_SECONDS, _rng=random.Random(seed))
    with client:
        try:
            client.get("a-job")
        except nodus.NodusError as exc:
            assert_sound(exc)
            assert exc.attempts == len(script.requests)  # noqa: PT017  # it may also not raise

    assert clock.now() <= TOTAL_SECONDS
    assert len(script.requests) <= 3


@pytest.mark.parametrize("hint", [40.0, 41.0, 119.0, 3600.0])
@pytest.mark.parametrize("status", [429, 503])
def test_a_hint_past_the_deadline_raises_at_once(status: int, hint: float) -> None:
    """There is no use in sleeping into the end of the call; the error says what the server asked for."""
    clock = FakeClock()
    script = Script(refusal(status, retry_after=f"{hint:g}"))
    with scripted(script, clock, timeout=30, total_timeout=TOTAL_SECONDS) as client:
        with pytest.raises(nodus.NodusError) as caught:
            client.get("a-job")

    assert (caught.value.status_code, caught.value.retry_after, caught.value.attempts) == (status, hint, 1)
    assert (clock.slept, clock.now()) == ([], 0.0)


@pytest.mark.parametrize("fault", SLOW)
def test_each_attempt_has_its_own_time(fault: str) -> None:
    """A server that does not come to an end costs each attempt its timeout, and the call its retries."""
    with FaultServer(["no fault", *[fault] * 3]) as server:
        with client_of(server, timeout=0.05) as client:
            # So that the time is not over, on a busy machine, before anything was sent.
            client.with_options(timeout=PATIENCE_SECONDS).get("job-1")
            with pytest.raises(nodus.APIConnectionError) as caught:
                client.get("job-1")

    assert isinstance(caught.value, nodus.APITimeoutError)
    assert caught.value.attempts == 3
    assert caught.value.outcome_unknown


@pytest.mark.parametrize("fault", SLOW)
def test_the_whole_call_has_its_time_too(fault: str) -> None:
    """It ends the one attempt that is on the way, though that had time left."""
    with FaultServer([fault] * 3) as server:
        with client_of(server, timeout=3600.0, total_timeout=0.05) as client:
            with pytest.raises(nodus.APITimeoutError) as caught:
                client.get("job-1")

    assert caught.value.attempts == 1


@pytest.mark.parametrize("fault", SLOW)
def test_a_wait_has_its_time_too(fault: str) -> None:
    """Its looks end with the client's timeout, so that its own is kept."""
    with FaultServer([fault] * 50) as server:
        with client_of(server, timeout=0.05) as client:
            job = client.job("job-1")
            with pytest.raises(nodus.JobTimeoutError) as caught:
                job.wait(poll_seconds=2.0, timeout_seconds=10.0)

    assert caught.value.job is job
    assert_sound(caught.value)


def test_a_server_that_says_at_once_is_not_hammered_by_a_wait() -> None:
    """`Retry-After: 0` is taken at its word once; a server that goes on failing is not asked again without a pause."""
    clock = FakeClock()
    script = Script(then=refusal(503, retry_after="0"))
    with scripted(script, clock) as client:
        with pytest.raises(nodus.SupplierUnavailableError):
            client.job("a-job").wait(poll_seconds=2.0, unreachable_seconds=60.0)

    assert clock.slept[0] == 0.0
    assert min(clock.slept[1:-1]) >= 0.5
    assert len(script.requests) <= 125
