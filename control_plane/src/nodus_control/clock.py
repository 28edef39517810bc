"""The clock that everything but leases and signatures goes by: real, scaled, leaping or manual.

Times are Unix milliseconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

RealTime = Callable[[], float]
"""Returns real Unix time, in seconds."""


class Clock(Protocol):
    """What the control plane requires of its clock."""

    @property
    def speed(self) -> float:
        """How many of its seconds pass in a real second; 0 for a clock that stands still."""
        ...

    @property
    def leaps(self) -> bool:
        """Whether the worker moves the clock to whatever falls due next, instead of waiting."""
        ...

    def now(self) -> int:
        """Return the time."""
        ...

    def advance_to(self, milliseconds: int) -> None:
        """Move to a time; a clock never goes back, so an earlier one changes nothing."""
        ...

    def real_seconds_until(self, milliseconds: int) -> float | None:
        """Return how long to wait for a time, in real seconds; None if it never comes by waiting."""
        ...


class Pace(NamedTuple):
    """How a running clock runs. A paused one stands still, and remembers the speed at which it will continue."""

    speed: float
    leaps: bool = False
    is_paused: bool = False


class RunningClock:
    """A clock that runs by itself, `speed` times as fast as real time, from `offset_ms` ahead of it."""

    def __init__(
        self, *, speed: float = 1.0, offset_ms: int = 0, leaps: bool = False, real_time: RealTime = time.time
    ) -> None:
        _require_speed(speed)
        self._speed = speed
        self._leaps = leaps
        self._is_paused = False
        self._real_time = real_time
        self._lock = threading.Lock()
        self._real_anchor = real_time()
        self._anchor = self._real_anchor * 1000 + offset_ms
        self._last = int(self._anchor)

    @property
    def speed(self) -> float:
        """As given; 0 while it is paused."""
        return 0.0 if self._is_paused else self._speed

    @property
    def leaps(self) -> bool:
        """As given; not while it is paused."""
        return self._leaps and not self._is_paused

    @property
    def pace(self) -> Pace:
        """Its current pace."""
        return Pace(self._speed, self._leaps, self._is_paused)

    def change_pace(
        self, *, speed: float | None = None, leaps: bool | None = None, is_paused: bool | None = None
    ) -> None:
        """Change its pace from now on. What is None stays, whoever else changes it at the same time.

        Raises:
            ValueError: the speed is not a positive number.
        """
        if speed is not None:
            _require_speed(speed)
        with self._lock:
            self._anchor, self._real_anchor = float(self._now()), self._real_time()
            self._speed = self._speed if speed is None else speed
            self._leaps = self._leaps if leaps is None else leaps
            self._is_paused = self._is_paused if is_paused is None else is_paused

    def now(self) -> int:
        """Return the time, which never goes back, even if real time is set back."""
        with self._lock:
            return self._now()

    def advance_to(self, milliseconds: int) -> None:
        """Jump ahead to a time."""
        with self._lock:
            ahead = milliseconds - self._now()
            if ahead > 0:
                self._anchor += ahead
                self._last = max(self._last, milliseconds)

    def real_seconds_until(self, milliseconds: int) -> float | None:
        """Return how long until a time, in real seconds: 0 if it has come, None if the clock is paused before it."""
        left = (milliseconds - self.now()) / 1000
        if left <= 0:
            return 0.0
        return None if self._is_paused else left / self._speed

    def _now(self) -> int:
        passed = (self._real_time() - self._real_anchor) * 1000 * self.speed
        self._last = max(self._last, int(self._anchor + passed))
        return self._last


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, start_ms: int = 1_767_225_600_000) -> None:
        self._now = start_ms
        self._lock = threading.Lock()

    @property
    def speed(self) -> float:
        """0."""
        return 0.0

    @property
    def leaps(self) -> bool:
        """No."""
        return False

    def now(self) -> int:
        """Return the time."""
        return self._now

    def advance_to(self, milliseconds: int) -> None:
        """Move to a time."""
        with self._lock:
            self._now = max(self._now, milliseconds)

    def real_seconds_until(self, milliseconds: int) -> float | None:
        """Return 0 for a time that has come, else None."""
        return 0.0 if milliseconds <= self._now else None


def _require_speed(speed: float) -> None:
    if not 0 < speed < float("inf"):
        raise ValueError("`speed` must be a positive number")
