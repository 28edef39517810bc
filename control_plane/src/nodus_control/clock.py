"""The clock that everything but leases and signatures goes by: real, scaled, leaping or manual.

Times are Unix milliseconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from nodus_core.times import at_one_moment

RealTime = Callable[[], float]
"""Returns real Unix time, in seconds."""

STEP_SECONDS = 1.0
"""What real time may gain or lose against the monotonic clock between two readings before that is a step."""

SLOWEST = 0.5
"""How fast a clock still runs, as a share of its speed, while it waits for real time that was set back."""

_logger = logging.getLogger(__name__)


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
    """A clock that runs by itself, `speed` times as fast as real time, from `offset_ms` ahead of it.

    It follows real time, and says in a warning when that was set. After a step back it keeps its time, and runs at half
    its speed until real time has caught up: it never stands still, and never goes back.
    """

    def __init__(
        self,
        *,
        speed: float = 1.0,
        offset_ms: int = 0,
        leaps: bool = False,
        real_time: RealTime = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        _require_speed(speed)
        self._speed = speed
        self._leaps = leaps
        self._is_paused = False
        self._real_time = real_time
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._last_real, self._last_monotonic = at_one_moment(real_time, monotonic)
        self._real_anchor = self._last_real
        self._anchor = self._real_anchor * 1000 + offset_ms
        self._last = self._anchor

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
            self._now()
            self._anchor, self._real_anchor = self._last, self._last_real
            self._speed = self._speed if speed is None else speed
            self._leaps = self._leaps if leaps is None else leaps
            self._is_paused = self._is_paused if is_paused is None else is_paused

    def now(self) -> int:
        """Return the time, which never goes back, even if real time is set back."""
        with self._lock:
            return int(self._now())

    def advance_to(self, milliseconds: int) -> None:
        """Jump ahead to a time."""
        with self._lock:
            ahead = milliseconds - self._now()
            if ahead > 0:
                self._anchor += ahead
                self._last = max(self._last, float(milliseconds))

    def real_seconds_until(self, milliseconds: int) -> float | None:
        """Return how long until a time, in real seconds: 0 if it has come, None if the clock is paused before it."""
        left = (milliseconds - self.now()) / 1000
        if left <= 0:
            return 0.0
        return None if self._is_paused else left / self._speed

    def _now(self) -> float:
        real, monotonic = at_one_moment(self._real_time, self._monotonic)
        passed = max(monotonic - self._last_monotonic, 0.0)
        step = real - self._last_real - passed
        self._last_real, self._last_monotonic = real, monotonic
        if abs(step) > STEP_SECONDS:
            _warn_of_step(step)
        target = self._anchor + (real - self._real_anchor) * 1000 * self.speed
        self._last = max(target, self._last + passed * 1000 * self.speed * SLOWEST)
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


def _warn_of_step(step: float) -> None:
    if step > 0:
        _logger.warning("real time was set forward by %.1f s: the control plane's clock follows", step)
    else:
        _logger.warning(
            "real time was set back by %.1f s: the control plane's clock keeps its time, and runs at half its speed "
            "until real time has caught up",
            -step,
        )


def _require_speed(speed: float) -> None:
    if not 0 < speed < float("inf"):
        raise ValueError("`speed` must be a positive number")
