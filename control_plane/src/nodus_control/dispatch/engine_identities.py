"""Which engine each supplier's is: remembered in the database from the first contact on, and checked.

Two workers on two hosts could have two engines under one name, and each would take the other's jobs for lost. Whoever
reaches another one than the first does not serve that supplier, and says so.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable

from nodus_ledger.database.settings import Settings

from ..suppliers.protocol import Driver

_logger = logging.getLogger(__name__)


class EngineIdentities:
    """Checks the identities of engines. In any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._identities: dict[str, str | None] = {}
        self._doubts: Counter[str] = Counter()
        self._others: set[str] = set()

    @property
    def others(self) -> frozenset[str]:
        """The suppliers under whose names other engines have been reached here than those on record."""
        with self._lock:
            return frozenset(self._others)

    def is_own(self, supplier: str, driver: Driver) -> bool:
        """Say whether the engine that is reached here is the supplier's.

        The engine is asked once, after a doubt, as long as it is another, and where none is on record. That is read
        each time: an operator may have had it replaced, and nothing is put on record that was heard before.

        Raises:
            EngineUnavailable: it cannot be asked now.
        """
        on_record = self._settings.recorded_engine(supplier)
        with self._lock:
            is_known = supplier in self._identities and supplier not in self._others
            identity = self._identities.get(supplier)
            doubts = self._doubts[supplier]
        if not is_known or (identity is not None and on_record is None):
            identity = driver.identity()
        if identity is None:
            pinned = None
        else:
            pinned = self._settings.engine_of(supplier, identity) if on_record is None else on_record
        with self._lock:
            if doubts != self._doubts[supplier]:
                return identity == pinned  # as it was before the doubt, perhaps long ago
            self._identities[supplier] = identity
            if identity == pinned:
                self._others.discard(supplier)
                return True
            is_news = supplier not in self._others
            self._others.add(supplier)
        if is_news:
            _logger.error(
                "supplier %s: the engine that is reached here is not the one that has had its jobs so far. This worker "
                "does not serve it: reach the other engine from here, give this one a name of its own, or, where it "
                "replaces the other, run `nodus-control suppliers repin`",
                supplier,
            )
        return False

    def of_the_same(self, supplier: str, others: Iterable[str]) -> list[str]:
        """Return the suppliers, of some that one driver serves, for whom the engine of `supplier` can speak.

        It can for all but those that have another engine on record. Nothing is put on record by this.
        """
        engine = self._settings.recorded_engine(supplier)
        return [name for name in others if self._settings.recorded_engine(name) in (None, engine)]

    def doubt(self, supplier: str) -> None:
        """Have the engine asked again who it is: it did not answer, and may come back as another."""
        with self._lock:
            self._doubts[supplier] += 1
            self._identities.pop(supplier, None)
