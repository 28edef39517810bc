"""Looking at something in the database again and again, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

import sqlalchemy.exc

from nodus_ledger.errors import DatabaseUnavailable

from .threads import begin_thread


class Watching:
    """Calls a function every so often, from `start` to `stop`.

    While the database is away it is called all the same, and that it failed is left to whoever works with the database
    to say.

    Args:
        name: the thread's.
        look: what is called.
        every_seconds: how long it waits before each call, in real seconds.
    """

    def __init__(self, name: str, look: Callable[[], object], every_seconds: float) -> None:
        self._name = name
        self._look = look
        self._every_seconds = every_seconds
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; no effect if it has begun."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = begin_thread(self._name, self._run)

    def stop(self) -> None:
        """End, once a call that is under way is over; no effect if it never began."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._stopping.wait(self._every_seconds):
            try:
                self._look()
            except (DatabaseUnavailable, sqlalchemy.exc.DBAPIError):
                continue
