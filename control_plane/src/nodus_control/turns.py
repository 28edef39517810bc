"""Whose turn it is to have one of a few threads, so that one customer's requests never wait for all of another's. Pure.

A lane is whatever is to be treated as one: a customer, or the address of clients who are not known yet. No lane holds
more than its part of the places (half of them), and those that wait get theirs in rotation.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

_Waiter = TypeVar("_Waiter")


class Turns(Generic[_Waiter]):
    """The places, who holds them, and who waits.

    Args:
        places: how many there are.
        of_one: how many of them a lane may hold; half of them by default.
    """

    def __init__(self, places: int, of_one: int | None = None) -> None:
        self._free = places
        self._most = max(1, places // 2) if of_one is None else of_one
        self._held: dict[str, int] = {}
        # In the order in which the lanes are served next.
        self._waiting: dict[str, deque[_Waiter]] = {}

    def take(self, lane: str) -> bool:
        """Take a place for a lane that may have one now."""
        held = self._held.get(lane, 0)
        if self._free and held < self._most and lane not in self._waiting:
            self._free -= 1
            self._held[lane] = held + 1
            return True
        return False

    def wait(self, lane: str, waiter: _Waiter) -> None:
        """Queue behind the others of the lane; `release` returns the waiter when its lane has taken a place for it."""
        self._waiting.setdefault(lane, deque()).append(waiter)

    def give_up(self, lane: str, waiter: _Waiter) -> bool:
        """Leave the queue; False for one that has a place already."""
        queue = self._waiting.get(lane)
        if queue is None or waiter not in queue:
            return False
        queue.remove(waiter)
        if not queue:
            del self._waiting[lane]
        return True

    def release(self, lane: str) -> _Waiter | None:
        """Give a place back; return who has it now, if somebody waited who may have it."""
        self._free += 1
        left = self._held[lane] - 1
        if left:
            self._held[lane] = left
        else:
            del self._held[lane]
        for next_lane, queue in self._waiting.items():
            held = self._held.get(next_lane, 0)
            if held < self._most:
                waiter = queue.popleft()
                del self._waiting[next_lane]
                if queue:
                    self._waiting[next_lane] = queue
                self._free -= 1
                self._held[next_lane] = held + 1
                return waiter
        return None

    @property
    def taken(self) -> int:
        """How many places are held."""
        return sum(self._held.values())

    def held(self, lane: str) -> int:
        """How many places a lane holds."""
        return self._held.get(lane, 0)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))
