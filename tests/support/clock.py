"""A clock that moves only when told to, so that hours pass in no time and every sleep can be counted."""

from __future__ import annotations

import anyio.lowlevel

from nodus._concurrency import AsyncClock, Clock

NEW_YEAR = 1767225600.0
"""The time of day, in Unix seconds, at which every fake clock starts."""


class _FakeTime:
    """Starts at zero; a sleep moves it at once and is written down.

    Attributes:
        seconds: what it shows.
        slept: the sleeps asked for, in seconds.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.seconds

    def unix_time(self) -> float:
        return NEW_YEAR + self.seconds

    def advance(self, seconds: float) -> None:
        """Let time pass without anybody sleeping, as it does while an answer is awaited."""
        self.seconds += seconds


class AsyncFakeClock(_FakeTime, AsyncClock):
    """What an asynchronous client sleeps on."""

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
        await anyio.lowlevel.checkpoint()


class FakeClock(_FakeTime, Clock):
    """What a synchronous client sleeps on."""

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
