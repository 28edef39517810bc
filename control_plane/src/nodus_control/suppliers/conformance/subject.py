"""A driver under test: how the checks make it, what its engine can do, and one attempt of one job on it."""

from __future__ import annotations

import abc
import contextlib
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar

from ..protocol import (
    CapacityRefused,
    Driver,
    EngineUnavailable,
    LogChunk,
    Placement,
    PlacementState,
    Report,
    SubmissionRefused,
    Workload,
    always,
)
from .programs import Program

UNFINISHED = (PlacementState.PROVISIONING, PlacementState.RUNNING)
_READ_BYTES = 1 << 20


class Subject(abc.ABC):
    """A driver and its engine, as the checks need to know them. To be subclassed, one instance for each check.

    Attributes:
        runs_programs: whether anything really runs. A simulation is held to what is left of the checks.
        limits_run_time: whether the driver or its engine ends what is over its limit, and not the worker alone.
        remembers_cancellations: whether an instance that did not hear of a cancellation reports it too.
        database_id: what `make_driver` was told as the database's name, for `Found`.
        incarnation: likewise.
        missing_gpus: indices of GPUs that the engine does not have, where it is asked for indices.
        patience_seconds: how long something may take before it counts as never happening.
        stale_seconds: how old what the driver says of a placement may be.
        tolerance_seconds: how far the engine's reading of the time may be from the true beginning and end.
        wait_seconds: how long a placement is made to wait in the engine; longer than `tolerance_seconds`.
    """

    runs_programs: ClassVar[bool] = True
    limits_run_time: ClassVar[bool] = True
    remembers_cancellations: ClassVar[bool] = True
    database_id: str = ""
    incarnation: str = ""
    missing_gpus: ClassVar[tuple[int, ...]] = ()
    patience_seconds: ClassVar[float] = 120.0
    stale_seconds: ClassVar[float] = 1.0
    tolerance_seconds: ClassVar[float] = 2.0
    wait_seconds: ClassVar[float] = 30.0

    supplier: ClassVar[str] = "supplier"
    region: ClassVar[str] = "region"
    image: ClassVar[str] = "busybox"
    gpu: ClassVar[str] = "h100_80gb"
    gpu_indices: ClassVar[tuple[int, ...]] = ()
    """Those of each placement of one GPU; empty where the engine gives them out."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []

    @abc.abstractmethod
    def make_driver(self) -> Driver:
        """Return a new instance on the same engine, as another worker has it, or the same one after a restart."""

    @abc.abstractmethod
    def times_begun(self, placement: Placement) -> int:
        """Return how often a program of this placement has begun: by the engine, or by a trace that it left.

        The driver must not be asked: it is what is under test.
        """

    def make_driver_elsewhere(self) -> Driver | None:
        """Return a driver of this kind on another engine; None where another is not to be had."""
        return None

    def can_stop_engine(self) -> bool:
        """Whether `stop_engine` and `start_engine` do something."""
        return False

    def stop_engine(self) -> None:
        """Make the engine one that does not answer, without ending what it runs."""
        raise NotImplementedError

    def start_engine(self) -> None:
        """Make it answer again; return when it does."""
        raise NotImplementedError

    def delay_starts(self, seconds: float) -> bool:
        """Have what is submitted from now on wait in the engine for so long before it begins; False if that cannot be.

        It is a queue, a pull, or the start of a machine.
        """
        return False

    def opening(self, placement: Placement) -> str:
        """Return a line of shell that every program begins with: for a trace that `times_begun` counts."""
        return ""

    def workload(
        self,
        program: Program,
        placement: Placement,
        *,
        env: Mapping[str, str] | None = None,
        max_runtime_seconds: int = 3600,
    ) -> Workload:
        """Return what runs the program; for an engine without a shell, in other words."""
        command = program.shell_command(self.opening(placement))
        return Workload(self.image, self.gpu, 1, max_runtime_seconds, command, dict(env or {}))

    def preamble(self, workload: Workload) -> bytes:
        """Return what the driver itself puts before a program's output."""
        return b""

    def now(self) -> float:
        """Return the control plane's time, in Unix seconds."""
        return time.time()

    def rest(self) -> None:
        """Let a moment pass between two looks."""
        time.sleep(0.02)

    def placement(self, *, job_id: str | None = None, attempt: int = 1) -> Placement:
        """Return a new placement, of a job of its own unless one is named."""
        name = job_id or f"check-{uuid.uuid4().hex}"
        return Placement(name, attempt, self.supplier, self.region, self.now(), gpu_indices=self.gpu_indices)

    def trial(
        self,
        program: Program,
        *,
        driver: Driver | None = None,
        placement: Placement | None = None,
        env: Mapping[str, str] | None = None,
        max_runtime_seconds: int = 3600,
    ) -> Trial:
        """Return an attempt that has not been submitted; `end_all` ends it."""
        placement = placement or self.placement()
        workload = self.workload(program, placement, env=env, max_runtime_seconds=max_runtime_seconds)
        made = Trial(self, driver or self.make_driver(), placement, workload)
        self.trials.append(made)
        return made

    def eventually(self, condition: Callable[[], bool], what_is_missing: str) -> None:
        """Look until `condition` holds.

        Raises:
            AssertionError: it never did.
        """
        deadline = self.now() + self.patience_seconds
        while not condition():
            if self.now() >= deadline:
                raise AssertionError(f"{what_is_missing}: it did not happen within {self.patience_seconds:g} s")
            self.rest()

    def end_all(self) -> None:
        """End whatever a check has left running, and have the engine forget it."""
        for trial in self.trials:
            with contextlib.suppress(EngineUnavailable):
                if not trial.was_submitted:
                    continue
                if trial.poll().state in UNFINISHED:
                    trial.cancel()
                    trial.finish()
                trial.driver.forget(trial.placement)


