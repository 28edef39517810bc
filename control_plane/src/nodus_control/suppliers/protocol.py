"""What the worker asks of a supplier: the one seam between the state machine and whatever really runs a job.

Drivers are synchronous and thread-safe; the worker calls them in threads. Every time is Unix seconds of the
control plane's injected clock, passed in as `now`: a driver never looks at a wall clock to decide.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class CapacityRefused(Exception):
    """The supplier will not take this placement now; the worker excludes the offer and tries the next one."""


class SubmissionRefused(Exception):
    """The workload can never run on this driver (`command=None` for the process driver): the job fails, no failover."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Placement:
    """One attempt of one job at one offer; `(job_id, attempt)` identifies it for ever.

    What the control plane has on record of it: `is_accepted` once a driver has taken it, and when its program was first
    seen to have `started_at`, if it was. A driver can tell from these that something of its own has gone missing.
    """

    job_id: str
    attempt: int
    supplier: str
    region: str
    placed_at: float
    is_accepted: bool = False
    started_at: float | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """What is to run. `env` and `command` hold secrets: they never reach a log or a `repr`."""

    image: str
    gpu: str
    gpu_count: int
    max_runtime_seconds: int
    command: tuple[str, ...] | None = field(repr=False)
    env: Mapping[str, str] = field(repr=False)


class PlacementState(enum.Enum):
    """Where a placement stands. `LOST` asks for failover; the last four are final."""

    PROVISIONING = "provisioning"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Report:
    """A driver's answer to `poll`.

    `started_at` and `finished_at` are the true times, which may lie before `now`. `next_poll_at` is when the
    driver expects news, or None if it cannot tell.
    """

    state: PlacementState
    started_at: float | None = None
    finished_at: float | None = None
    error_code: str | None = None
    error_message: str | None = None
    next_poll_at: float | None = None


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Output bytes from `offset` on; `complete` once nothing more will come."""

    data: bytes
    offset: int
    total: int
    complete: bool


class Driver(Protocol):
    """A supplier engine."""

    @property
    def name(self) -> str:
        """`simulated` or `process`."""
        ...

    @property
    def runs_commands(self) -> bool:
        """Whether commands from API callers really run; the playground guards its page more strictly then."""
        ...

    def submit(self, placement: Placement, workload: Workload, now: float) -> None:
        """Start the workload, or adopt it if this placement was started before (a crash may repeat the call).

        Raises:
            CapacityRefused: no room here; try the next offer.
            SubmissionRefused: can never run on this driver.
        """
        ...

    def poll(self, placement: Placement, workload: Workload, now: float) -> Report:
        """Report the state of the placement. Never blocks for longer than a look at files or one request."""
        ...

    def cancel(self, placement: Placement, now: float) -> None:
        """Request the end; idempotent. `poll` reports `CANCELLED` once it is confirmed (within 10 s)."""
        ...

    def logs(self, placement: Placement, offset: int, limit: int) -> LogChunk:
        """Up to `limit` bytes of what the placement printed, from byte `offset` on."""
        ...
