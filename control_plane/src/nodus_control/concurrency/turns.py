"""Whose turn it is to have one of a few threads, so that one customer's requests never wait for all of another's. Pure.

A flow is whatever is to be treated as one: a customer, or the address of clients who are not known yet. No flow holds
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
        of_one: how many of them a flow may hold; half of them by default.
    """

    def __init__(self, places: int, of_one: int | None = None) -> None:
        self._free = places
        self._most = max(1, places // 2) if of_one is None else of_one
        self._held: dict[str, int] = {}
        # In the order in which the flows are served next.
        self._waiting: dict[str, deque[_Waiter]] = {}

    def take(self, flow: str) -> bool:
        """Take a place for a flow that may have one now."""
        held = self._held.get(flow, 0)
        if self._free and held < self._most and flow not in self._waiting:
            self._free -= 1
            self._held[flow] = held + 1
            return True
        return False

    def wait(self, flow: str, waiter: _Waiter) -> None:
        """Queue behind the others of the flow; `release` returns the waiter when its flow has taken a place for it."""
        self._waiting.setdefault(flow, deque()).append(waiter)

    def give_up(self, flow: str, waiter: _Waiter) -> bool:
        """Leave the queue; False for one that has a place already."""
        queue = self._waiting.get(flow)
        if queue is None or waiter not in queue:
            return False
        queue.remove(waiter)
        if not queue:
            del self._waiting[flow]
        return True

    def release(self, flow: str) -> _Waiter | None:
        """Give a place back; return who has it now, if somebody waited who may have it."""
        self._free += 1
        left = self._held[flow] - 1
        if left:
            self._held[flow] = left
        else:
            del self._held[flow]
        for next_flow, queue in self._waiting.items():
            held = self._held.get(next_flow, 0)
            if held < self._most:
                waiter = queue.popleft()
                del self._waiting[next_flow]
                if queue:
                    self._waiting[next_flow] = queue
                self._free -= 1
                self._held[next_flow] = held + 1
                return waiter
        return None

    @property
    def taken(self) -> int:
        """How many places are held."""
        return sum(self._held.values())

    def held(self, flow: str) -> int:
        """How many places a flow holds."""
        return self._held.get(flow, 0)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))
