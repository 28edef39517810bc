"""Where a campaign's jobs run: an engine for containers, or a cluster, with its suppliers file and what it says."""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from killings.programs import FileWitness, NetworkWitness, Witness
from killings.verdict import Key, Run
from servers.container_engines import ContainerEngine
from servers.slurm import GPUS_OF_A_NODE, NODES, SlurmCluster

CLUSTER_IMAGE = "registry.example/none:1"
SLOTS = 8
GIVEN_UP = "lost"
SIGNALLED = "signalled"

_CONTAINERS = """\
[[supplier]]
name = "lab"
kind = "own"
regions = ["basement"]
retry_after_loss = 9
driver = "docker"
gpus = {{ h100_80gb = {slots} }}
usd_per_gpu_hour = {{ h100_80gb = 3.6 }}
[supplier.docker]
endpoint = "{endpoint}"
gpu_devices = {devices}
network = "host"
isolation_is_not_needed = true
min_free_disk_gib = 0
"""

_CLUSTER = """\
[[supplier]]
name = "cluster"
kind = "own"
regions = ["campus"]
retry_after_loss = 9
driver = "slurm"
usd_per_gpu_hour = {{ h100_80gb = 3.6 }}
[supplier.slurm]
folder = "{folder}"
partition = "gpu"
gpu_names = {{ h100_80gb = "h100" }}
images = {{ "{image}" = [] }}
isolation_is_not_needed = true
"""


@dataclass(frozen=True, slots=True)
class Victim:
    """Something that is killed, and started again."""

    name: str
    kill: Callable[[], None]
    start: Callable[[], object]


class Site(Protocol):
    """An engine with 8 places for jobs.

    Attributes:
        suppliers: its suppliers file.
        image: what its jobs name.
        gpus: how many GPUs it has.
        gpu_counts: how many a job may ask for, the usual ones several times.
        witness: takes the marks of programs.
        victims: what of it is killed.
        may_lose: what tells of a program's end may be killed with it.
        killed_at: when it was killed, in Unix seconds, if it may then not know of something that it ran.
    """

    @property
    def suppliers(self) -> str: ...
    @property
    def image(self) -> str: ...
    @property
    def gpus(self) -> int: ...
    @property
    def gpu_counts(self) -> tuple[int, ...]: ...
    @property
    def witness(self) -> Witness: ...
    @property
    def victims(self) -> Sequence[Victim]: ...
    @property
    def may_lose(self) -> bool: ...
    @property
    def killed_at(self) -> Sequence[float]: ...

    def look(self) -> None:
        """See what the engine says of what has ended, before it may forget it."""
        ...

    def runs(self) -> Mapping[Key, Run]:
        """Return what the engine said of every program that was started."""
        ...

    def running(self) -> list[str]:
        """Return the names of what runs there."""
        ...

    def everything(self) -> list[str]:
        """Return the names of all that the engine holds of jobs."""
        ...


class ContainerSite:
    """An engine whose containers live on when it is killed. A node of its own stands for each GPU."""

    gpus = SLOTS
    gpu_counts = (1, 1, 1, 2)
    may_lose = False

    def __init__(self, engine: ContainerEngine, image: str, folder: Path, witness: NetworkWitness) -> None:
        self._engine = engine
        self._runs: dict[Key, Run] = {}
        self.image = image
        self.witness = witness
        null = os.stat("/dev/null").st_rdev
        self._devices = [str(folder / f"gpu{number}") for number in range(SLOTS)]
        for device in self._devices:
            os.mknod(device, stat.S_IFCHR | 0o666, null)
        self.suppliers = _CONTAINERS.format(slots=SLOTS, endpoint=engine.endpoint, devices=self._devices)
        self.victims = [Victim("dockerd", self._kill, engine.start_again)]
        self.killed_at: list[float] = []

    def _kill(self) -> None:
        self.killed_at.append(time.time())
        self._engine.kill()

    def look(self) -> None:
        """See what the engine says of what has ended, before it may forget it."""
        for container in self._engine.containers():
            labels = container["Labels"]
            key = (labels.get("nodus.job", ""), int(labels.get("nodus.attempt", 0)))
            known = self._runs.get(key)
            if container["State"] == "created" or (known is not None and known.seconds is not None):
                continue
            said = self._engine.find(container["Id"])
            if said is None:  # It was being removed. If it ran and was never seen, the verdict says so.
                continue
            began_at, ended_at = _seconds(said["State"]["StartedAt"]), _seconds(said["State"]["FinishedAt"])
            if began_at <= 0:
                continue
            is_over = ended_at > 0 and not said["State"]["Running"]
            self._runs[key] = Run(
                began_at,
                ended_at - began_at if is_over else None,
                tuple(each["PathOnHost"] for each in said["HostConfig"]["Devices"]),
                said["State"]["ExitCode"] if is_over else None,
            )

    def runs(self) -> Mapping[Key, Run]:
        """Return what the engine said of every program that was started."""
        self.look()
        return self._runs

    def running(self) -> list[str]:
        """Return the names of what runs there."""
        return [each["Names"][0] for each in self._engine.containers() if each["State"] == "running"]

    def everything(self) -> list[str]:
        """Return the names of all that the engine holds of jobs."""
        return [each["Names"][0] for each in self._engine.containers()] + self._engine.networks()


