"""The memory of deliveries that were seen: what it keeps, how long, and how much."""

from __future__ import annotations

import threading

import pytest

import nodus

NOW = 1_767_225_603.0


def test_a_delivery_is_first_once() -> None:
    """Until the moment up to which it is kept, at which a signature is still accepted."""
    guard = nodus.InMemoryReplayGuard()

    assert guard.is_first("a", now=NOW, keep_seconds=600)
    assert not guard.is_first("a", now=NOW + 600, keep_seconds=600)
    assert guard.is_first("a", now=NOW + 600.5, keep_seconds=600)


def test_the_guard_forgets_after_the_time_it_was_told() -> None:
    """It holds no more than it needs."""
    guard = nodus.InMemoryReplayGuard()
    for number in range(10):
        assert guard.is_first(str(number), now=NOW + number, keep_seconds=600)

    assert not guard.is_first("9", now=NOW + 605.5, keep_seconds=600)
    assert guard.is_first("5", now=NOW + 605.5, keep_seconds=600)
    assert len(guard) == 5


def test_the_guard_stays_within_its_bounds() -> None:
    """The oldest goes first."""
    guard = nodus.InMemoryReplayGuard(max_entries=3)
    for number in range(10):
        guard.is_first(str(number), now=NOW, keep_seconds=600)

    assert len(guard) == 3
    assert not guard.is_first("9", now=NOW, keep_seconds=600)
    with pytest.raises(ValueError, match="max_entries"):
        nodus.InMemoryReplayGuard(max_entries=0)


def test_the_guard_lets_one_of_many_threads_through() -> None:
    """Two deliveries of the same bytes at the same moment are one delivery and one replay."""
    guard = nodus.InMemoryReplayGuard()
    start = threading.Barrier(8)
    accepted: list[int] = []

    def receive(thread: int) -> None:
        start.wait()
        accepted.extend(number for number in range(500) if guard.is_first(str(number), now=NOW, keep_seconds=600))

    threads = [threading.Thread(target=receive, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(accepted) == list(range(500))
