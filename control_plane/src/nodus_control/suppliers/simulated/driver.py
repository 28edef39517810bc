"""The `simulated` driver: mock suppliers that provision, refuse, lose and finish jobs without running anything.

It remembers nothing that matters. What happens to a placement follows from the seed, the job's id, the attempt and
the time of the placement, so a control plane that was killed goes on where it was. A job is steered by its `env`:
`NODUS_SIM_DURATION_SECONDS`, `NODUS_SIM_OUTCOME` (`completed` or `failed`) and `NODUS_SIM_ERROR`.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nodus_core.catalogue import Catalogue
from nodus_core.ids import random_part
from nodus_core.seeded_random import stream
from nodus_core.suppliers_file import SimulatedOptions

from ..protocol import (
    CapacityRefused,
    Found,
    LogChunk,
    Placement,
    PlacementState,
    Report,
    SubmissionRefused,
    Workload,
    always,
)
from .output import write_output

DURATION_VARIABLE = "NODUS_SIM_DURATION_SECONDS"
OUTCOME_VARIABLE = "NODUS_SIM_OUTCOME"
ERROR_VARIABLE = "NODUS_SIM_ERROR"
MAX_RUNTIME_EXCEEDED = "max_runtime_exceeded"

_OUTCOMES = ("completed", "failed")
_DEFAULT_DURATION = (0.3, 0.9)
_LONGEST_DURATION_SECONDS = 10 * 365 * 86_400.0
_MAX_ERROR_LENGTH = 2000
_MOST_CANCELLED = 65_536
_USUAL = SimulatedOptions()


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the control plane knows about a placement that this driver is asked about later. Unix seconds."""

    workload: Workload
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class _Timeline:
    """What will happen to a placement if nobody interferes. Unix seconds."""

    started_at: float
    finished_at: float
    report: Report


