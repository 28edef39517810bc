"""Clears away what engines hold of attempts that are over, and ends what runs there although nobody knows of it.

What an attempt has kept whose end nobody could confirm is free once its engine says that it does not run.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from nodus_ledger.jobs.jobs import Jobs

from ..concurrency.threads import begin_thread
from ..suppliers.drivers import Drivers
from ..suppliers.protocol import Driver, EngineUnavailable, Found, Placement
from ..trouble import Trouble
from .engine_identities import EngineIdentities
from .strays import DatabaseLife, Fate, fate_of

SWEEP_SECONDS = 60.0
STOPPING_SECONDS = 1.0

_logger = logging.getLogger(__name__)


class Sweeper:
    """Sweeps every engine now and then, each in a thread of its own, so that one that hangs costs the others nothing.

    Args:
        jobs: what is known of attempts.
        drivers: whose engines.
        identities: tells whether an engine is the supplier's; another one is not swept.
        us: says whose things are cleared away; those of others are named.
        now: the control plane's clock, in Unix milliseconds.
    """

    def __init__(
        self,
        jobs: Jobs,
        drivers: Drivers,
        identities: EngineIdentities,
        us: Callable[[], DatabaseLife],
        now: Callable[[], int],
    ) -> None:
        self._jobs = jobs
        self._drivers = drivers
        self._identities = identities
        self._us = us
        self._now = now
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._named: set[tuple[str, Found]] = set()

    def start(self) -> None:
        """Begin."""
        for supplier, driver in self._drivers.one_of_each():
            if driver.runs_commands:
                self._threads.append(begin_thread(f"nodus-sweep-{supplier}", self._run, supplier, driver))

    def stop(self) -> None:
        """Sweep no more, and wait a little for what is under way: an engine may hang."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(STOPPING_SECONDS)

    def sweep(self, supplier: str, driver: Driver, *, ahead_ms: int = 0) -> dict[Fate, int]:
        """Sweep one engine, as if it were so much later; return how many things met which fate.

        Raises:
            EngineUnavailable: it does not answer.
        """
        fates = dict.fromkeys(Fate, 0)
        if not self._identities.is_own(supplier, driver):
            return fates
        us = self._us()
        # Read before the engine is asked: what it does not run by then has ended.
        served = self._drivers.suppliers_of(driver) or [supplier]
        unconfirmed = self._jobs.held_by_what_ended(self._identities.of_the_same(supplier, served))
        everything = driver.list_placements()
        running = {(found.job_id, found.attempt) for found in everything if found.is_running}
        self._jobs.confirm_ends([attempt for attempt in unconfirmed if attempt not in running])
        known = self._jobs.placements([(found.job_id, found.attempt) for found in everything])
        for found in everything:
            if self._stopping.is_set():
                break
            facts = known.get((found.job_id, found.attempt))
            fate = fate_of(found, facts, us, self._now() + ahead_ms)
            fates[fate] += 1
            placement = Placement(
                found.job_id,
                found.attempt,
                supplier if facts is None else facts.supplier,
                "" if facts is None else facts.region,
                found.created_at if facts is None else facts.placed_at / 1000,
                is_accepted=True,
            )
            try:
                self._deal_with(supplier, driver, found, placement, fate)
            except Exception as exc:
                # It is met again by the next sweep; what comes behind it must not wait for that.
                _logger.warning(
                    "supplier %s: attempt %d of job %s cannot be cleared away now: %s",
                    supplier,
                    found.attempt,
                    found.job_id,
                    exc,
                )
        return fates

    def _deal_with(self, supplier: str, driver: Driver, found: Found, placement: Placement, fate: Fate) -> None:
        """Do with something what its fate is."""
        if fate is Fate.FORGOTTEN:
            driver.forget(placement)
        elif fate is Fate.ENDED:
            _logger.warning(
                "supplier %s: attempt %d of job %s is over, and its program still runs: it is ended",
                supplier,
                found.attempt,
                found.job_id,
            )
            driver.cancel(placement, self._now() / 1000)
        elif fate is Fate.NAMED:
            self._name(supplier, found)

    def _name(self, supplier: str, found: Found) -> None:
        """Say once that something is there which is not ours to end."""
        if (supplier, found) not in self._named:
            self._named.add((supplier, found))
            _logger.warning(
                "supplier %s: attempt %d of job %s belongs to database %s (%s), which is another one or was restored "
                "since: it is left alone",
                supplier,
                found.attempt,
                found.job_id,
                found.database_id,
                found.incarnation,
            )

    def _run(self, supplier: str, driver: Driver) -> None:
        trouble = Trouble(_logger, f"sweeping supplier {supplier}")
        while not self._stopping.wait(SWEEP_SECONDS):
            try:
                self.sweep(supplier, driver)
                trouble.is_over()
            except EngineUnavailable as exc:
                self._identities.doubt(supplier)
                _logger.debug("supplier %s: cannot be swept now: %s", supplier, exc.detail)
            except Exception as exc:
                trouble.say(exc)
