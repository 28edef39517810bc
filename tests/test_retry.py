"""Decisions about retries, apart from any waiting: how long, how often, what a hint of the server counts for."""

from __future__ import annotations

import math
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nodus
from nodus._errors import Failure
from nodus._http import retry_after, should_retry
from nodus._retry import RetryState, is_transient

NOON = 1767268800.0


def failure(status: int | None = 500, **facts: Any) -> Failure:
    """A failed attempt."""
    kinds = {429: nodus.RateLimitError, None: nodus.APIConnectionError}
    return Failure(kinds.get(status, nodus.APIError)("It failed.", status_code=status, **facts))


def state(*, max_retries: int = 1000, deadline: float | None = None, seed: int = 0) -> RetryState:
    """The retries of one call."""
    return RetryState(max_retries=max_retries, deadline=deadline, rng=random.Random(seed))


@given(seed=st.integers(0, 10**6), count=st.integers(1, 40))
def test_jitter_is_decorrelated_and_bounded(seed: int, count: int) -> None:
    """Each sleep lies between half a second and three times the one before, and is never above eight seconds."""
    retries = state(seed=seed)
    previous = 0.5

    for _ in range(count):
        delay = retries.delay_after(failure(), 0.0)

        assert delay is not None
        assert 0.5 <= delay <= min(8.0, 3 * previous)
        previous = delay


def test_jitter_spreads_and_grows() -> None:
    """Clients that failed together do not retry together, and wait longer each time."""
    runs = [[state(seed=seed)] for seed in range(200)]
    first = [retries.delay_after(failure(), 0.0) or 0.0 for (retries,) in runs]
    later = [[retries.delay_after(failure(), 0.0) or 0.0 for _ in range(20)][-1] for (retries,) in runs]

    assert len(set(first)) == 200
    assert max(first) <= 1.5
    assert sum(later) / 200 > 2 * sum(first) / 200


@given(hint=st.floats(0, 120), seed=st.integers(0, 100))
def test_a_hint_is_obeyed_exactly_on_429_and_is_a_lower_bound_elsewhere(hint: float, seed: int) -> None:
    """On a 503, clients that all waited exactly as long would return together."""
    limited = state(seed=seed).delay_after(failure(429, retry_after=hint), 0.0)
    unavailable = state(seed=seed).delay_after(failure(503, retry_after=hint), 0.0)
    jitter = state(seed=seed).delay_after(failure(503), 0.0)

    assert limited == hint
    assert jitter is not None
    assert unavailable == max(hint, jitter)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
@pytest.mark.parametrize(("hint", "expected"), [(120.0, True), (120.001, False), (86400.0, False)])
def test_a_hint_above_two_minutes_is_left_to_the_caller(status: int, hint: float, expected: bool) -> None:
    """The error is raised at once, rather than slept out or retried early."""
    delay = state().delay_after(failure(status, retry_after=hint), 0.0)

    assert (delay is not None) is expected


@pytest.mark.parametrize(("deadline", "expected"), [(10.1, 10.0), (10.0, None), (9.0, None)])
def test_a_hint_past_the_deadline_is_not_slept(deadline: float, expected: float | None) -> None:
    """No time would be left for the retry."""
    assert state(deadline=deadline).delay_after(failure(429, retry_after=10.0), 0.0) == expected


def test_the_deadline_is_on_the_clock_of_the_call() -> None:
    """The delay must fit into the time that is left."""
    retries = state(deadline=110.0)

    assert retries.attempt_deadline(100.0, 30.0) == 110.0
    assert retries.attempt_deadline(50.0, 30.0) == 80.0
    assert state().attempt_deadline(100.0, 30.0) == 130.0
    assert retries.delay_after(failure(429, retry_after=5.0), 100.0) == 5.0
    assert retries.delay_after(failure(429, retry_after=5.0), 106.0) is None


@pytest.mark.parametrize("max_retries", range(4))
def test_the_budget_is_the_number_of_retries(max_retries: int) -> None:
    """There is one attempt more than retries."""
    retries = state(max_retries=max_retries)
    delays = [retries.delay_after(failure(), 0.0) for _ in range(max_retries + 1)]

    assert [delay is None for delay in delays] == [False] * max_retries + [True]
    assert retries.attempts == max_retries + 1


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([(500, True)], True),
        ([(None, True)], True),
        ([(None, False)], False),
        ([(400, False)], False),
        ([(None, True), (None, False)], True),
        ([(500, True), (429, False)], True),
        ([(500, True), (401, False)], True),
        ([(500, True), (422, False)], False),
        ([(None, True), (402, False)], False),
        ([(None, True), (404, False), (None, True)], True),
        ([(429, False), (None, False)], False),
    ],
)
def test_what_is_known_of_a_call_is_known_of_all_its_attempts(
    outcomes: list[tuple[int | None, bool]], expected: bool
) -> None:
    """Once an attempt may have had an effect, only a response about its key settles the outcome."""
    retries = state()
    for status, unknown in outcomes:
        retries.delay_after(failure(status, outcome_unknown=unknown), 0.0)

    assert retries.outcome_unknown is expected


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        (failure(429), True),
        (failure(503, outcome_unknown=True), True),
        (failure(500, outcome_unknown=True), False),
        (failure(409), False),
        (failure(None, outcome_unknown=True), False),
        (failure(None, outcome_unknown=False), True),
        (Failure(nodus.APIError("x", status_code=500), server_verdict=True), False),
        (Failure(nodus.RateLimitError("x", status_code=429), server_verdict=False), False),
    ],
)
def test_what_must_not_happen_twice_is_retried_only_where_nothing_was_done(attempt: Failure, expected: bool) -> None:
    """A 429, a 503, and a connection that was never opened show that nothing was done."""
    assert is_transient(attempt, repeatable=False) is expected


