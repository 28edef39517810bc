"""What one process has seen of an attempt on a cluster bounds its bill from below."""

from __future__ import annotations

import pytest

from nodus_control.suppliers.slurm.watching import Watched


def test_a_program_ran_for_as_long_as_slurm_had_it_running() -> None:
    """By both ends of each answer, and less what Slurm may add."""
    watched = Watched(asked_at=0.0)
    for now in range(100, 1001, 10):
        watched.life.hear(str(now), float(now))
        watched.see_running(now - 2.0, now + 2.0)

    assert watched.at_least_seconds(90.0) == 998.0 - 102.0 - 90.0


def test_what_slurm_has_running_after_the_last_sign_of_life_is_not_counted() -> None:
    """It takes minutes until it says that a node is gone."""
    watched = Watched(asked_at=0.0)
    watched.life.hear("1", 100.0)
    for now in range(100, 5000, 10):
        watched.see_running(float(now), float(now))

    assert watched.at_least_seconds(0.0) == 0.0
    watched.life.hear("2", 1100.0)
    assert watched.at_least_seconds(0.0) == 1000.0


@pytest.mark.parametrize("is_running", [False, True])
def test_nothing_is_counted_of_what_was_not_seen(is_running: bool) -> None:
    """No sign of life, or nothing of the queue."""
    watched = Watched(asked_at=0.0)
    if is_running:
        watched.see_running(0.0, 0.0)
        watched.see_running(500.0, 500.0)
    else:
        watched.life.hear("1", 500.0)

    assert watched.at_least_seconds(0.0) == 0.0
