"""The drivers of this project, as the conformance suite needs to know them."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from conformance.memory import MemoryDriver, MemoryEngine, MovedClock, program_command

from nodus_control.runner.output import image_notice
from nodus_control.suppliers.conformance import Program, Subject, Trial
from nodus_control.suppliers.process.driver import ProcessDriver
from nodus_control.suppliers.process.keeping import AttemptOwner
from nodus_control.suppliers.protocol import Driver, Placement, Workload
from nodus_control.suppliers.simulated.driver import Recalled, SimulatedDriver
from nodus_core.catalogue import default_catalogue

_STEP_SECONDS = 0.25


class OnMovedClock(Subject):
    """A subject whose time passes when a check rests, so that no check takes any."""

    patience_seconds = 600.0

    def __init__(self) -> None:
        super().__init__()
        self.clock = MovedClock()

    def now(self) -> float:
        """Return the moved clock's time."""
        return self.clock.now()

    def rest(self) -> None:
        """Move the clock."""
        self.clock.advance(_STEP_SECONDS)


class MemorySubject(OnMovedClock):
    """The engine in memory, and a kind of driver for it."""

    database_id = "db"
    incarnation = "first"
    missing_gpus = (99,)
    gpu_indices = (0,)

    def __init__(self, make: type[MemoryDriver] = MemoryDriver) -> None:
        super().__init__()
        self.engine = MemoryEngine(self.clock.now)
        self._make = make

    def make_driver(self) -> Driver:
        """Make one of that kind."""
        return self._make(self.engine, database_id=self.database_id, incarnation=self.incarnation)

    def make_driver_elsewhere(self) -> Driver:
        """Make one on another engine."""
        return self._make(MemoryEngine(self.clock.now, identity="another"))

    def times_begun(self, placement: Placement) -> int:
        """Ask the engine."""
        return self.engine.times_begun(placement.job_id, placement.attempt)

    def can_stop_engine(self) -> bool:
        """It can."""
        return True

    def stop_engine(self) -> None:
        """Have it not answer."""
        self.engine.is_up = False

    def start_engine(self) -> None:
        """Have it answer."""
        self.engine.is_up = True

    def delay_starts(self, seconds: float) -> bool:
        """Delay them."""
        self.engine.start_delay = seconds
        return True

    def workload(
        self,
        program: Program,
        placement: Placement,
        *,
        env: Mapping[str, str] | None = None,
        max_runtime_seconds: int = 3600,
    ) -> Workload:
        """Say it in this engine's commands."""
        return Workload(self.image, self.gpu, 1, max_runtime_seconds, program_command(program), dict(env or {}))


class OnSharedFiles(Subject):
    """A subject whose programs leave a line in a file of this machine.

    Args:
        directory: where the files are, in a directory of their own.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__()
        self._traces = directory / "traces"
        self._traces.mkdir()

    def times_begun(self, placement: Placement) -> int:
        """Count the lines that its programs left."""
        trace = self._trace(placement)
        return len(trace.read_bytes().splitlines()) if trace.exists() else 0

    def opening(self, placement: Placement) -> str:
        """Leave a line."""
        return f"echo begun >> '{self._trace(placement)}'"

    def _trace(self, placement: Placement) -> pathlib.Path:
        return self._traces / f"{placement.job_id}-{placement.attempt}"


class ProcessSubject(OnSharedFiles):
    """Real commands on this machine."""

    database_id = "db"
    incarnation = "first"
    image = "example/image:1"

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__(directory)
        self._directory = directory

    def make_driver(self) -> Driver:
        """Make one on the one state directory."""
        return self._driver("state")

    def make_driver_elsewhere(self) -> Driver:
        """Make one on another."""
        return self._driver("elsewhere")

    def preamble(self, workload: Workload) -> bytes:
        """Say that the image was not run."""
        return image_notice(workload.image).encode()

    def _driver(self, name: str) -> ProcessDriver:
        return ProcessDriver(
            self._directory / name,
            secret=b"what the records of these tests are authenticated with",
            owner=AttemptOwner(self.database_id, self.incarnation),
            grace_seconds=0.3,
            linger_seconds=0.2,
        )


class SimulatedSubject(OnMovedClock):
    """Nothing runs: what a job would have come to is steered by its variables."""

    runs_programs = False
    patience_seconds = 7200.0
    remembers_cancellations = False

    def __init__(self) -> None:
        super().__init__()
        self._catalogue = default_catalogue()
        self._supplier = next(iter(self._catalogue.suppliers.values()))

    def make_driver(self) -> Driver:
        """Make one that neither refuses nor loses anything."""
        return SimulatedDriver(self._catalogue, seed=7, now=self.now, recall=self._recall, is_reliable=True)

    def times_begun(self, placement: Placement) -> int:
        """Nothing ever begins."""
        return 0

    def placement(self, *, job_id: str | None = None, attempt: int = 1) -> Placement:
        """Place it at the first supplier."""
        made = super().placement(job_id=job_id, attempt=attempt)
        return Placement(made.job_id, attempt, self._supplier.name, self._supplier.regions[0], made.placed_at)

    def workload(
        self,
        program: Program,
        placement: Placement,
        *,
        env: Mapping[str, str] | None = None,
        max_runtime_seconds: int = 3600,
    ) -> Workload:
        """Steer it."""
        outcome = "failed" if program.exit_code else "completed"
        steering = {"NODUS_SIM_DURATION_SECONDS": f"{program.seconds:g}", "NODUS_SIM_OUTCOME": outcome}
        return Workload(self.image, self.gpu, 1, max_runtime_seconds, None, {**steering, **(env or {})})

    def _recall(self, placement: Placement) -> Recalled | None:
        found: list[Trial] = [each for each in self.trials if each.placement.job_id == placement.job_id]
        return Recalled(found[0].workload, None) if found else None
