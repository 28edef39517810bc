"""Jobs on a real cluster: how the tests here submit them, wait for them and look at what they left."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from patience import PATIENCE_SECONDS, eventually, pause_after
from servers.slurm import SlurmCluster

from nodus_control.suppliers.protocol import EngineUnavailable, Placement, PlacementState, Report, Workload
from nodus_control.suppliers.slurm.driver import SlurmDriver
from nodus_control.suppliers.slurm.names import name_of
from nodus_control.suppliers.slurm.script import Pace
from nodus_core.suppliers_file import SlurmOptions

IMAGE = "registry.example/none:1"
DATABASE = "db1"
QUICK = Pace(alive_seconds=1, silent_seconds=4)
LOST_SECONDS = 8.0
"""For scripts of that pace."""
UNFINISHED = (PlacementState.PROVISIONING, PlacementState.RUNNING)


@dataclass(frozen=True)
class Whose:
    """Whose jobs they are."""

    database_id: str
    incarnation: str = ""


def options_of(cluster: SlurmCluster, **changes: object) -> SlurmOptions:
    """What an operator says about the cluster of the tests, where one image stands for no container at all."""
    given: dict[str, object] = {
        "folder": str(cluster.folder / "nodus"),
        "partition": "gpu",
        "gpu_names": {"h100_80gb": "h100"},
        "images": {IMAGE: ()},
    }
    return SlurmOptions(**{**given, **changes})  # type: ignore[arg-type]


def driver_of(
    cluster: SlurmCluster, *, pace: Pace | None = None, lost_seconds: float = 120.0, **changes: object
) -> SlurmDriver:
    """A driver, as another worker would have one."""
    context = Whose(DATABASE, "first")
    return SlurmDriver(options_of(cluster, **changes), context, pace=pace, lost_seconds=lost_seconds)


class ClusterJob:
    """One attempt of one job on a driver."""

    def __init__(
        self,
        driver: SlurmDriver,
        cluster: SlurmCluster,
        command: Sequence[str] | None,
        *,
        env: Mapping[str, str] | None = None,
        limit_seconds: int = 600,
        gpus: int = 1,
        image: str = IMAGE,
    ) -> None:
        self.driver = driver
        self.placement = Placement(f"job_{uuid.uuid4().hex[:12]}", 1, "cluster", "here", time.time())
        words = None if command is None else tuple(command)
        self.workload = Workload(image, "h100_80gb", gpus, limit_seconds, words, env or {})
        self.name = name_of(DATABASE, self.placement)
        self.folder = Path(cluster.folder) / "nodus" / "attempts" / self.name

    def submit(self, holds: Callable[[], bool] = lambda: True) -> ClusterJob:
        self.driver.submit(self.placement, self.workload, time.time(), holds)
        return self

    def poll(self) -> Report:
        """Ask until there is an answer: a busy machine is late with it."""
        began = time.monotonic()
        while True:
            try:
                return self.driver.poll(self.placement, self.workload, time.time())
            except EngineUnavailable:
                waited = time.monotonic() - began
                assert waited < PATIENCE_SECONDS, "the cluster cannot be asked"
                time.sleep(pause_after(waited))

    def cancel(self) -> None:
        self.driver.cancel(self.placement, time.time())

    def running(self) -> ClusterJob:
        """Wait until the program is known to run."""
        eventually(lambda: self.poll().state is PlacementState.RUNNING, lambda: f"it does not run: {self.poll()}")
        return self

    def over(self) -> Report:
        """Wait for the end."""
        eventually(lambda: self.poll().state not in UNFINISHED, lambda: f"it does not end: {self.poll()}")
        return self.poll()

    def output(self) -> bytes:
        return self.driver.logs(self.placement, 0, 1 << 30).data

    def prints(self, text: bytes) -> ClusterJob:
        """Wait until the program has printed this."""
        eventually(lambda: text in self.output(), lambda: f"it printed {self.output()!r}")
        return self


def wait_until_copies_are_over(slurm: SlurmCluster, job: ClusterJob) -> None:
    """Wait until Slurm runs nothing of a job any more."""
    active = {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING"}
    eventually(lambda: all(name != job.name or state not in active for name, state in slurm.jobs()))


def processes_of(job: ClusterJob) -> list[int]:
    """The processes of a job: its script, what that starts, and what watches over them for Slurm."""
    needle, found = job.name.encode(), []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            everything = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if needle in everything:
            found.append(int(pid))
    return found
