"""Refusing webhook deliveries that were seen before. Standard library only."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from typing import Protocol


class ReplayGuard(Protocol):
    """Remembers deliveries, for `construct_event`.

    A protocol of one method. With several receivers, keep the memory where all of them see it; with Redis it is one
    line:

        def is_first(self, delivery: str, *, now: float, keep_seconds: float) -> bool:
            return bool(redis.set(f"nodus:{delivery}", 1, nx=True, ex=math.ceil(keep_seconds)))
    """

    def is_first(self, delivery: str, *, now: float, keep_seconds: float) -> bool:
        """Remember a delivery; return whether it is seen for the first time.

        Args:
            delivery: identifies the delivery: 64 hexadecimal digits.
            now: the time at which it is verified, in Unix seconds.
            keep_seconds: how long it must be remembered; after that it is too old to be accepted anyway.
        """
        ...


class InMemoryReplayGuard:
    """Remembers deliveries in this process. Safe to share across threads.

    Args:
        max_entries: how many deliveries to remember at most, 1 or more; when full, the oldest is forgotten. Only
            genuine deliveries are remembered, so a sender without the secret cannot push any out.

    Raises:
        ValueError: `max_entries` is below 1.
    """

    def __init__(self, *, max_entries: int = 100_000) -> None:
        if max_entries < 1:
            raise ValueError("`max_entries` must be at least 1")
        self._max_entries = max_entries
        self._lock = threading.Lock()
        # In order of expiry, as long as `keep_seconds` stays the same: what has expired is dropped from the front.
        self._kept_until: OrderedDict[str, float] = OrderedDict()

    def is_first(self, delivery: str, *, now: float, keep_seconds: float) -> bool:
        """Remember a delivery; return whether it is seen for the first time."""
        with self._lock:
            self._forget(now)
            if self._kept_until.get(delivery, -math.inf) >= now:
                return False
            self._kept_until[delivery] = now + keep_seconds
            self._kept_until.move_to_end(delivery)
            if len(self._kept_until) > self._max_entries:
                self._kept_until.popitem(last=False)
            return True

    def _forget(self, now: float) -> None:
        # Strictly less: a signature is still accepted at the last moment for which it must be remembered.
        while self._kept_until and next(iter(self._kept_until.values())) < now:
            self._kept_until.popitem(last=False)

    def __len__(self) -> int:
        """How many deliveries are remembered."""
        return len(self._kept_until)

    def __repr__(self) -> str:
        return f"InMemoryReplayGuard(max_entries={self._max_entries})"


InMemoryReplayGuard.__module__ = "nodus"
