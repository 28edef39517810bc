"""An engine that does what a test says, and counts what is asked of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from nodus_control.suppliers.protocol import (
    Found,
    LogChunk,
    Placement,
    PlacementState,
    Report,
    Workload,
    always,
)


def running(placement: Placement, now: float) -> Report:
    """Say that it runs since it was placed."""
    return Report(PlacementState.RUNNING, started_at=placement.placed_at, next_poll_at=now + 10)


class EngineStub:
    """Takes everything and says that it runs, unless it is told otherwise.

    Attributes:
        reports: what it says of a placement.
        on_submit: what happens when one is submitted; likewise `on_cancel` and `on_list`.
        submitted: the placements that it was given; likewise `polled`, `cancelled` and `forgotten`.
    """

    name = "stub"
    runs_commands = True

    def __init__(self) -> None:
        self.reports: Callable[[Placement, float], Report] = running
        self.on_submit: Callable[[Placement, Callable[[], bool]], None] = lambda placement, holds: None
        self.on_cancel: Callable[[Placement], None] = lambda placement: None
        self.on_list: Callable[[], Sequence[Found]] = lambda: ()
        self.engine: Callable[[], str | None] = lambda: "engine 1"
        self.output = b""
        self.submitted: list[Placement] = []
        self.polled: list[Placement] = []
        self.cancelled: list[Placement] = []
        self.forgotten: list[Placement] = []
        self._lock = threading.Lock()

    def identity(self) -> str | None:
        """Return its name."""
        return self.engine()

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Count, then do as told."""
        with self._lock:
            self.submitted.append(placement)
        self.on_submit(placement, holds)

    def poll(self, placement: Placement, workload: Workload, now: float) -> Report:
        """Count, then report as told; what was cancelled is."""
        with self._lock:
            self.polled.append(placement)
            ended = any((each.job_id, each.attempt) == (placement.job_id, placement.attempt) for each in self.cancelled)
        report = self.reports(placement, now)
        if ended and report.state in (PlacementState.RUNNING, PlacementState.PROVISIONING):
            started_at = report.started_at
            return Report(PlacementState.CANCELLED, started_at, now if started_at is None else max(now, started_at))
        return report

    def cancel(self, placement: Placement, now: float) -> None:
        """Do as told, then count."""
        self.on_cancel(placement)
        with self._lock:
            self.cancelled.append(placement)

    def logs(self, placement: Placement, offset: int, limit: int) -> LogChunk:
        """Return what it was given."""
        return LogChunk(self.output[offset : offset + limit], offset, len(self.output), complete=True)

    def forget(self, placement: Placement) -> None:
        """Count."""
        with self._lock:
            self.forgotten.append(placement)

    def list_placements(self) -> Sequence[Found]:
        """Return what it was told."""
        return self.on_list()
