"""Says a known condition in one line when it begins, and again once a minute while it lasts: never at each attempt.

What nobody expected is said with its traceback, and just as rarely if it is the same again.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable

from nodus_ledger.errors import DatabaseUnavailable

REPEAT_SECONDS = 60.0
SETTLED_SECONDS = 5.0
"""How long nothing may have failed before it counts as over: some conditions let one attempt in two succeed."""

_MOST_REMEMBERED = 64

_DIGITS = re.compile(r"[0-9]+")


class Trouble:
    """What one part of a control plane has trouble with; used by any number of threads.

    Args:
        logger: where it is said.
        what: what that part does, as a line begins.
        clock: gives seconds; from one moment to another is all that counts.
    """

    def __init__(self, logger: logging.Logger, what: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._what = what
        self._clock = clock
        self._lock = threading.Lock()
        self._said: dict[str, float] = {}
        self._last = 0.0

    def say(self, exc: Exception) -> None:
        """Say what happened, unless it was said a moment ago. Called where the exception is handled."""
        is_known = isinstance(exc, DatabaseUnavailable)
        # Numbers differ from one time to the next, of processes, ports and rows.
        if self._was_said(_DIGITS.sub("", f"{type(exc).__name__} {exc}")):
            return
        self._logger.log(
            logging.WARNING if is_known else logging.ERROR,
            "%s: %s; trying again",
            self._what,
            exc if is_known else f"{type(exc).__name__}: {exc}",
            exc_info=None if is_known else exc,
        )

    def is_over(self) -> None:
        """Note that it went well. After a while without trouble that is said, and what comes next at once."""
        if not self._said or self._clock() - self._last < SETTLED_SECONDS:
            return
        with self._lock:
            self._said.clear()
        self._logger.warning("%s: going on", self._what)

    def _was_said(self, what: str) -> bool:
        now = self._clock()
        with self._lock:
            self._last = now
            said = self._said.get(what)
            if said is not None and now - said < REPEAT_SECONDS:
                return True
            if len(self._said) >= _MOST_REMEMBERED:
                self._said.clear()
            self._said[what] = now
            return False


def unavailable_in(exc: BaseException) -> DatabaseUnavailable | None:
    """Find a database's unavailability in an exception, which may be a group of several."""
    if isinstance(exc, DatabaseUnavailable):
        return exc
    for inner in getattr(exc, "exceptions", ()):
        found = unavailable_in(inner)
        if found is not None:
            return found
    return None
