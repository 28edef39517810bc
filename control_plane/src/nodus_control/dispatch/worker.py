"""The worker: claims due jobs, asks their driver about them, and records what became of them.

One pass is two short transactions around the driver's calls. What a pass decides is in `decisions.py`.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace

from nodus_core.lifecycle import JobStatus
from nodus_ledger.errors import DatabaseUnavailable
from nodus_ledger.jobs.jobs import Jobs
from nodus_ledger.jobs.leases import Claim, Claims
from nodus_ledger.jobs.settlement import Step

from ..suppliers.drivers import Drivers
from ..suppliers.protocol import CapacityRefused, Driver, Placement, SubmissionRefused, Workload
from . import decisions
from .decisions import Ending

LEASE_MS = 15_000
BATCH = 64
PARALLEL_CALLS = 8

_ANOTHERS_MACHINE = "The machine that runs the jobs here does not isolate customers, and belongs to another one."
_INVALID_REPORT = "What ran the job gave times for it that cannot be."

_logger = logging.getLogger(__name__)


class Worker:
    """Drives jobs that are due. Any number of workers may share a database."""

    def __init__(
        self,
        jobs: Jobs,
        claims: Claims,
        drivers: Drivers,
        now: Callable[[], int],
        real_time: Callable[[], float] = time.time,
        before_batch: Callable[[], None] = lambda: None,
    ) -> None:
        self._jobs = jobs
        self._claims = claims
        self._drivers = drivers
        self._now = now
        self._real_time = real_time
        self._before_batch = before_batch
        self._owner = secrets.token_hex(8)
        self._passing = threading.Lock()
        self._calls = ThreadPoolExecutor(PARALLEL_CALLS, "nodus-driver") if drivers.runs_commands else None

    @property
    def id(self) -> str:
        """The name under which it holds leases."""
        return self._owner

    def run_due(self) -> int:
        """Do everything that is due now, and what falls due in the course of it; return how many steps that took."""
        done = 0
        while batch := self.run_batch():
            done += batch
        return done

    def run_batch(self) -> int:
        """Deal with up to 64 due jobs; return how many there were."""
        self._before_batch()
        with self._passing:
            now = self._now()
            count, claims = self._claims.claim(
                self._owner, now=now, real_now=self._real_now(), lease_ms=LEASE_MS, limit=BATCH
            )
            if claims:
                self._write(claims, self._ask(claims))
            return count

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the worker from doing anything inside the block."""
        with self._passing:
            yield

    def next_due(self) -> int | None:
        """Return when something falls due next, in Unix milliseconds; None for nothing."""
        return self._claims.next_due()

    def close(self) -> None:
        """Wait for the calls of the driver that are under way."""
        if self._calls is not None:
            self._calls.shutdown()

    def _ask(self, claims: Sequence[Claim]) -> list[Step]:
        if self._calls is None:
            return [self._deal_with(claim) for claim in claims]
        futures: list[Future[Step]] = [self._calls.submit(self._deal_with, claim) for claim in claims]
        waiting = set(futures)
        while waiting:
            waiting = wait(waiting, timeout=LEASE_MS / 3000).not_done
            if waiting:
                seqs = [claim.job.seq for claim in claims]
                self._claims.renew(self._owner, seqs, real_now=self._real_now(), lease_ms=LEASE_MS)
        return [future.result() for future in futures]

    def _write(self, claims: Sequence[Claim], steps: Sequence[Step]) -> None:
        """Write what became of a batch. Where that fails, each job's step is written by itself, and fails alone."""
        try:
            self._claims.finish(self._owner, steps, now=self._now())
        except DatabaseUnavailable:
            raise
        except Exception:
            # Which one it was is found out below, and said there.
            of_job = {claim.job.seq: claim for claim in claims}
            for step in steps:
                self._write_alone(of_job[step.job.seq], step)

    def _write_alone(self, claim: Claim, step: Step) -> None:
        try:
            self._claims.finish(self._owner, [step], now=self._now())
        except DatabaseUnavailable:
            raise
        except Exception:
            _logger.exception("job %s: what became of it cannot be written; it ends as failed", claim.job.id)
            now = self._now()
            failed = decisions.written_off(claim, now, "internal_error", "The control plane could not record this job.")
            try:
                self._claims.finish(self._owner, [failed], now=now)
            except DatabaseUnavailable:
                raise
            except Exception as exc:
                _logger.warning("job %s: that cannot be written either (%s)", claim.job.id, type(exc).__name__)
                self._claims.postpone(self._owner, claim.job, due_at=now + decisions.UNWRITABLE_RETRY_MS)

    def _deal_with(self, claim: Claim) -> Step:
        driver = self._drivers.of(claim.attempt.supplier)
        if driver is None:
            return Step(claim.job, (), due_at=self._now() + decisions.UNSERVED_RETRY_MS)
        try:
            return self._call_driver(claim, driver)
        except Exception:
            _logger.exception("job %s, attempt %d: the driver failed; asking again", claim.job.id, claim.job.attempt)
            return Step(claim.job, (), due_at=self._now() + decisions.RETRY_MS)

    def _call_driver(self, claim: Claim, driver: Driver) -> Step:
        now = self._now()
        job = claim.job
        placement = Placement(
            job_id=job.id,
            attempt=claim.attempt.attempt,
            supplier=claim.attempt.supplier,
            region=claim.attempt.region,
            placed_at=claim.attempt.placed_at / 1000,
            is_accepted=job.status != JobStatus.QUEUED.value,
            started_at=None if job.started_at is None else job.started_at / 1000,
        )
        workload = open_workload(self._jobs, claim)
        ending = decisions.ending_of(claim, now)
        if ending is not Ending.NONE:
            # One that was never submitted ends here too: a driver never starts what was cancelled before.
            driver.cancel(placement, now / 1000)
        elif job.status == JobStatus.QUEUED.value:
            if self._jobs.is_anothers(job.customer_id):
                return decisions.impossible(claim, now, "cannot_run", _ANOTHERS_MACHINE)
            try:
                driver.submit(placement, workload, now / 1000)
            except CapacityRefused:
                return decisions.refused(claim, now)
            except SubmissionRefused as exc:
                return decisions.impossible(claim, now, exc.code, exc.message)
            placement = replace(placement, is_accepted=True)
        report = driver.poll(placement, workload, now / 1000)
        now = max(now, self._now())  # What a driver has just seen may be later than when it was asked.
        try:
            return decisions.judge(claim, report, ending, now)
        except decisions.ImpossibleReport as exc:
            _logger.error("job %s, attempt %d: an impossible report: %s", job.id, job.attempt, exc)
            driver.cancel(placement, now / 1000)
            return decisions.written_off(claim, now, "invalid_report", _INVALID_REPORT)

    def _real_now(self) -> int:
        return int(self._real_time() * 1000)


def open_workload(jobs: Jobs, claim: Claim) -> Workload:
    """Put together the workload, with its secrets."""
    job = claim.job
    opened = jobs.open_secrets(job)
    return Workload(
        image=job.image,
        gpu=job.gpu,
        gpu_count=job.gpu_count,
        max_runtime_seconds=job.max_runtime_seconds,
        command=opened.command,
        env=opened.env,
    )
