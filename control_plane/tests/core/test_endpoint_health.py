"""When an endpoint is left alone, and when it is given up."""

from __future__ import annotations

import itertools

import pytest

from nodus_core.endpoint_health import (
    GIVEN_UP_AFTER_ATTEMPTS,
    HOLDS_SECONDS,
    EndpointHealth,
    after_attempt,
    hold_ms,
)
from nodus_core.webhook_retries import DELAYS_SECONDS, INTERNAL, NOT_SIGNED, SPREAD, Outcome

ACCEPTED = Outcome(204, 5)
REFUSED = Outcome(500, 5)
SILENT = Outcome(None, 15_000, "timed_out")
DAY_MS = 86_400_000


def through(*steps: tuple[Outcome, int, int]) -> EndpointHealth:
    """Return the health after attempts, each with when it began and ended."""
    health = EndpointHealth()
    for outcome, began, ended in steps:
        health = after_attempt(health, outcome, began=began, ended=ended)
    return health


def test_every_silence_in_a_row_makes_the_hold_longer() -> None:
    """It counts from the end of the attempt, and has a longest."""
    health, now, holds = EndpointHealth(), 0, []
    for _ in range(8):
        health = after_attempt(health, SILENT, began=now, ended=now + 15_000)
        assert health.held_until is not None
        holds.append((health.held_until - now - 15_000) // 1000)
        now = health.held_until + 1

    assert holds == [*HOLDS_SECONDS, HOLDS_SECONDS[-1], HOLDS_SECONDS[-1]]


def test_a_hold_never_changes_the_schedule_of_a_single_delivery() -> None:
    """It is over before the next attempt of a delivery that failed just now, however early that comes."""
    for made in range(1, len(DELAYS_SECONDS)):
        assert hold_ms(made) < DELAYS_SECONDS[made] * 1000 * (1 - SPREAD)


def test_attempts_side_by_side_count_once() -> None:
    """Four that hang together say no more than one."""
    together = through(*[(SILENT, at, at + 15_000) for at in range(4)])
    later = after_attempt(together, SILENT, began=15_001, ended=30_001)

    assert (together.unanswered, together.failed) == (1, 4)
    assert (later.unanswered, later.held_until) == (2, 45_001)
    assert after_attempt(later, SILENT, began=15_001, ended=30_002).held_until == 45_001


@pytest.mark.parametrize("outcome", [REFUSED, Outcome(302, 5)])
def test_any_answer_ends_the_hold(outcome: Outcome) -> None:
    """Whoever answers takes no place for long; but what is refused goes on failing."""
    health = through((SILENT, 0, 1), (SILENT, 2, 3), (outcome, 20_000, 20_005))

    assert (health.unanswered, health.held_until) == (0, None)
    assert (health.failed, health.failing_since) == (3, 1)


def test_what_is_accepted_makes_up_for_everything() -> None:
    """The endpoint is as if it were new."""
    assert through((SILENT, 0, 1), (REFUSED, 2, 3), (ACCEPTED, 4, 5)) == EndpointHealth()


@pytest.mark.parametrize("error", [INTERNAL, NOT_SIGNED])
def test_what_failed_here_says_nothing_about_the_endpoint(error: str) -> None:
    """It was never asked."""
    before = through((SILENT, 0, 1))

    assert after_attempt(before, Outcome(None, 0, error), began=2, ended=3) == before


@pytest.mark.parametrize("outcome", [SILENT, REFUSED])
def test_days_of_nothing_but_failures_end_it(outcome: Outcome) -> None:
    """Five days, and twenty attempts in them."""
    health = EndpointHealth()
    for day, _ in itertools.product(range(5), range(4)):
        health = after_attempt(health, outcome, began=day * DAY_MS, ended=day * DAY_MS + 1)
        assert not health.is_given_up(day * DAY_MS + 1)

    assert health.failed == GIVEN_UP_AFTER_ATTEMPTS
    assert not health.is_given_up(5 * DAY_MS)
    assert health.is_given_up(5 * DAY_MS + 1)
    assert not after_attempt(health, ACCEPTED, began=0, ended=1).is_given_up(9 * DAY_MS)


def test_an_endpoint_that_hears_little_is_not_given_up_for_two_failures() -> None:
    """However far apart they are."""
    assert not through((REFUSED, 0, 1), (REFUSED, 9 * DAY_MS, 9 * DAY_MS + 1)).is_given_up(9 * DAY_MS + 1)
