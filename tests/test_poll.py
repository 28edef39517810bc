"""When a wait looks again, what it puts up with and when it gives up, apart from any waiting."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nodus
from nodus._errors import Failure
from nodus._poll import GiveUp, PollState, Sleep, Step, TimedOut


def failure(status: int | None = 500, **facts: Any) -> Failure:
    """A look that failed."""
    kind = nodus.APIConnectionError if status is None else nodus.APIError
    return Failure(kind("It failed.", status_code=status, **facts))


def state(*, poll_seconds: float = 2.0, deadline: float | None = None, unreachable_seconds: float = 900.0) -> PollState:
    """The state of one wait."""
    rng = random.Random(3)
    return PollState(poll_seconds=poll_seconds, deadline=deadline, unreachable_seconds=unreachable_seconds, rng=rng)


def seconds(step: Step) -> float:
    """How long a step sleeps."""
    assert isinstance(step, Sleep)
    return step.seconds


@given(poll=st.floats(0.001, 1000), looks=st.integers(1, 50))
def test_every_interval_is_the_base_give_or_take_a_tenth(poll: float, looks: int) -> None:
    """Jitter keeps many waits from looking at the same moments."""
    wait = state(poll_seconds=poll)

    for _ in range(looks):
        assert 0.9 * poll <= seconds(wait.after_success(0.0)) <= 1.1 * poll


def test_intervals_differ() -> None:
    """Equal intervals would have no jitter."""
    wait = state()

    assert len({seconds(wait.after_success(0.0)) for _ in range(20)}) == 20


def test_failures_widen_the_interval_and_a_success_narrows_it() -> None:
    """Each failure doubles it, up to half a minute; a success resets it."""
    wait = state()
    widths = [seconds(wait.after_failure(failure(), 0.0)) for _ in range(7)]
    after = seconds(wait.after_success(0.0))

    assert widths == [pytest.approx(width, rel=0.1) for width in (2, 4, 8, 16, 30, 30, 30)]
    assert after == pytest.approx(2, rel=0.1)
    assert seconds(wait.after_failure(failure(), 0.0)) == pytest.approx(2, rel=0.1)


def test_a_job_that_reads_as_absent_at_first_is_looked_at_as_often_as_any() -> None:
    """The server works, so the interval stays, and so do the five seconds of tolerance."""
    wait = state(poll_seconds=1.0)

    assert [seconds(wait.after_failure(failure(404), 0.0, submitted_at=0.0)) for _ in range(5)] == [
        pytest.approx(1, rel=0.1)
    ] * 5


def test_a_base_above_half_a_minute_is_not_narrowed_by_failures() -> None:
    """Failures never make a wait poll more often than the caller asked for."""
    wait = state(poll_seconds=300.0)
    widths = [seconds(wait.after_failure(failure(), 0.0)) for _ in range(3)]

    assert widths == [pytest.approx(300, rel=0.1)] * 3


@pytest.mark.parametrize("hint", [0.0, 0.25, 7.0, 100.0])
def test_a_hint_of_the_server_wins(hint: float) -> None:
    """It may be shorter or longer than the interval."""
    assert seconds(state().after_failure(failure(429, retry_after=hint), 0.0)) == hint


def test_no_sleep_passes_the_deadline() -> None:
    """The last poll starts at the deadline, and then the time is up."""
    wait = state(deadline=10.0)

    assert seconds(wait.after_success(9.5)) == 0.5
    assert seconds(wait.after_failure(failure(429, retry_after=60.0), 4.0)) == 6.0
    assert wait.after_success(10.0) == TimedOut()
    assert wait.after_failure(failure(), 10.5) == TimedOut()


@pytest.mark.parametrize(
    ("now", "timeout", "expected"),
    [(0.0, 30.0, 30.0), (90.0, 30.0, 10.0), (97.0, 30.0, 5.0), (100.0, 30.0, 5.0), (100.0, 2.0, 2.0)],
)
def test_a_look_may_pass_the_deadline_by_five_seconds_at_most(now: float, timeout: float, expected: float) -> None:
    """A wait ends even if a request hangs."""
    assert state(deadline=100.0).poll_deadline(now, timeout) == now + expected
    assert state().poll_deadline(now, timeout) == now + timeout


def test_fifteen_minutes_of_nothing_but_failures_end_an_endless_wait() -> None:
    """The last poll is made at the end of that time, and not before."""
    wait, now, looks = state(), 100.0, 0
    error = failure(None)
    while isinstance(step := wait.after_failure(error, now), Sleep):
        now += step.seconds
        looks += 1

    assert step == GiveUp(error.error)
    assert now == pytest.approx(1000.0)
    assert looks > 30


def test_one_success_starts_the_count_of_failures_again() -> None:
    """A server that answers now and then counts as reachable."""
    wait = state()
    wait.after_failure(failure(), 0.0)
    wait.after_success(899.0)

    assert isinstance(wait.after_failure(failure(), 901.0), Sleep)
    assert isinstance(wait.after_failure(failure(), 1800.0), Sleep)
    assert isinstance(wait.after_failure(failure(), 1801.0), GiveUp)


def test_where_there_is_a_deadline_only_that_ends_the_wait() -> None:
    """The caller has said how long to try."""
    wait = state(deadline=100_000.0)
    wait.after_failure(failure(), 0.0)

    assert isinstance(wait.after_failure(failure(), 99_999.0), Sleep)


def test_no_patience_at_all_is_possible() -> None:
    """With zero seconds, the first failure ends the wait."""
    error = failure()

    assert state(unreachable_seconds=0.0).after_failure(error, 0.0) == GiveUp(error.error)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 410, 422])
def test_what_will_not_pass_ends_the_wait(status: int) -> None:
    """An example is a revoked key."""
    error = failure(status)

    assert state().after_failure(error, 0.0) == GiveUp(error.error)


@pytest.mark.parametrize(
    ("submitted_at", "now", "tolerated"),
    [(None, 0.0, False), (10.0, 10.0, True), (10.0, 15.0, True), (10.0, 15.1, False)],
)
def test_a_job_that_was_just_submitted_may_read_as_absent(
    submitted_at: float | None, now: float, tolerated: bool
) -> None:
    """It is tolerated for five seconds, on the handle that the submission returned."""
    step = state().after_failure(failure(404), now, submitted_at=submitted_at)

    assert isinstance(step, Sleep) is tolerated
