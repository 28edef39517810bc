# Generated from src/nodus/_async/stream_places.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""How many of a client's connections its streams of single jobs take, so that ordinary calls always find others."""

from __future__ import annotations

from .._concurrency import Limiter
from .._reconnect import shares_of_streams


class StreamPlaces:
    """The places of streams of single jobs, followed output included.

    Most may be held for as long as a stream lasts. Streams that find these taken share the rest: each looks at its job,
    reads what is new, and lets the next one have the place. A client of two or three connections has a single place;
    whoever holds it gives way at the next opportunity when somebody waits.

    Args:
        connections: how many the client may have.
    """

    def __init__(self, connections: int) -> None:
        held, turns = shares_of_streams(connections)
        self._held = Limiter(held)
        self._turns = Limiter(turns) if turns else self._held

    def take(self) -> Limiter | None:
        """Take a place that may be held, to be released afterwards; None if all are taken."""
        return self._held if self._held.acquire(0.0) else None

    def take_turn(self, seconds: float) -> Limiter | None:
        """Wait for a place to use for a moment, and to be released then; None if none came free within `seconds`."""
        return self._turns if self._turns.acquire(seconds) else None

    @property
    def free(self) -> int:
        """How many places may be held now."""
        return self._held.free

    @property
    def is_wanted(self) -> bool:
        """Whether whoever holds a place should give way."""
        return self._turns is self._held and self._turns.waiting > 0
