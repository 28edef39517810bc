"""One control plane: database, clock, suppliers and worker, put together. Several live in one process."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy.exc

from nodus_core.catalogue import Catalogue
from nodus_core.suppliers_file import SuppliersFile
from nodus_ledger.database.database import Database, UnusableDatabase, in_a_line
from nodus_ledger.database.fingerprints import fingerprints_for
from nodus_ledger.database.redis_store import RedisStore
from nodus_ledger.database.sealing import KEY_VARIABLE, sealer_for
from nodus_ledger.database.settings import RECORDS_SECRET, Settings
from nodus_ledger.jobs.accepted_suppliers import AcceptedSuppliers
from nodus_ledger.jobs.availability import Availability
from nodus_ledger.jobs.capacity import Layout
from nodus_ledger.jobs.event_log import EventLog
from nodus_ledger.jobs.heartbeats import Workers
from nodus_ledger.jobs.jobs import Jobs
from nodus_ledger.jobs.leases import Claims
from nodus_ledger.jobs.outages import Outages
from nodus_ledger.jobs.submission import JobIds
from nodus_ledger.jobs.supplier_eligibility import SupplierEligibility
from nodus_ledger.jobs.usage import Usage
from nodus_ledger.keys.keys import Keys
from nodus_ledger.keys.replay_protection import (
    ReplayProtection,
    ReplayProtectionInDatabase,
    ReplayProtectionInMemory,
    ReplayProtectionInRedis,
)
from nodus_ledger.keys.signing_secrets import SigningSecrets
from nodus_ledger.start_over import start_over
from nodus_ledger.trust.origin import ORIGIN_VARIABLE, origin_for
from nodus_ledger.trust.reader import TrustLedger
from nodus_ledger.trust.row_times import RowTimes
from nodus_ledger.trust.signing import SIGNING_KEY_VARIABLE, signer_for
from nodus_ledger.trust.statements import Statements

from .access.rate_limiter import RateLimiter, RateLimitOptions
from .access.recent_callers import Callers
from .clock import Clock
from .clock_watch import ClockWatch
from .concurrency.giving_way import GivingWay
from .dispatch.engine_identities import EngineIdentities
from .dispatch.strays import KEPT_MS, DatabaseLife
from .dispatch.sweeper import Sweeper
from .dispatch.worker import Worker
from .dispatch.worker_loop import WorkerLoop
from .readiness import Readiness
from .runner.containment import close_memory
from .streams.event_feed import EventFeed
from .streams.output_watch import OutputWatch
from .suppliers.agreement import Agreement
from .suppliers.drivers import PROCESS, DriverContext, Drivers, Service, state_directory
from .suppliers.files import shipped_for
from .suppliers.process.options import ProcessOptions
from .suppliers.protocol import ClosableDriver, EngineUnavailable
from .suppliers.services import services_of
from .suppliers.simulated.driver import SimulatedDriver
from .trouble import Trouble
from .version import VERSION
from .webhooks.service import WebhookOptions, WebhookService

STOPPING_SECONDS = 8.0
_OFFSET_GRAIN_MS = 1000
_SIGN_SECONDS = 10.0

_logger = logging.getLogger(__name__)


class ControlPlane:
    """A control plane without its HTTP API.

    Args:
        database_url: an SQLAlchemy URL; in memory by default.
        clock: by default real time, which must agree with the database server's and with the ledger. Another clock that
            is behind the database's history is moved up to it.
        driver: `simulated`, `process` or `docker`, which then serves all suppliers; not used where `suppliers` are
            given.
        seed: what job ids and all simulated chance are derived from; None for random ids.
        is_reliable: simulated suppliers neither refuse nor lose jobs unless they are told to.
        is_alone: no other process works on this database, so old leases belong to nobody. Never true of a server.
        webhooks: where events may be delivered to, and when a budget's threshold is reached.
        redis: keeps signing secrets, used signatures and rate limits; closed with the control plane.
        accept_clock: the name of the command whose operator says that real time is right, whatever differs from it.
        process: how commands run, where they do (`driver="process"`).
        limits: how much callers may ask for; without, only addresses of failing callers are limited.
        micros_per_gpu_hour: the price of this machine, where the `driver` runs jobs on it; by default, $1.00.
        suppliers: the suppliers, which all processes of the database must agree on; without, those that come with the
            package.
        accept_suppliers: the name of the command whose operator makes these suppliers the accepted ones.
        services: how each supplier is served, in place of the drivers that the suppliers name.
        requires_origin: the names of the logs must have been chosen where jobs run on machines of others.

    Raises:
        UnusableOrigin: the logs cannot have the name that was given, or none was.
        UntrustedClock: real time is wrong.
        SuppliersDiffer: the database's processes agree on other suppliers.
        SuppliersInUse: a supplier that has jobs is not among them.
        ValueError: a driver has nowhere to keep its files.
    """

    def __init__(
        self,
        database_url: str = "sqlite://",
        *,
        clock: Clock | None = None,
        driver: str = "simulated",
        seed: int | None = 0,
        is_reliable: bool = False,
        is_alone: bool = True,
        webhooks: WebhookOptions | None = None,
        redis: RedisStore | None = None,
        accept_clock: str | None = None,
        process: ProcessOptions | None = None,
        limits: RateLimitOptions | None = None,
        micros_per_gpu_hour: int | None = None,
        suppliers: SuppliersFile | None = None,
        accept_suppliers: str | None = None,
        services: Mapping[str, Service] | None = None,
        requires_origin: bool = False,
    ) -> None:
        options = webhooks or WebhookOptions()
        self.database_trouble = Trouble(_logger, "answering requests")
        process = process or ProcessOptions()
        file = shipped_for(driver, micros_per_gpu_hour) if suppliers is None else suppliers
        self.catalogue: Catalogue = Catalogue(file)
        if services is None:
            services = services_of(file, is_reliable=is_reliable, process=process)
        # Where anything really runs, that decides what is kept, and how.
        simulated = not self.catalogue.has_real
        if not simulated:
            # Its environment and memory hold the sealing key, and the commands run on this machine.
            close_memory()
        self.database = Database(database_url)
        is_alone = is_alone and not self.database.is_server
        try:
            sealer = sealer_for(self.database, os.environ.get(KEY_VARIABLE))
            self.settings = Settings(self.database)
            self.settings.require_key(sealer)
            fingerprints = fingerprints_for(self.database, sealer)
            if self.database.is_shared:
                # From the beginning: every backup has the name under which others remember this database.
                self.settings.database_id()
            self.clock_watch = ClockWatch(self.database) if clock is None else None
            self.clock: Clock = self._own_clock(clock, accept_clock)
            self.seed = seed
            runs_here = any(service.driver == PROCESS for service in services.values())
            self.agreement = self._agree(suppliers is not None, accept_suppliers, serves_earlier=runs_here)
            self.keys = Keys(self.database, SigningSecrets(sealer, redis), are_tests=simulated)
            signer = signer_for(self.database, sealer, os.environ.get(SIGNING_KEY_VARIABLE))
            origin = origin_for(
                self.database,
                os.environ.get(ORIGIN_VARIABLE),
                database_id=self.settings.database_id(),
                must_be_chosen=requires_origin and file.has_machines_of_others,
            )
            self.trust_ledger = TrustLedger(self.database, signer, origin)
            self.statements = Statements(self.database, self.trust_ledger)
            self.job_ids = JobIds(secrets.randbits, seed if simulated else None)
            eligibility = SupplierEligibility(
                {name: service.why_not for name, service in services.items() if service.why_not is not None},
                frozenset(name for name, service in services.items() if service.one_customer),
                sealer,
            )
            places = {name: process.at_once for name, service in services.items() if service.driver == PROCESS}
            layout = Layout.of(self.catalogue, places, eligibility.one_customer)
            self.jobs = Jobs(
                self.database,
                sealer,
                fingerprints,
                self.catalogue,
                self.job_ids,
                threshold=options.threshold,
                eligibility=eligibility,
                layout=layout,
            )
            self.usage = Usage(self.database, self.catalogue)
            self.webhooks = WebhookService(self.database, sealer, fingerprints, self.clock, options, is_alone=is_alone)
            self.feed = EventFeed(EventLog(self.database), lambda ids: self.keys.live(ids, self.clock.now()))
            self.limits = RateLimiter(limits, redis)
            self.callers = Callers()
            self.outages = Outages(self.database)
            self.availability = Availability(self.database, layout, eligibility)
            self._claims = Claims(
                self.database,
                self.catalogue,
                layout,
                eligibility=eligibility,
                must_be_accepted=self.agreement is not None,
                threshold=options.threshold,
            )
            if is_alone:
                self._claims.release_all()
            self._private_directory = None if simulated else self._output_directory()
            directory = self._private_directory or self._kept_directory()
            context = DriverContext(
                self.catalogue,
                self.jobs,
                self.clock,
                seed,
                directory,
                secret=b"" if simulated else self.settings.secret(sealer, RECORDS_SECRET),
                state_files=self.database.path,
                database_id=self.settings.database_id(),
                incarnation=self.settings.incarnation(),
            )
            self.drivers = Drivers.make(services, context)
        except sqlalchemy.exc.DBAPIError as exc:
            self.database.close()
            raise UnusableDatabase(f"cannot use the database: {in_a_line(exc)}") from exc
        except BaseException:
            self.database.close()
            raise
        self._workers = Workers(self.database)
        self._next_sign = 0.0
        self._said_unreachable: frozenset[str] = frozenset()
        self._giving_way = GivingWay()
        self._working_thread: int | None = None
        self._is_closing = threading.Event()
        watch = self.clock_watch
        self._identities = EngineIdentities(self.settings)
        self.worker = Worker(
            self.jobs,
            self._claims,
            self.drivers,
            self.clock.now,
            time.time if watch is None else watch.real_time,
            before_batch=self._before_batch,
            identities=self._identities,
        )
        self.sweeper = Sweeper(self.jobs, self.drivers, self._identities, self._database_life, self.clock.now)
        self.output_watch = OutputWatch(self.drivers.logs)
        self._redis = redis
        agreement = self.agreement
        more = {} if agreement is None else {"suppliers": agreement.check}
        self.readiness = Readiness(self._workers, redis, more)
        self.replay_protection: ReplayProtection = _replay_protection(self.database, redis, is_alone=is_alone)
        self.is_reliable = is_reliable
        next_elsewhere = self.webhooks.deliverer.next_due
        self._loop = WorkerLoop(self.worker, self.clock, self._after_pass, next_elsewhere, self._may_work)
        self._advancing = threading.Lock()
        self._stored_offset = self.settings.clock_offset_ms()

    def start_worker(self) -> None:
        """Start doing due work, in threads."""
        self.watch_others()
        self._loop.start()
        self.sweeper.start()
        self.webhooks.deliverer.start()

    def watch_others(self) -> None:
        """Go on comparing the clock, where it is real time, and the suppliers with the others, in threads."""
        if self.clock_watch is not None:
            self.clock_watch.start()
        if self.agreement is not None:
            self.agreement.start()

    @property
    def asks_others(self) -> bool:
        """Whether requests also wait for something else than the database: for Redis."""
        return self._redis is not None

    def wake(self) -> None:
        """Tell the worker that something has fallen due, once that is committed."""
        self.database.after_commit(self._wake)

    def _wake(self) -> None:
        self._giving_way.news()
        self._loop.wake()
        self.webhooks.deliverer.wake()
        self.feed.wake()

    def advance(self, seconds: float) -> int:
        """Move the clock and do everything that falls due, in order; return the new time.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """
        if not 0 <= seconds < float("inf"):
            raise ValueError("`seconds` must be a number, 0 or more")
        with self._advancing:
            target = self.clock.now() + round(seconds * 1000)
            self._run_due()
            stuck: int | None = None
            while (due := self._next_due()) is not None and due <= target and due != stuck:
                self.clock.advance_to(due)
                stuck = None if self._run_due() else due
            self.clock.advance_to(target)
            self._run_due()
            self._store_offset()
        self.wake()
        return self.clock.now()

    def set_outage(self, supplier: str, *, on: bool) -> None:
        """Switch a supplier off, and fail over what it had, or on again.

        Raises:
            KeyError: there is no supplier of that name.
        """
        if supplier not in self.catalogue.suppliers:
            raise KeyError(supplier)
        self.outages.set(supplier, on=on, now=self.clock.now())
        self.worker.run_due()
        self.wake()

    def reset(self, *, seed: int | None = None, passed_over: int = 0) -> None:
        """Empty everything but the keys, and restart the random streams, as if after `passed_over` submissions.

        Change the `seed` only if no database outlives the control plane: it is not stored.
        """
        with self.worker.paused(), self.webhooks.deliverer.paused():
            start_over(self.database)
            self.trust_ledger.begin_anew()
            self.replay_protection.clear()
            self.webhooks.inbox.clear()
            if self.seed is not None:
                self.seed = self.seed if seed is None else seed
                self.job_ids.begin(self.seed, passed_over)
                for driver in self.drivers:
                    if isinstance(driver, SimulatedDriver):
                        driver.reseed(self.seed)
        self.feed.end_streams()

    def close(self) -> None:
        """Stop the worker and close the database. Without a lasting database, running commands are ended."""
        self._is_closing.set()
        self._loop.stop()
        if self._private_directory is not None:
            self._end_everything()
        self.sweeper.stop()
        self.webhooks.deliverer.stop()
        self.feed.close()
        self.output_watch.close()
        self.worker.close()
        for driver in self.drivers:
            if isinstance(driver, ClosableDriver):
                driver.close()
        self._store_offset()
        if self.clock_watch is not None:
            self.clock_watch.stop()
        if self.agreement is not None:
            self.agreement.stop()
        self.database.close()
        if self._redis is not None:
            self._redis.close()
        if self._private_directory is not None:
            shutil.rmtree(self._private_directory, ignore_errors=True)

    def _database_life(self) -> DatabaseLife:
        return DatabaseLife(self.settings.database_id(), self.settings.incarnation())

    def _own_clock(self, clock: Clock | None, accept_clock: str | None) -> Clock:
        if self.clock_watch is not None:
            self.clock_watch.require(accept=accept_clock)
            return self.clock_watch.clock
        assert clock is not None
        latest = RowTimes(self.database).latest_event_ms()
        if latest is not None:
            clock.advance_to(latest)
        return clock

    def _agree(self, has_file: bool, accept: str | None, *, serves_earlier: bool) -> Agreement | None:
        if not has_file:
            return None
        accepted = AcceptedSuppliers(self.database)
        accepted.require(self.catalogue, self.clock.now(), accept=accept, serves_earlier=serves_earlier)
        return Agreement(accepted, self.catalogue)

    def _run_due(self) -> int:
        return self.worker.run_due() + self.webhooks.deliverer.run_due()

    def _next_due(self) -> int | None:
        dues = (self.worker.next_due(), self.webhooks.deliverer.next_due())
        return min((due for due in dues if due is not None), default=None)

    def _after_pass(self) -> None:
        # Jobs that ended may have published events, and the clock may have leapt.
        self.webhooks.deliverer.wake()
        self.feed.wake()
        self._store_offset()

    def _may_work(self) -> bool:
        self._working_thread = threading.get_ident()
        return self.clock_watch is None or self.clock_watch.may_work()

    def _before_batch(self) -> None:
        # Whoever has the worker do what is due, and waits for it, is no background.
        if threading.get_ident() == self._working_thread:
            rest = self._giving_way.rest_seconds(time.thread_time())
            if rest > 0:
                self._is_closing.wait(rest)
        self._now_and_then()

    def _now_and_then(self) -> None:
        """Let the others know, every ten real seconds, that a worker lives; and keep SQLite's log small.

        Whom it does not reach any more, or reaches again, they know at once.
        """
        now, unreachable = time.monotonic(), self.worker.unreachable
        if now >= self._next_sign or unreachable != self._said_unreachable:
            self.database.cut_log()
            self._workers.give_sign(
                self.worker.id,
                host=socket.gethostname(),
                version=VERSION,
                real_now=int(time.time() * 1000),
                unreachable=unreachable,
            )
            self._next_sign, self._said_unreachable = now + _SIGN_SECONDS, unreachable

    def _end_everything(self) -> None:
        self.jobs.request_cancel_all(self.clock.now())
        deadline = time.monotonic() + STOPPING_SECONDS
        # The worker is asked first: it waits for what its drivers are being asked, which nothing else counts as due.
        while (self.worker.run_due() or self.worker.next_due() is not None) and time.monotonic() < deadline:
            time.sleep(0.02)
        self._forget_everything()

    def _forget_everything(self) -> None:
        """Have engines forget what this database gave them, which nobody will ever ask about again."""
        for supplier, driver in self.drivers.one_of_each():
            if driver.runs_commands:
                try:
                    self.sweeper.sweep(supplier, driver, ahead_ms=KEPT_MS)
                except EngineUnavailable as exc:
                    _logger.warning("supplier %s: what ran there is not cleared away: %s", supplier, exc.detail)

    def _output_directory(self) -> Path | None:
        if self.database.path is not None or self.database.is_server:
            return None
        return Path(tempfile.mkdtemp(prefix="nodus-jobs-"))

    def _kept_directory(self) -> Path | None:
        """Return where the output of jobs is kept: beside the file, or with a database server, in this user's state."""
        path = self.database.path
        if path is not None:
            return path.with_name(path.name + ".jobs")
        return state_directory() / "jobs" / self.settings.database_id() if self.database.is_server else None

    def _store_offset(self) -> None:
        """Keep how far a clock that may leave real time is ahead of it, so that a restart does not go back."""
        if self.clock_watch is not None or (self.database.path is None and not self.database.is_server):
            return
        offset = self.clock.now() - int(time.time() * 1000)
        if self.clock.speed == 0 or abs(offset - self._stored_offset) < _OFFSET_GRAIN_MS:
            return
        self.settings.store_clock_offset_ms(offset)
        self._stored_offset = offset


def _replay_protection(database: Database, redis: RedisStore | None, *, is_alone: bool) -> ReplayProtection:
    """Choose what remembers used signatures: all processes that answer for one database must share it."""
    if redis is not None:
        return ReplayProtectionInRedis(redis)
    return ReplayProtectionInMemory() if is_alone else ReplayProtectionInDatabase(database)
