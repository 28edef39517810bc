"""How many streams may be open: of a key, and in all. Pure.

Where all places are taken, a customer who has few gets the place of one who has many: nobody can keep others out.
"""

from __future__ import annotations

from typing import Generic, TypeVar

OF_KEY = 20
IN_ALL = 1000

_Stream = TypeVar("_Stream")


class TooManyOfKey(Exception):
    """The key has as many streams as it may have."""


class TooManyInAll(Exception):
    """There are as many streams as there may be, and nobody has so many more than this customer as to give one up."""


class StreamSlots(Generic[_Stream]):
    """The open streams.

    Args:
        of_key: how many one key may have.
        in_all: how many there may be.
    """

    def __init__(self, of_key: int = OF_KEY, in_all: int = IN_ALL) -> None:
        self._of_key = of_key
        self._in_all = in_all
        self._keys: dict[str, int] = {}
        # In the order of their opening.
        self._customers: dict[str, dict[_Stream, str]] = {}
        self.count = 0

    def open(self, customer_id: str, key_id: str, stream: _Stream) -> _Stream | None:
        """Take a place; return the stream that has to end for it, if there is one: its place is gone already.

        Raises:
            TooManyOfKey: of this key there are 20.
            TooManyInAll: there are 1,000.
        """
        if self._keys.get(key_id, 0) >= self._of_key:
            raise TooManyOfKey
        displaced = None
        if self.count >= self._in_all:
            largest = max(self._customers, key=lambda each: len(self._customers[each]))
            if len(self._customers[largest]) <= len(self._customers.get(customer_id, ())) + 1:
                raise TooManyInAll
            displaced = next(reversed(self._customers[largest]))
            self.close(largest, displaced)
        self._keys[key_id] = self._keys.get(key_id, 0) + 1
        self._customers.setdefault(customer_id, {})[stream] = key_id
        self.count += 1
        return displaced

    def close(self, customer_id: str, stream: _Stream) -> None:
        """Give a place back; no effect for one that has none."""
        streams = self._customers.get(customer_id, {})
        key_id = streams.pop(stream, None)
        if key_id is None:
            return
        self.count -= 1
        if not streams:
            del self._customers[customer_id]
        self._keys[key_id] -= 1
        if not self._keys[key_id]:
            del self._keys[key_id]
