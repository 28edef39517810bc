"""Background work rests in proportion to what it did, where requests came meanwhile."""

from __future__ import annotations

import pytest

from nodus_control.concurrency.giving_way import LONGEST_REST_SECONDS, REST_FACTOR, GivingWay


def test_without_requests_it_never_rests() -> None:
    """However much there is to do."""
    way = GivingWay()

    assert [way.rest_seconds(busy) for busy in (0.0, 0.5, 10.0)] == [0.0] * 3


def test_it_leaves_several_times_as_long_as_it_took() -> None:
    """Only the time since it rested last counts."""
    way = GivingWay()
    way.rest_seconds(1.0)
    way.news()

    assert way.rest_seconds(1.01) == pytest.approx(REST_FACTOR * 0.01)
    assert way.rest_seconds(1.02) == 0.0

    way.news()
    assert way.rest_seconds(1.03) == pytest.approx(REST_FACTOR * 0.01)


def test_a_rest_ends() -> None:
    """So that placing goes on under any load."""
    way = GivingWay()
    way.news()

    assert way.rest_seconds(60.0) == LONGEST_REST_SECONDS


def test_the_first_job_after_a_quiet_while_is_placed_at_once() -> None:
    """A thread that was hardly busy hardly rests."""
    way = GivingWay()
    for second in range(60):
        way.rest_seconds(second * 0.001)
    way.news()

    assert way.rest_seconds(0.06) < 0.01