class ClusterSite:
    """A cluster of two nodes. Jobs ask for so many GPUs that 8 of them are all that run at once."""

    gpus = GPUS_OF_A_NODE * len(NODES)
    gpu_counts = (2,)
    may_lose = True
    killed_at = ()
    image = CLUSTER_IMAGE

    def __init__(self, cluster: SlurmCluster, folder: Path) -> None:
        self._cluster = cluster
        # One of its own: what other tests left on the cluster is nobody's here.
        self._folder = cluster.folder / f"nodus-{secrets.token_hex(4)}"
        self.suppliers = _CLUSTER.format(folder=self._folder, image=CLUSTER_IMAGE)
        self.witness = FileWitness(folder / "marks", "SLURMD_NODENAME", "SLURM_JOB_GPUS")
        nodes = [
            Victim(f"slurmd {node}", partial(cluster.kill_node, node), partial(cluster.start_node, node))
            for node in NODES
        ]
        self.victims = [Victim("slurmctld", cluster.kill_controller, cluster.start_controller), *nodes]

    def look(self) -> None:
        """Bring back nodes that the controller has taken out. What scripts wrote stays."""
        self._cluster.bring_back_nodes()

    def runs(self) -> Mapping[Key, Run]:
        """Return what the scripts of all programs that were started have on record."""
        gpus = {
            (mark.job_id, mark.attempt): tuple(f"{mark.rest[0]}:{each}" for each in mark.rest[1].split(","))
            for mark in self.witness.marks()
            if len(mark.rest) == 2
        }
        found = {}
        for folder in (self._folder / "attempts").iterdir():
            started = _words(folder / "started")
            if started[:1] == ["run"]:
                _, _, job_and_attempt = folder.name.split("-", 2)
                job_id, attempt = job_and_attempt.rsplit("-", 1)
                ended, alive = _words(folder / "ended"), _words(folder / "alive")
                key = (job_id, int(attempt))
                found[key] = Run(
                    float(started[2]),
                    int(ended[3]) / 100 if ended else None,
                    gpus.get(key, ()),
                    own_exit(ended),
                    (int(alive[0]) - int(started[3])) / 100 if alive else None,
                )
        return found

    def running(self) -> list[str]:
        """Return the names of what runs there, by Slurm's word or by that of their scripts."""
        by_slurm = [name for name, state in self._cluster.jobs() if state in ("PENDING", "RUNNING", "COMPLETING")]
        by_script = [
            folder.name
            for folder in (self._folder / "attempts").iterdir()
            if _words(folder / "claim")[:1] == ["run"] and not (folder / "ended").exists()
        ]
        return by_slurm + by_script

    def everything(self) -> list[str]:
        """Return the names of the attempts that were not forgotten."""
        return [each.parent.name for each in (self._folder / "attempts").glob("*/attempt")]


def own_exit(ended: Sequence[str]) -> int | None:
    """Return how a program ended by itself, by the words of its script's record.

    Who gives an attempt up has seen no exit. A program that Slurm ended has not ended by itself, unless with 0: nodes
    end what a controller has forgotten that was killed before it had written that down.
    """
    if not ended or ended[0] == GIVEN_UP or (ended[0] == SIGNALLED and int(ended[1]) != 0):
        return None
    return int(ended[1])


def _words(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def _seconds(written: str) -> float:
    """Read one of an engine's times, which have nine decimals; 0 or less for never."""
    return datetime.fromisoformat(f"{written[:26].rstrip('Z')}+00:00").timestamp()
