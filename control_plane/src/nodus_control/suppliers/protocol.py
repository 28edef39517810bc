"""What the worker asks of a supplier: the one seam between the state machine and whatever really runs a job.

Drivers are synchronous and thread-safe; the worker calls them in threads, several at a time. Every time is Unix seconds
of the control plane's injected clock, passed in as `now`: a driver never looks at a wall clock to decide.

What an engine says is not believed beyond what it can know. A driver tells three kinds of trouble apart: an engine that
cannot be asked now (`EngineUnavailable`), one that has no room (`CapacityRefused`), and a workload that it can never
run (`SubmissionRefused`). Only an answer of the engine itself may become a final state.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


class EngineUnavailable(Exception):
    """The engine cannot be asked now, or did not answer in time: nothing is known, and the same is asked again later.

    Attributes:
        detail: a sentence for customers and operators, without addresses or secrets.
        never_sent: whether nothing of the request can have reached the engine, because there was no connection.
    """

    def __init__(self, detail: str, *, never_sent: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.never_sent = never_sent


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

    Attributes:
        gpu_indices: which of the supplier's GPUs of this model are the placement's, from 0; empty where the engine
            gives them out by itself.
        engine_ref: the engine's own name for it, as an earlier report gave it; ids are used again by engines, so it is
            never acted on without comparing the name of what it leads to.
    """

    job_id: str
    attempt: int
    supplier: str
    region: str
    placed_at: float
    is_accepted: bool = False
    started_at: float | None = None
    gpu_indices: tuple[int, ...] = ()
    engine_ref: str | None = None


class Program(Protocol):
    """Of a workload, what decides whether an engine can ever run it. `command` and `env` hold secrets."""

    @property
    def image(self) -> str:
        """The image's name."""
        ...

    @property
    def command(self) -> tuple[str, ...] | None:
        """The words to run; None for the image's own."""
        ...

    @property
    def env(self) -> Mapping[str, str]:
        """The variables."""
        ...


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
    """Where a placement stands. `LOST` asks for failover, `NOT_STARTED` too; the last five are final.

    `NOT_STARTED` says that the engine has confirmed that the program never ran and never will: the attempt costs
    nothing, and does not count as lost.
    """

    PROVISIONING = "provisioning"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    NOT_STARTED = "not_started"


@dataclass(frozen=True, slots=True)
class Report:
    """A driver's answer to `poll`.

    `started_at` and `finished_at` are the true times, by the engine's one clock, which may lie before `now`. For a
    `LOST` one `finished_at` is None where nobody knows it: it counts as ended at the last proof that it lived.
    `next_poll_at` is when the driver expects news, or None if it cannot tell.

    Attributes:
        phase: a short word for what the engine is doing before the program runs: `pulling`, `waiting_in_engine`.
        phase_detail: a sentence about that.
        progress_at: when what the phase waits for last made progress; None where that cannot be told.
        engine_ref: the engine's own name for the placement, to be stored with the attempt.
    """

    state: PlacementState
    started_at: float | None = None
    finished_at: float | None = None
    error_code: str | None = None
    error_message: str | None = None
    next_poll_at: float | None = None
    phase: str | None = None
    phase_detail: str | None = None
    progress_at: float | None = None
    engine_ref: str | None = None


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Output bytes from `offset` on; `complete` once nothing more will come."""

    data: bytes
    offset: int
    total: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Found:
    """Something that an engine holds under a name of ours, as `list_placements` found it.

    Attributes:
        job_id: of the placement.
        attempt: of the placement.
        database_id: whose it is; another control plane's is never touched.
        incarnation: of the database, which a restore changes.
        created_at: when the engine made it, by its clock.
        is_running: whether a program of it may be running.
    """

    job_id: str
    attempt: int
    database_id: str
    incarnation: str
    created_at: float
    is_running: bool


def always() -> bool:
    """Hold, always: the `holds` of whoever has no lease that could be lost."""
    return True


class Driver(Protocol):
    """A supplier's engine."""

    @property
    def name(self) -> str:
        """`simulated`, `process`, `docker`, `slurm`."""
        ...

    @property
    def runs_commands(self) -> bool:
        """Whether commands from API callers really run; the playground guards its page more strictly then."""
        ...

    def identity(self) -> str | None:
        """Return what tells this engine from every other for ever; None where there is only one.

        A worker that reaches another engine under the same supplier's name must not serve it.

        Raises:
            EngineUnavailable: it cannot be asked now.
        """
        ...

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Begin, or adopt what was begun of this placement before (a crash may repeat the call, and two may overlap).

        It does not wait for images or machines: `poll` reports these as phases.

        Args:
            placement: whose name makes the submission idempotent.
            workload: what is to run.
            now: the time.
            holds: whether the caller's claim is still its own, read anew. An engine without an idempotent submission
                asks it in the last moment before the program would start, and otherwise removes what it made.

        Raises:
            EngineUnavailable: nothing is known; with `never_sent`, nothing was begun.
            CapacityRefused: no room here; try the next offer.
            SubmissionRefused: can never run on this driver.
        """
        ...

    def poll(self, placement: Placement, workload: Workload, now: float) -> Report:
        """Report the state of the placement. Never blocks for longer than a look at files or one request.

        What it says of a placement that has not ended may be what the engine said a second ago, to whoever asked, or as
        long ago as the driver's own documentation says.

        Raises:
            EngineUnavailable: it cannot be asked now: the placement is where it was.
        """
        ...

    def cancel(self, placement: Placement, now: float) -> None:
        """Request the end; idempotent. `poll` reports `CANCELLED` once it is confirmed (within 10 s).

        Of one that never ran and now never will, `poll` may report `NOT_STARTED` instead.

        Raises:
            EngineUnavailable: the request may not have arrived; it is made again.
        """
        ...

    def logs(self, placement: Placement, offset: int, limit: int) -> LogChunk:
        """Up to `limit` bytes of what the placement printed, from byte `offset` on."""
        ...

    def forget(self, placement: Placement) -> None:
        """Remove what the engine holds of a placement that has ended, except its output; idempotent.

        Raises:
            EngineUnavailable: it is to be asked again.
        """
        ...

    def list_placements(self) -> Sequence[Found]:
        """Return everything that the engine holds under names of this project, whoever's it is.

        Raises:
            EngineUnavailable: it cannot be asked now.
        """
        ...


@runtime_checkable
class ClosableDriver(Protocol):
    """A driver that has threads or connections of its own."""

    def close(self) -> None:
        """End them; what runs on the engine runs on. The driver is not used any more."""
        ...