class SimulatedDriver:
    """Mock suppliers, with the provisioning times, refusals and losses of their catalogue entries.

    Args:
        catalogue: the suppliers.
        seed: determines everything that happens by chance.
        now: the control plane's clock, in Unix seconds: how much of its output a job has written.
        recall: returns what a placement ran, for its output.
        is_reliable: whether only refusals and losses happen that are asked for.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        seed: int,
        now: Callable[[], float],
        recall: Callable[[Placement], Recalled | None],
        is_reliable: bool = False,
    ) -> None:
        self._catalogue = catalogue
        self._seed = seed
        self._now = now
        self._recall = recall
        self._is_reliable = is_reliable
        # From `cancel` to `forget`; the worker asks again after a restart, and forgets what has ended.
        self._cancelled: dict[tuple[str, int], float] = {}
        self._lock = threading.Lock()

    def reseed(self, seed: int) -> None:
        """Derive all chance from another seed: for a control plane that was emptied."""
        self._seed = seed

    @property
    def name(self) -> str:
        """`simulated`."""
        return "simulated"

    @property
    def runs_commands(self) -> bool:
        """No."""
        return False

    def identity(self) -> str | None:
        """Return None: suppliers that nobody owns are the same wherever they are simulated."""
        return None

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Accept the placement, or refuse it as often as this supplier does. Repeated, it changes nothing.

        Raises:
            CapacityRefused: by chance.
            SubmissionRefused: (`invalid_simulation`) a `NODUS_SIM_…` variable has an invalid value.
        """
        _steering(workload.env)
        chance = self._stream("capacity", placement).random()
        if not self._is_reliable and chance < self._options(placement.supplier).capacity_refusal_rate:
            raise CapacityRefused(f"{placement.supplier} has no {workload.gpu} left in {placement.region}")

    def poll(self, placement: Placement, workload: Workload, now: float) -> Report:
        """Report the state of the placement at `now`."""
        timeline = self._timeline(placement, workload)
        with self._lock:
            cancelled_at = self._cancelled.get((placement.job_id, placement.attempt))
        if cancelled_at is not None and cancelled_at < timeline.finished_at:
            has_started = timeline.started_at <= cancelled_at
            return Report(
                PlacementState.CANCELLED,
                started_at=timeline.started_at if has_started else None,
                finished_at=max(cancelled_at, placement.placed_at),
            )
        if now >= timeline.finished_at:
            return timeline.report
        if now >= timeline.started_at:
            return Report(PlacementState.RUNNING, started_at=timeline.started_at, next_poll_at=timeline.finished_at)
        entry = self._catalogue.suppliers.get(placement.supplier)
        deadline = None if entry is None else entry.start_deadline_seconds
        late_at = math.inf if deadline is None else _milliseconds(placement.placed_at + deadline) + 0.001
        next_poll_at = min(timeline.started_at, late_at) if now < late_at else timeline.started_at
        return Report(PlacementState.PROVISIONING, next_poll_at=next_poll_at)

    def cancel(self, placement: Placement, now: float) -> None:
        """End the placement now."""
        with self._lock:
            self._cancelled.setdefault((placement.job_id, placement.attempt), now)
            if len(self._cancelled) > _MOST_CANCELLED:
                del self._cancelled[next(iter(self._cancelled))]

    def forget(self, placement: Placement) -> None:
        """Forget that the placement was cancelled: nothing else is held of it."""
        with self._lock:
            self._cancelled.pop((placement.job_id, placement.attempt), None)

    def list_placements(self) -> Sequence[Found]:
        """Return none: no engine holds any."""
        return ()

    def logs(self, placement: Placement, offset: int, limit: int) -> LogChunk:
        """Return what a job of this kind would have printed by now."""
        recalled = self._recall(placement)
        if recalled is None:
            return LogChunk(b"", offset, 0, complete=True)
        timeline = self._timeline(placement, recalled.workload)
        until = self._now() if recalled.ended_at is None else recalled.ended_at
        text = write_output(
            placement,
            recalled.workload,
            self._stream("output", placement),
            started_at=timeline.started_at,
            finished_at=timeline.finished_at,
            report=timeline.report,
            until=until,
        )
        data = text.encode()
        is_complete = recalled.ended_at is not None and offset + limit >= len(data)
        return LogChunk(data[offset : offset + limit], offset, len(data), complete=is_complete)

    def _timeline(self, placement: Placement, workload: Workload) -> _Timeline:
        duration, outcome, error = _steering(workload.env)
        options = self._options(placement.supplier)
        shortest, longest = options.provisioning_seconds
        chance = self._stream("course", placement)
        started_at = _milliseconds(placement.placed_at + chance.uniform(shortest, longest))
        lost_after = chance.expovariate(options.loss_per_hour / 3600) if options.loss_per_hour else math.inf
        if duration is None:
            # How long a program takes does not depend on where it runs.
            share = stream(self._seed, "duration", random_part(placement.job_id)).uniform(*_DEFAULT_DURATION)
            duration = share * workload.max_runtime_seconds
        runs_for = min(duration, workload.max_runtime_seconds)
        if not self._is_reliable and lost_after < runs_for:
            lost_at = _milliseconds(started_at + lost_after)
            return _Timeline(
                started_at, lost_at, Report(PlacementState.LOST, started_at=started_at, finished_at=lost_at)
            )
        finished_at = _milliseconds(started_at + runs_for)
        if duration > workload.max_runtime_seconds:
            report = Report(
                PlacementState.FAILED,
                started_at=started_at,
                finished_at=finished_at,
                error_code=MAX_RUNTIME_EXCEEDED,
                error_message=f"The job was stopped after {workload.max_runtime_seconds} s, its max_runtime_seconds.",
            )
        elif outcome == "failed":
            report = Report(
                PlacementState.FAILED,
                started_at=started_at,
                finished_at=finished_at,
                error_code="job_failed",
                error_message=error or "The simulated program exited with status 1.",
            )
        else:
            report = Report(PlacementState.COMPLETED, started_at=started_at, finished_at=finished_at)
        return _Timeline(started_at, finished_at, report)

    def _options(self, supplier: str) -> SimulatedOptions:
        """Return how a supplier is simulated; in the usual way where it is not in the file any more, or runs jobs."""
        entry = self._catalogue.suppliers.get(supplier)
        return entry.options if entry is not None and isinstance(entry.options, SimulatedOptions) else _USUAL

    def _stream(self, purpose: str, placement: Placement) -> random.Random:
        return stream(
            self._seed, purpose, random_part(placement.job_id), placement.attempt, placement.supplier, placement.region
        )


def _steering(env: Mapping[str, str]) -> tuple[float | None, str, str | None]:
    """Read the duration in seconds, the outcome and the error message from a job's `env`.

    Raises:
        SubmissionRefused: a value is invalid.
    """
    error = env.get(ERROR_VARIABLE)
    outcome = env.get(OUTCOME_VARIABLE, "completed" if error is None else "failed")
    if outcome not in _OUTCOMES:
        raise SubmissionRefused("invalid_simulation", f"{OUTCOME_VARIABLE} must be one of {', '.join(_OUTCOMES)}.")
    text = env.get(DURATION_VARIABLE)
    if text is None:
        return None, outcome, error and error[:_MAX_ERROR_LENGTH]
    try:
        duration = float(text)
    except ValueError:
        duration = math.nan
    if not 0 <= duration <= _LONGEST_DURATION_SECONDS:
        raise SubmissionRefused("invalid_simulation", f"{DURATION_VARIABLE} must be a number of seconds, 0 or more.")
    return duration, outcome, error and error[:_MAX_ERROR_LENGTH]


def _milliseconds(seconds: float) -> float:
    """Round a time to the stored resolution, so that a reported time equals the one asked about later."""
    return round(seconds * 1000) / 1000
