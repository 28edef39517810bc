"""Which connections a server keeps open. Pure; the time is passed in.

A connection is busy while its request is answered. Otherwise it is unfinished (its request has not come whole) or idle
(kept alive after an answer); those cost their client nothing, so they are the ones that give way: where there are too
many, the address that has the most of them loses its oldest, the idle ones first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

HEAD_SECONDS = 10.0
"""How long a request's head may take to come. So may the whole of a request that names no key."""
BODY_SECONDS = 30.0

_Connection = TypeVar("_Connection")


class _OfAddress(Generic[_Connection]):
    def __init__(self) -> None:
        # Both in the order in which they became so.
        self.idle: dict[_Connection, None] = {}
        self.unfinished: dict[_Connection, None] = {}

    def __len__(self) -> int:
        return len(self.idle) + len(self.unfinished)


class Connections(Generic[_Connection]):
    """The open connections of one server.

    Args:
        most: how many there may be; of unfinished ones, half of that.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._takes_more = True
        self._addresses: dict[_Connection, str] = {}
        self._waiting: dict[str, _OfAddress[_Connection]] = {}
        self._deadlines: dict[_Connection, float] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    @property
    def unfinished(self) -> int:
        """How many have not sent a whole request."""
        return len(self._deadlines)

    def opened(self, connection: _Connection, address: str, deadline: float) -> Iterator[_Connection]:
        """Note a new connection, of which a request's head must come by the deadline; yield those to be closed."""
        if not self._takes_more:
            yield connection
            return
        self._addresses[connection] = address
        if len(self._addresses) > self.most:
            victim = self._victim()
            self.closed(connection if victim is None else victim)
            yield connection if victim is None else victim
        if connection in self._addresses:
            yield from self.expects(connection, deadline)

    def take_no_more(self) -> None:
        """Have every connection closed that is opened from now on."""
        self._takes_more = False

    def expects(self, connection: _Connection, deadline: float) -> Iterator[_Connection]:
        """Note that a request, or its rest, must come by a deadline; yield those to be closed."""
        address = self._addresses.get(connection)
        if address is None:
            return
        held = self._waiting.get(address)
        if held is None:
            held = self._waiting[address] = _OfAddress()
        held.idle.pop(connection, None)
        held.unfinished[connection] = None
        self._deadlines[connection] = deadline
        if len(self._deadlines) > max(1, self.most // 2):
            victim = self._victim(only_unfinished=True)
            if victim is not None:
                self.closed(victim)
                yield victim

    def busy(self, connection: _Connection) -> None:
        """Note that a whole request has come."""
        self._deadlines.pop(connection, None)
        address = self._addresses.get(connection)
        held = None if address is None else self._waiting.get(address)
        if address is None or held is None:
            return
        held.idle.pop(connection, None)
        held.unfinished.pop(connection, None)
        if not held:
            del self._waiting[address]

    def idle(self, connection: _Connection) -> None:
        """Note that its request was answered."""
        self.busy(connection)
        address = self._addresses.get(connection)
        if address is not None:
            self._waiting.setdefault(address, _OfAddress()).idle[connection] = None

    def closed(self, connection: _Connection) -> None:
        """Forget a connection."""
        self.busy(connection)
        self._addresses.pop(connection, None)

    def overdue(self, now: float) -> list[_Connection]:
        """Return those whose deadline is over."""
        return [connection for connection, deadline in self._deadlines.items() if deadline <= now]

    def _victim(self, *, only_unfinished: bool = False) -> _Connection | None:
        """Return who gives way: None if all are busy."""
        waiting = [held for held in self._waiting.values() if held.unfinished or not only_unfinished]
        if not waiting:
            return None
        held = max(waiting, key=lambda each: len(each.unfinished) if only_unfinished else len(each))
        return next(iter(held.unfinished if only_unfinished or not held.idle else held.idle))
