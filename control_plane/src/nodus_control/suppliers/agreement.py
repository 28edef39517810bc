"""Whether this process and the others of its database go by the same suppliers, asked again and again."""

from __future__ import annotations

import logging

from nodus_core.catalogue import Catalogue
from nodus_ledger.jobs.accepted_suppliers import AcceptedSuppliers

from ..concurrency.watching import Watching

LOOK_SECONDS = 2.0
"""How often it is asked, in real seconds: within five, every process knows."""

OK = "ok"

_logger = logging.getLogger(__name__)


class Agreement:
    """Compares the hash of this process's catalogue with the accepted one.

    Args:
        accepted: where that is kept.
        catalogue: what this process goes by.
    """

    def __init__(self, accepted: AcceptedSuppliers, catalogue: Catalogue) -> None:
        self._accepted = accepted
        self._own = catalogue.sha256
        self._problem: str | None = None
        self._watching = Watching("nodus-suppliers", self.look, LOOK_SECONDS)

    def check(self) -> str:
        """Return `ok`, or why this process is not ready."""
        return self._problem or OK

    def start(self) -> None:
        """Go on comparing, in a thread."""
        self._watching.start()

    def stop(self) -> None:
        """Stop comparing."""
        self._watching.stop()

    def look(self) -> None:
        """Compare once."""
        accepted = self._accepted.sha256()
        problem = None
        if accepted is not None and accepted != self._own:
            problem = f"another suppliers file was accepted: its hash is {accepted}, and this process has {self._own}"
        if problem is not None and problem != self._problem:
            _logger.warning("%s: nothing new is placed from here; restart with the accepted file", problem)
        elif problem is None and self._problem is not None:
            _logger.warning("the suppliers file of this process is the accepted one again")
        self._problem = problem
