"""The worker: claims due jobs, asks their drivers about them, and records what became of them.

A claim and what becomes of it are two short transactions, and between them the driver is called: in the worker's own
thread where that costs nothing, else in the lane of the supplier. What is decided is in `next_steps.py`.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from nodus_core.lifecycle import JobStatus
from nodus_ledger.errors import DatabaseUnavailable
from nodus_ledger.jobs.claiming import Claim
from nodus_ledger.jobs.jobs import Jobs
from nodus_ledger.jobs.leases import Claims
from nodus_ledger.jobs.settlement import Step
from nodus_ledger.jobs.supplier_eligibility import ANOTHERS

from ..suppliers.drivers import Drivers, limit_seconds
from ..suppliers.protocol import (
    CapacityRefused,
    Driver,
    EngineUnavailable,
    Placement,
    PlacementState,
    Report,
    SubmissionRefused,
    Workload,
)
from . import next_steps
from .engine_identities import EngineIdentities
from .lane import Call, CallAbandoned, Dealt, Lane
from .next_steps import Ending

LEASE_MS = 15_000
BATCH = 64

POLL_SECONDS = 3.0
SUBMIT_SECONDS = 30.0
CANCEL_SECONDS = 15.0
"""How long a driver may take, in real seconds, before the call is abandoned."""

TOGETHER_SECONDS = 0.02
"""How long a pass waits for what it has just asked, so that quick answers are written together."""

LOOK_SECONDS = 5.0
"""How often, in real seconds, an engine that is not the supplier's is asked who it is."""

STOPPING_SECONDS = 5.0
"""How long the calls under way may take when the worker stops."""

_INVALID_REPORT = "What ran the job gave times for it that cannot be."
_UNRECORDED = "The control plane could not record this job."
_NO_ANSWER = "Its supplier does not answer at the moment."

_NEVER_BEGUN = frozenset({PlacementState.NOT_STARTED, PlacementState.LOST})

_logger = logging.getLogger(__name__)


