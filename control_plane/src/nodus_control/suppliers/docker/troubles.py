"""What goes wrong in the background of a driver: said once in the log, and kept for whoever asks how it is going."""

from __future__ import annotations

import logging
import threading

LONGEST = 1_000
"""Of how many things it is remembered that they went wrong."""

_logger = logging.getLogger(__name__)


class Troubles:
    """What goes wrong, by what it is about. Threads share it.

    Args:
        supplier: whose driver it is.
    """

    def __init__(self, supplier: str) -> None:
        self._supplier = supplier
        self._lock = threading.Lock()
        self._said: dict[tuple[str, str], tuple[str, str]] = {}

    def note(self, work: str, of: str, shown: str, logged: str | None = None) -> bool:
        """Remember that something went wrong, and log it unless it was the same the last time.

        Args:
            work: what was to be done, as a verb.
            of: to what.
            shown: a sentence for customers and operators, without addresses or secrets.
            logged: what the log says, where it may say more.

        Returns:
            Whether it was not the same.
        """
        said = shown, logged or shown
        with self._lock:
            is_news = self._said.pop((work, of), None) != said
            self._said[work, of] = said
            if len(self._said) > LONGEST:
                del self._said[next(iter(self._said))]
        if is_news:
            _logger.warning("supplier %s: %s %s: %s; it is tried again", self._supplier, work, of, said[1])
        return is_news

    def over(self, work: str, of: str) -> None:
        """Forget it: it was done."""
        with self._lock:
            self._said.pop((work, of), None)

    def of(self, work: str, of: str) -> str | None:
        """Return the sentence about what went wrong the last time; None for nothing."""
        with self._lock:
            said = self._said.get((work, of))
        return None if said is None else said[0]
