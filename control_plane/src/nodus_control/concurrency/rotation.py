"""What waits to be done, by whose it is: each flow in its turn, so that nobody waits behind all of another's. Pure.

A flow is whatever is to be treated as one: a customer, or the address of clients who are not known yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class Rotation(Generic[_Item]):
    """The items that wait, in the order in which they are taken: one of each flow, then another of each, and so on."""

    def __init__(self) -> None:
        # In the order in which the flows are served next.
        self._waiting: dict[str, deque[_Item]] = {}

    def add(self, flow: str, item: _Item) -> None:
        """Put an item behind the others of its flow; a flow that had none comes behind the other flows."""
        queue = self._waiting.get(flow)
        if queue is None:
            self._waiting[flow] = deque((item,))
        else:
            queue.append(item)

    def remove(self, flow: str, item: _Item) -> bool:
        """Take an item out; False where it has been taken already."""
        queue = self._waiting.get(flow)
        if queue is None or item not in queue:
            return False
        queue.remove(item)
        if not queue:
            del self._waiting[flow]
        return True

    def take(self, most: int) -> list[_Item]:
        """Take so many items at most. A flow gets more than its part only of what the others leave."""
        taken: list[_Item] = []
        waiting = self._waiting
        while waiting and len(taken) < most:
            flow = next(iter(waiting))
            queue = waiting.pop(flow)
            if waiting:
                taken.append(queue.popleft())
            else:
                # Nobody else waits.
                while queue and len(taken) < most:
                    taken.append(queue.popleft())
            if queue:
                waiting[flow] = queue
        return taken

    def remove_if(self, is_wanted: Callable[[_Item], bool]) -> list[_Item]:
        """Take out all items of which something is true; return them."""
        found = [(flow, item) for flow, queue in self._waiting.items() for item in queue if is_wanted(item)]
        for flow, item in found:
            self.remove(flow, item)
        return [item for _, item in found]

    def __iter__(self) -> Iterator[_Item]:
        return chain.from_iterable(self._waiting.values())

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __bool__(self) -> bool:
        return bool(self._waiting)
