"""A database server's clock, asked over a connection that may be slow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from nodus_control.clock_watch import ServerTime

APART = 1_790_000_000.0


class Slow:
    """A server whose answers take as long as told, all of it on their way back, and the host's monotonic clock."""

    def __init__(self, *seconds: float) -> None:
        self._left: Iterator[float] = iter(seconds)
        self.asked = 0
        self.monotonic = 100.0

    def server_time(self) -> float:
        """Say what time it is."""
        self.asked += 1
        said = self.monotonic + APART
        self.monotonic += next(self._left)
        return said


def server_time(server: Any) -> ServerTime:
    """Ask it as a process does that starts."""
    return ServerTime(server, lambda: server.monotonic)


@pytest.mark.parametrize(
    ("seconds", "asked", "wrong_by"), [((0.2,), 1, 0.1), ((12, 3, 0.2), 3, 0.1), ((12, 3, 12, 12, 12), 5, 1.5)]
)
def test_a_process_that_starts_goes_by_the_quickest_answer(
    seconds: tuple[float, ...], asked: int, wrong_by: float
) -> None:
    """A slow one says little of when it was given; after a few questions, the best has to do."""
    server = Slow(*seconds)
    time = server_time(server)

    assert server.asked == asked
    assert time.now() == pytest.approx(server.monotonic + APART - wrong_by, abs=0.001)


def test_later_a_slow_answer_changes_nothing() -> None:
    """It is asked again soon."""
    server = Slow(0.0, 12)
    time = server_time(server)
    time.compare()

    assert server.asked == 2
    assert time.now() == pytest.approx(server.monotonic + APART, abs=0.001)