class Worker:
    """Drives jobs that are due. Any number of workers may share a database.

    Args:
        jobs: the jobs, whose secrets are opened here.
        claims: hands them out.
        drivers: those of the suppliers that it serves.
        now: the control plane's clock, in Unix milliseconds.
        real_time: in Unix seconds; leases go by it.
        before_batch: called before each pass.
        identities: which engine each supplier's is; without, none is checked.
        monotonic: real time, in seconds: how long a call of a driver may take.
    """

    def __init__(
        self,
        jobs: Jobs,
        claims: Claims,
        drivers: Drivers,
        now: Callable[[], int],
        real_time: Callable[[], float] = time.time,
        before_batch: Callable[[], None] = lambda: None,
        identities: EngineIdentities | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._claims = claims
        self._drivers = drivers
        self._now = now
        self._real_time = real_time
        self._before_batch = before_batch
        self._identities = identities
        self._monotonic = monotonic
        self._owner = secrets.token_hex(8)
        self._passing = threading.Lock()
        self._lanes: dict[str, Lane] = {}
        self._ready = threading.Event()
        self._without_driver: set[str] = set()
        self._renew_at = 0.0
        self._look_at = 0.0
        self.on_ready: Callable[[], None] = lambda: None
        """Called, in any thread, when there is something to write."""

    @property
    def id(self) -> str:
        """The name under which it holds leases."""
        return self._owner

    @property
    def unreachable(self) -> frozenset[str]:
        """The suppliers whose engines do not answer this worker, or are not the ones that they should be."""
        silent = frozenset(name for name, lane in list(self._lanes.items()) if lane.is_unreachable)
        return silent | self._unserved

    @property
    def _unserved(self) -> frozenset[str]:
        """The suppliers that this worker does not serve: other workers may."""
        others = frozenset() if self._identities is None else self._identities.others
        return others | frozenset(self._without_driver)

    def run_due(self) -> int:
        """Do everything that is due now, and what falls due in the course of it; return how many steps that took."""
        done = 0
        while (batch := self.run_batch()) or self._await_calls():
            done += batch
        return done

    def run_batch(self) -> int:
        """Deal with up to 64 due jobs, and write what has become of earlier ones; return how many steps that took."""
        self._before_batch()
        with self._passing:
            done = self._collect()
            self._renew()
            self._probe()
            lanes = self._lanes.items()
            full = frozenset(name for name, lane in lanes if lane.free <= 0 and not lane.is_unreachable)
            count, claims = self._claims.claim(
                self._owner,
                now=self._now(),
                real_now=self._real_now(),
                lease_ms=LEASE_MS,
                limit=BATCH,
                busy=full | self._unserved,
                unreachable=self.unreachable,
            )
            self._ask(claims)
            return count + done + (self._collect() if claims else 0)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the worker from doing anything inside the block."""
        with self._passing:
            yield

    def next_due(self) -> int | None:
        """Return when something falls due next, in Unix milliseconds; None for nothing."""
        return self._claims.next_due(self._real_now())

    def close(self) -> None:
        """Wait a little for the calls of drivers that are under way, and give back what has not begun."""
        until = time.monotonic() + STOPPING_SECONDS
        with self._passing:
            waiting = [claim for lane in self._lanes.values() for claim in lane.close(until - time.monotonic())]
            try:
                for claim in waiting:
                    self._claims.give_back(self._owner, claim, due_at=self._now())
                self._collect()
            except DatabaseUnavailable as exc:
                # Their leases run out, and they are claimed again.
                _logger.warning("the worker stops, and what it has heard last cannot be written: %s", exc)

    def _ask(self, claims: Sequence[Claim]) -> None:
        """Have drivers asked, and write what those said that were asked here."""
        at_once: list[tuple[Claim, Step]] = []
        asked: set[Lane] = set()
        for claim in claims:
            supplier = claim.attempt.supplier
            driver = self._drivers.of(supplier)
            if driver is None:
                self._without_driver.add(supplier)
                at_once.append((claim, self._unserved_step(claim)))
            elif not driver.runs_commands:
                dealt = self._deal_with(Call(claim, self._monotonic), claim, driver)
                if dealt.step is not None:
                    at_once.append((claim, dealt.step))
            else:
                lane = self._lane(supplier, driver)
                lane.give(claim)
                asked.add(lane)
        self._write(at_once)
        until = time.monotonic() + TOGETHER_SECONDS
        while any(lane.is_busy for lane in asked) and (left := until - time.monotonic()) > 0:
            self._ready.wait(left)
            self._ready.clear()

    def _unserved_step(self, claim: Claim) -> Step:
        """Say what becomes of a claim whose supplier this worker does not serve."""
        now = self._now()
        return next_steps.never_sent(claim, now) if claim.is_first else next_steps.unserved(claim, now)

    def _lane(self, supplier: str, driver: Driver) -> Lane:
        lane = self._lanes.get(supplier)
        if lane is None:
            lane = Lane(
                supplier,
                lambda call: self._answer(call, supplier, driver),
                self._say_ready,
                lambda: self._now() / 1000,
                self._monotonic,
            )
            self._lanes[supplier] = lane
        return lane

    def _say_ready(self) -> None:
        self._ready.set()
        self.on_ready()

    def _await_calls(self) -> bool:
        """Wait a little for calls that are under way; False where there is none, nor anything to write."""
        lanes = list(self._lanes.values())
        if any(lane.is_busy for lane in lanes):
            self._ready.wait(0.1)
            self._ready.clear()
            return True
        return not all(lane.is_empty for lane in lanes)

    def _probe(self) -> None:
        """Ask after engines that nothing else is asked of: those that did not answer, and those that are others'."""
        now = time.monotonic()
        others = frozenset() if self._identities is None or now < self._look_at else self._identities.others
        if others:
            self._look_at = now + LOOK_SECONDS
        for supplier, lane in self._lanes.items():
            lane.probe(is_due=supplier in others)

    def _renew(self) -> None:
        """Extend the leases of what is being dealt with, but for calls that were abandoned."""
        now = time.monotonic()
        if now < self._renew_at:
            return
        self._renew_at = now + LEASE_MS / 3000
        seqs = [claim.job.seq for lane in self._lanes.values() for claim in lane.held]
        if seqs:
            self._claims.renew(self._owner, seqs, real_now=self._real_now(), lease_ms=LEASE_MS)

    def _collect(self) -> int:
        """Write what has come back since the last time; return how much that was."""
        steps: list[tuple[Claim, Step]] = []
        for lane in self._lanes.values():
            for dealt in lane.collect():
                if dealt.step is None and dealt.answered is False:
                    _logger.warning("supplier %s did not answer in time", lane.supplier)
                    self._doubt(lane.supplier)
                if dealt.claim is None or (dealt.step is None and dealt.may_go_on):
                    continue  # The lease runs out: what goes on may still begin it.
                steps.append((dealt.claim, dealt.step or self._unasked(dealt.claim, dealt, lane.supplier)))
        self._write(steps)
        return len(steps)

    def _unasked(self, claim: Claim, dealt: Dealt, supplier: str) -> Step:
        """Say what becomes of a claim of which the engine has said nothing, and will begin nothing."""
        now, terms = self._now(), self._drivers.terms(supplier)
        if claim.is_first and not dealt.is_sent:
            return next_steps.never_sent(claim, now)
        return next_steps.unavailable(claim, _NO_ANSWER, next_steps.ending_of(claim, now, terms), now, terms)

    def _write(self, steps: Sequence[tuple[Claim, Step]]) -> None:
        """Write what became of a batch. Where that fails, each job's step is written by itself, and fails alone."""
        if not steps:
            return
        try:
            self._claims.finish(self._owner, [step for _, step in steps], now=self._now())
        except DatabaseUnavailable:
            raise
        except Exception:
            # Which one it was is found out below, and said there.
            for claim, step in steps:
                self._write_alone(claim, step)

    def _write_alone(self, claim: Claim, step: Step) -> None:
        try:
            self._claims.finish(self._owner, [step], now=self._now())
        except DatabaseUnavailable:
            raise
        except Exception:
            _logger.exception("job %s: what became of it cannot be written; it ends as failed", claim.job.id)
            now = self._now()
            is_over = step.attempt_end is not None and step.attempt_end.is_confirmed
            failed = next_steps.written_off(
                claim,
                now,
                "internal_error",
                _UNRECORDED,
                is_confirmed=is_over or not self._can_be_swept(claim.attempt.supplier),
            )
            try:
                self._claims.finish(self._owner, [failed], now=now)
            except DatabaseUnavailable:
                raise
            except Exception as exc:
                _logger.warning("job %s: that cannot be written either (%s)", claim.job.id, type(exc).__name__)
                self._claims.postpone(self._owner, claim.job, due_at=now + next_steps.UNWRITABLE_RETRY_MS)

    def _doubt(self, supplier: str) -> None:
        """Have an engine that did not answer say who it is before anything else is asked of it."""
        if self._identities is not None:
            self._identities.doubt(supplier)

    def _answer(self, call: Call, supplier: str, driver: Driver) -> Dealt:
        """Ask a driver about a claim, or after its engine alone. In any thread."""
        try:
            if call.claim is not None:
                return self._deal_with(call, call.claim, driver)
            call.limit(CANCEL_SECONDS, changes_something=False)
            if self._identities is None:
                driver.identity()
            else:
                self._identities.is_own(supplier, driver)
        except CallAbandoned:
            return Dealt(call.claim, None, answered=None)
        except EngineUnavailable:
            return Dealt(None, None, answered=False)
        except Exception:
            _logger.exception("supplier %s: its driver cannot say which engine it has", supplier)
            return Dealt(None, None, answered=None)
        return Dealt(None, None, answered=True)

    def _deal_with(self, call: Call, claim: Claim, driver: Driver) -> Dealt:
        """Ask a driver about a claim."""
        supplier = claim.attempt.supplier
        terms = self._drivers.terms(supplier)
        ending = next_steps.ending_of(claim, self._now(), terms)
        if claim.is_first and ending is not Ending.NONE:
            return Dealt(claim, next_steps.never_sent(claim, self._now()), answered=None)
        is_known = self._identities is None or not driver.runs_commands
        try:
            if self._identities is not None and not is_known:
                call.limit(CANCEL_SECONDS, changes_something=False)
                if not self._identities.is_own(supplier, driver):
                    return Dealt(claim, self._unserved_step(claim), answered=True)
                is_known = True
            return Dealt(claim, self._call_driver(call, claim, driver, ending), answered=True)
        except CallAbandoned:
            raise
        except EngineUnavailable as exc:
            self._doubt(supplier)
            now = self._now()
            step = next_steps.unavailable(claim, exc.detail, ending, now, terms)
            is_unsent = claim.is_first and not call.is_sent
            return Dealt(claim, next_steps.never_sent(claim, now) if is_unsent else step, answered=False)
        except SubmissionRefused as exc:
            return Dealt(claim, self._refused_later(claim, driver, exc), answered=None)
        except Exception:
            _logger.exception("job %s, attempt %d: the driver failed; asking again", claim.job.id, claim.job.attempt)
            now = self._now()
            is_unsent = claim.is_first and not is_known
            step = next_steps.never_sent(claim, now) if is_unsent else next_steps.asked_again(claim, now)
            return Dealt(claim, step, answered=None)

    def _call_driver(self, call: Call, claim: Claim, driver: Driver, ending: Ending) -> Step:
        now = self._now()
        job = claim.job
        placement = placement_of(claim)
        workload = open_workload(self._jobs, claim)
        if ending is Ending.NONE and job.status == JobStatus.QUEUED.value:
            if claim.is_first and self._jobs.is_anothers(placement.supplier, job.customer_id):
                return next_steps.impossible(claim, now, "cannot_run", ANOTHERS)
            call.limit(SUBMIT_SECONDS, changes_something=True)
            try:
                driver.submit(placement, workload, now / 1000, lambda: self._holds(call, claim))
            except (CapacityRefused, SubmissionRefused) as exc:
                if call.came_too_late:
                    return next_steps.asked_again(claim, now)
                if claim.is_first or self._poll(call, driver, placement, workload, now).state in _NEVER_BEGUN:
                    if isinstance(exc, SubmissionRefused):
                        return next_steps.impossible(claim, now, exc.code, exc.message)
                    return next_steps.refused(claim, now)
                # An earlier submission arrived, whose answer did not: its program is there, whatever is refused now.
            except EngineUnavailable as exc:
                if call.came_too_late:
                    return next_steps.asked_again(claim, now)
                if exc.never_sent:
                    call.nothing_was_sent()
                raise
            if call.came_too_late:
                # Whoever has it now may be about to begin it, which some drivers prevent when they are asked about it.
                return next_steps.asked_again(claim, now)
            placement = replace(placement, is_accepted=True)
        report: Report | None = None
        if ending in next_steps.BEFORE_ITS_START:
            # It may have begun by now: what runs is not ended for having been late.
            report = self._poll(call, driver, placement, workload, now)
            if report.state is not PlacementState.PROVISIONING:
                ending = Ending.NONE if report.state is PlacementState.RUNNING else ending
            else:
                report = None
        if report is None:
            if ending is not Ending.NONE:
                # One that was never submitted ends here too: a driver never starts what was cancelled before.
                call.limit(CANCEL_SECONDS, changes_something=True)
                driver.cancel(placement, now / 1000)
            report = self._poll(call, driver, placement, workload, now)
        now = max(now, self._now())  # What a driver has just seen may be later than when it was asked.
        try:
            return next_steps.judge(claim, report, ending, now)
        except next_steps.ImpossibleReport as exc:
            _logger.error("job %s, attempt %d: an impossible report: %s", job.id, job.attempt, exc)
            call.limit(CANCEL_SECONDS, changes_something=True)
            driver.cancel(placement, now / 1000)
            is_over = not driver.runs_commands or self._is_over(call, driver, placement, workload, now)
            return next_steps.written_off(claim, now, "invalid_report", _INVALID_REPORT, is_confirmed=is_over)

    def _refused_later(self, claim: Claim, driver: Driver, exc: SubmissionRefused) -> Step:
        """Say what becomes of a job whose driver cannot run it any more, now that it is asked about it again.

        What runs is asked about again: it began when its driver could. Anything else ends, but may have begun.
        """
        now = self._now()
        if claim.job.status == JobStatus.RUNNING.value:
            _logger.error("job %s cannot be asked about with this suppliers file: %s", claim.job.id, exc.message)
            return next_steps.asked_again(claim, now)
        step = next_steps.impossible(claim, now, exc.code, exc.message)
        return next_steps.unconfirmed(step) if driver.runs_commands else step

    def _is_over(self, call: Call, driver: Driver, placement: Placement, workload: Workload, now: int) -> bool:
        """Ask whether a placement has ended, whatever else is said of it."""
        try:
            return self._poll(call, driver, placement, workload, now).state in next_steps.FINAL
        except EngineUnavailable:
            return False

    def _can_be_swept(self, supplier: str) -> bool:
        """Say whether anything may be running there, and is ended by a sweep."""
        driver = self._drivers.of(supplier)
        return driver is not None and driver.runs_commands

    def _poll(self, call: Call, driver: Driver, placement: Placement, workload: Workload, now: int) -> Report:
        call.limit(POLL_SECONDS, changes_something=False)
        return driver.poll(placement, workload, now / 1000)

    def _holds(self, call: Call, claim: Claim) -> bool:
        """Say whether a claim is this worker's still. If not, the worker was slow, and the engine is none the worse."""
        is_held = self._claims.holds(self._owner, claim.job, real_now=self._real_now())
        call.came_too_late = not is_held
        return is_held

    def _real_now(self) -> int:
        return int(self._real_time() * 1000)


def placement_of(claim: Claim) -> Placement:
    """Return what a driver is told of a claim's attempt."""
    job, attempt = claim.job, claim.attempt
    indices = attempt.gpu_indices
    return Placement(
        job_id=job.id,
        attempt=attempt.attempt,
        supplier=attempt.supplier,
        region=attempt.region,
        placed_at=attempt.placed_at / 1000,
        is_accepted=job.status != JobStatus.QUEUED.value,
        started_at=None if job.started_at is None else job.started_at / 1000,
        gpu_indices=tuple(int(index) for index in indices.split(",")) if indices else (),
        engine_ref=attempt.engine_ref,
    )


def open_workload(jobs: Jobs, claim: Claim) -> Workload:
    """Put together the workload, with its secrets."""
    job = claim.job
    opened = jobs.open_secrets(job)
    return Workload(
        image=job.image,
        gpu=job.gpu,
        gpu_count=job.gpu_count,
        max_runtime_seconds=limit_seconds(job, claim.attempt.rate),
        command=opened.command,
        env=opened.env,
    )