class Trial:
    """One attempt of one job, and what the control plane would have on record of it."""

    def __init__(self, subject: Subject, driver: Driver, placement: Placement, workload: Workload) -> None:
        self.subject = subject
        self.driver = driver
        self.placement = placement
        self.workload = workload
        self.was_submitted = False
        self.reports: list[Report] = []
        self.submitted_at = subject.now()

    def submit(self, holds: Callable[[], bool] = always) -> Trial:
        """Submit it, or once more."""
        self.was_submitted = True
        self.driver.submit(self.placement, self.workload, self.subject.now(), holds)
        self.placement = replace(self.placement, is_accepted=True)
        return self

    def submit_in_vain(self) -> None:
        """Submit as a worker does whose claim is over; the driver may refuse, or do nothing."""
        with contextlib.suppress(EngineUnavailable, CapacityRefused, SubmissionRefused):
            self.driver.submit(self.placement, self.workload, self.subject.now(), lambda: False)

    def seen_by(self, driver: Driver, *, from_the_beginning: bool = False) -> Trial:
        """Return the same attempt on another instance.

        Args:
            driver: the instance.
            from_the_beginning: as a worker sees it that died before anything of it was written.
        """
        placement = self.placement
        if from_the_beginning:
            placement = replace(placement, is_accepted=False, started_at=None, engine_ref=None)
        seen = Trial(self.subject, driver, placement, self.workload)
        seen.was_submitted, seen.submitted_at = self.was_submitted, self.submitted_at
        return seen

    def poll(self) -> Report:
        """Ask about it, and put on record what a worker does."""
        report = self.driver.poll(self.placement, self.workload, self.subject.now())
        self.reports.append(report)
        placement = self.placement
        if report.engine_ref is not None:
            placement = replace(placement, engine_ref=report.engine_ref)
        if report.started_at is not None and placement.started_at is None:
            placement = replace(placement, started_at=report.started_at)
        self.placement = placement
        return report

    def cancel(self) -> None:
        """Ask for its end."""
        self.driver.cancel(self.placement, self.subject.now())

    def until(self, state: PlacementState) -> Trial:
        """Poll until it is in that state, which is not a final one.

        Raises:
            AssertionError: it ended, or never came there.
        """

        def is_there() -> bool:
            report = self.poll()
            assert report.state in UNFINISHED, f"it ended ({_said(report)}) instead of coming to {state.value}"
            return report.state is state

        self.subject.eventually(is_there, f"to see the placement {state.value}")
        return self

    def until_begun(self) -> Trial:
        """Poll until the program has begun; a short one may have ended by then, on a busy machine."""
        self.subject.eventually(
            lambda: self.poll().state is not PlacementState.PROVISIONING, "to see a placement begin"
        )
        self.subject.eventually(lambda: self.times_begun() > 0, "to see that its program has begun")
        return self

    def until_unavailable(self) -> None:
        """Poll until the driver says that it cannot ask its engine, which is away; it says of no end meanwhile.

        Raises:
            AssertionError: it answers with what is older than the driver's answers may be, or tells of an end.
        """
        away_at = self.subject.now()

        def is_unavailable() -> bool:
            away_seconds = self.subject.now() - away_at
            if not self._is_told():
                return True
            limit = self.subject.stale_seconds
            assert away_seconds <= limit, (
                f"{away_seconds:g} s after the engine was away it is told what was known before"
            )
            report = self.reports[-1]
            assert report.state in UNFINISHED, f"it is said to have ended ({_said(report)}) while the engine was away"
            return False

        self.subject.eventually(is_unavailable, "to hear EngineUnavailable about a placement while the engine was away")

    def until_available(self) -> None:
        """Poll until the driver answers again.

        Raises:
            AssertionError: it never does.
        """
        self.subject.eventually(self._is_told, "to hear of a placement after the engine was away")

    def _is_told(self) -> bool:
        try:
            self.poll()
        except EngineUnavailable:
            return False
        return True

    def finish(self) -> Report:
        """Poll until it has ended.

        Raises:
            AssertionError: it never does.
        """
        self.subject.eventually(lambda: self.poll().state not in UNFINISHED, "to see the placement end")
        return self.reports[-1]

    def complete(self) -> Report:
        """Poll until it has completed.

        Raises:
            AssertionError: it never does, or ended otherwise.
        """
        report = self.finish()
        assert report.state is PlacementState.COMPLETED, f"a program that exits with 0 is {_said(report)}"
        return report

    def times_begun(self) -> int:
        """How often its program has begun."""
        return self.subject.times_begun(self.placement)

    def chunk(self, offset: int = 0, limit: int = _READ_BYTES) -> LogChunk:
        """Read a part of what was printed."""
        return self.driver.logs(self.placement, offset, limit)

    def output(self, limit: int = _READ_BYTES) -> bytes:
        """Read on until all is read, and return what the program printed.

        Raises:
            AssertionError: the output never becomes complete, or has gaps.
        """
        read = bytearray()

        def is_complete() -> bool:
            chunk = self.chunk(len(read), limit)
            assert chunk.offset == len(read), f"bytes from {len(read)} on were asked for, and {chunk.offset} answered"
            assert len(chunk.data) <= limit, f"{limit} bytes were asked for, and {len(chunk.data)} came"
            read.extend(chunk.data)
            return chunk.complete

        self.subject.eventually(is_complete, "to read the output to its end")
        preamble = self.subject.preamble(self.workload)
        assert bytes(read[: len(preamble)]) == preamble, f"the output begins {bytes(read[:80])!r}, not {preamble!r}"
        return bytes(read[len(preamble) :])


def _said(report: Report) -> str:
    code = f", {report.error_code}" if report.error_code else ""
    return f"{report.state.value}{code}"


def essence(report: Report) -> tuple[object, ...]:
    """Return what of a final report must not change."""
    return report.state, report.started_at, report.finished_at, report.error_code
