"""Looking up names that customers chose, whose name servers may be anybody's: never answering is one of their answers.

A lookup cannot be stopped, so its thread is counted until it ends. There are few of them, and of one customer two, so
that a silent name server holds up nobody but the customer who named it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import anyio

from ..concurrency.threads import begin_thread
from ..concurrency.turns import Turns
from ..concurrency.wakeups import Sleeper

PLACES = 16
OF_ONE = 2

Resolve = Callable[[str, int], Sequence[str]]
"""Returns all addresses of a name; blocks. Raises OSError if it has none."""


class Lookups:
    """Looks names up in threads of its own.

    Args:
        resolve: the lookup.
        places: how many may run at once, those that were given up included.
        of_one: how many of one customer.
    """

    def __init__(self, resolve: Resolve, *, places: int = PLACES, of_one: int = OF_ONE) -> None:
        self._resolve = resolve
        self._turns: Turns[_Lookup] = Turns(places, of_one)
        self._lock = threading.Lock()

    @property
    def running(self) -> int:
        """How many lookups have not ended."""
        with self._lock:
            return self._turns.taken

    async def find(self, customer_id: str, name: str, port: int, seconds: float) -> Sequence[str]:
        """Return the addresses of a name; none if it has none, or they are not known within so many seconds."""
        lookup = _Lookup(customer_id, name, port)
        with self._lock:
            begins = self._turns.take(customer_id)
            if not begins:
                self._turns.wait(customer_id, lookup)
        if begins:
            self._begin(lookup)
        with anyio.move_on_after(seconds):
            await lookup.news.wait()
        if not lookup.news.is_set():
            with self._lock:
                self._turns.give_up(customer_id, lookup)
        return lookup.found

    def _begin(self, lookup: _Lookup) -> None:
        following: _Lookup | None = lookup
        try:
            begin_thread("nodus-lookup", self._run, lookup)
        except RuntimeError:
            # As names that are not found in time; nobody waits for a place that no thread gives back.
            while following is not None:
                following = self._end(following)

    def _run(self, lookup: _Lookup) -> None:
        following: _Lookup | None = lookup
        while following is not None:
            try:
                following.found = self._resolve(following.name, following.port)
            except OSError:
                following.found = []
            finally:
                following = self._end(following)

    def _end(self, lookup: _Lookup) -> _Lookup | None:
        """Give back the place of a lookup, tell whoever waits for it, and return the next one, which has the place."""
        lookup.call(lookup.news.set)
        with self._lock:
            return self._turns.release(lookup.customer_id)


class _Lookup(Sleeper):
    """One lookup, and what came of it."""

    def __init__(self, customer_id: str, name: str, port: int) -> None:
        super().__init__()
        self.customer_id = customer_id
        self.name = name
        self.port = port
        self.found: Sequence[str] = []