HINTS = [
    ({}, None),
    ({"retry-after": "7"}, 7.0),
    ({"retry-after": " 7 "}, 7.0),
    ({"retry-after": "0"}, 0.0),
    ({"retry-after": "1.5"}, 1.5),
    ({"retry-after-ms": "1500"}, 1.5),
    ({"retry-after-ms": "0.5"}, 0.0005),
    ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
    ({"retry-after-ms": "nan", "retry-after": "7"}, 7.0),
    ({"retry-after-ms": "-1", "retry-after": "7"}, 7.0),
    ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
    ({"retry-after-ms": "soon"}, None),
    ({"retry-after": ""}, None),
    ({"retry-after": "nan"}, None),
    ({"retry-after": "NaN"}, None),
    ({"retry-after": "inf"}, None),
    ({"retry-after": "-inf"}, None),
    ({"retry-after": "1e999"}, None),
    ({"retry-after": "-1"}, None),
    ({"retry-after": "soon"}, None),
    ({"retry-after": "1_0"}, None),
    ({"retry-after": "０"}, None),
    ({"retry-after": "٣"}, None),
    ({"retry-after": "7, 8"}, 8.0),
    ({"retry-after": "8,7"}, 8.0),
    ({"retry-after": "7, soon"}, 7.0),
    ({"retry-after": "7, -8, nan,"}, 7.0),
    ({"retry-after": "soon, later"}, None),
    ({"retry-after-ms": "250, 500"}, 0.5),
    ({"retry-after": "7, Thu, 01 Jan 2026 12:00:09 GMT"}, 9.0),
    ({"retry-after": "Thu, 01 Jan 2026 12:00:09 GMT, 7"}, 9.0),
    ({"retry-after": "Thu, 01 Jan 2026 12:00:03 GMT, Thursday, 01-Jan-26 12:00:09 GMT"}, 9.0),
    ({"retry-after": "0x10"}, None),
    ({"retry-after": "Thu, 01 Jan 2026 12:00:09 GMT"}, 9.0),
    ({"retry-after": "Thu, 01 Jan 2026 12:00:09"}, 9.0),
    ({"retry-after": "Thu, 01 Jan 2026 12:00:09 -0000"}, 9.0),
    ({"retry-after": "Thursday, 01-Jan-26 12:00:09 GMT"}, 9.0),
    ({"retry-after": "Thu Jan  1 12:00:09 2026"}, 9.0),
    ({"retry-after": "Thu, 01 Jan 2026 12:00:00 GMT"}, 0.0),
    ({"retry-after": "Thu, 01 Jan 2026 11:59:59 GMT"}, None),
    ({"retry-after": "Thu, 01 Jan 2026 12:00:09 GMT", "date": "Thu, 01 Jan 2026 12:00:02 GMT"}, 7.0),
    ({"retry-after": "Tue, 01 Jan 2030 12:00:09 GMT", "date": "Tue, 01 Jan 2030 12:00:02 GMT"}, 7.0),
    ({"retry-after": "Thu, 01 Jan 2026 12:00:09 GMT", "date": "garbage"}, 9.0),
    ({"retry-after": "Thu, 99 Jan 2026 12:00:09 GMT"}, None),
    ({"retry-after": "Thu, 01 Jan 99999 12:00:09 GMT"}, None),
]


@pytest.mark.parametrize(("headers", "expected"), HINTS, ids=[str(headers) for headers, _ in HINTS])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_a_retry_after_is_read_in_all_its_forms(
    headers: dict[str, str], expected: float | None, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These are milliseconds, seconds, and a date relative to the response's own."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        hint = retry_after(headers, now=NOON)
    finally:
        monkeypatch.undo()
        time.tzset()

    assert hint == expected


@given(value=st.text(max_size=40), other=st.text(max_size=20))
def test_no_retry_after_can_do_harm(value: str, other: str) -> None:
    """The result is a number of seconds that can be slept, or None."""
    for headers in ({"retry-after": value, "date": other}, {"retry-after-ms": value}):
        hint = retry_after(headers, now=NOON)

        assert hint is None or (math.isfinite(hint) and hint >= 0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", True), ("false", False), ("TRUE", True), (" False ", False), ("1", None), ("", None), ("maybe", None)],
)
def test_the_servers_own_word_is_true_or_false(value: str, expected: bool | None) -> None:
    """Any other value of the header is ignored."""
    assert should_retry({"x-should-retry": value}) is expected
    assert should_retry({}) is None
