"""What a suppliers file says, as values: who has which GPUs, at what price, and how their jobs are run.

Nothing here reads a file, an environment or a clock: `nodus_core/suppliers_reading.py` makes these values from the
text, and whoever uses a secret resolves its reference.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

DEFAULT_START_DEADLINE_SECONDS = 900
DEFAULT_RETRY_AFTER_LOSS = 2
DEFAULT_MIN_FREE_DISK_BYTES = 10 << 30
DEFAULT_PIDS = 4096

GPU_NAME = re.compile(r"[a-z0-9_]{1,64}")
"""What the name of a GPU model may be: names are free."""

NVIDIA = "nvidia"
NO_DEVICES = "none"

GPU_FLAGS = ("--device", "--gpus", "--nv")
"""The options that give a container GPUs: a template that makes containers has one of them."""


def gives_gpus(command: Sequence[str]) -> bool:
    """Whether a template gives its container GPUs: by an option before the image, after which they are the program's.

    Args:
        command: an `image_command`.
    """
    image = next((number for number, item in enumerate(command) if "{image}" in item), len(command))
    return any(item.partition("=")[0] in GPU_FLAGS for item in command[:image])


class SupplierKind(str, enum.Enum):
    """The classes of suppliers that `require_tiers` filters by; `own` are the operator's machines and clusters."""

    HYPERSCALER = "hyperscaler"
    TIER3 = "tier3"
    NEOCLOUD = "neocloud"
    OWN = "own"


class DriverName(str, enum.Enum):
    """What runs the jobs of a supplier."""

    DOCKER = "docker"
    SLURM = "slurm"
    PROCESS = "process"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True)
class EnvReference:
    """A secret that stands in an environment variable of the process that uses it: `env:NAME`."""

    name: str

    def __str__(self) -> str:
        return f"env:{self.name}"


@dataclass(frozen=True, slots=True)
class FileReference:
    """A secret that stands in a file of the host that uses it: `file:PATH`, an absolute path."""

    path: str

    def __str__(self) -> str:
        return f"file:{self.path}"


Reference = EnvReference | FileReference


@dataclass(frozen=True, slots=True)
class UnixEndpoint:
    """An engine on this host: `unix:///PATH`, an absolute path."""

    path: str


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """An engine that is reached with TLS: `tcp://HOST:PORT`. `host` is without brackets if it is an IPv6 address."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class SshEndpoint:
    """A host that is reached with ssh: `ssh://USER@HOST:PORT`. What is None is left to the configuration of ssh."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def destination(self) -> str:
        """`user@host`, as ssh takes it. It never begins with a hyphen."""
        return self.host if self.user is None else f"{self.user}@{self.host}"


@dataclass(frozen=True, slots=True)
class Tls:
    """The certificates of an engine that is reached over the network, PEM: its authority, and our own with its key."""

    ca: Reference
    cert: Reference
    key: Reference


@dataclass(frozen=True, slots=True)
class DockerOptions:
    """`[supplier.docker]`: an engine with the Docker Engine API.

    Attributes:
        endpoint: where it is.
        tls: the certificates; given with a `TcpEndpoint`, and only there.
        gpu_devices: `nvidia` for device requests with the indices of the slots; `none`; or a device path for each slot.
        gpu_indices: which of the engine's GPUs are ours, one for each slot in the order of `gpus`; None for as many as
            `gpus` says, from 0.
        memory_bytes: the memory limit of a container; None for none.
        cpus: how many CPUs a container may use; None for all.
        pids: how many processes and threads a container may have.
        shm_bytes: the size of its /dev/shm; None for the engine's default.
        capabilities: what containers, which have none, are given back, without the prefix `CAP_`.
        network: `none`, `bridge` (one of its own for each placement) or `host`.
        isolation_is_not_needed: keys of several customers may submit although their programs could reach each other.
        registries: the registries that images may come from; None for any.
        registry_auth: credentials for registries, by registry.
        min_free_disk_bytes: below this nothing new is placed.
    """

    endpoint: UnixEndpoint | TcpEndpoint | SshEndpoint
    tls: Tls | None = None
    gpu_devices: str | tuple[str, ...] = NVIDIA
    gpu_indices: tuple[int, ...] | None = None
    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int = DEFAULT_PIDS
    shm_bytes: int | None = None
    capabilities: tuple[str, ...] = ()
    network: str = "bridge"
    isolation_is_not_needed: bool = False
    registries: tuple[str, ...] | None = None
    registry_auth: Mapping[str, Reference] = field(default_factory=dict)
    min_free_disk_bytes: int = DEFAULT_MIN_FREE_DISK_BYTES


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """`[supplier.slurm]`: a cluster, by its command line.

    Attributes:
        folder: an absolute path on the cluster's shared file system.
        transport: the login node that runs the commands; None for this host.
        partition: where jobs are queued; None for the cluster's default.
        gpu_names: what a GPU is called in `--gres=gpu:NAME:COUNT`, where that is not its own name.
        image_command: a template that runs an image, with the placeholders of `IMAGE_PLACEHOLDERS`; empty where only
            the `images` can be run.
        stop_command: a template that is run after the end and before it is recorded; empty for none.
        images: the command prefix for an image that needs no container.
        isolation_is_not_needed: keys of several customers may submit although their jobs run as one Unix user.
    """

    folder: str
    transport: SshEndpoint | None = None
    partition: str | None = None
    gpu_names: Mapping[str, str] = field(default_factory=dict)
    image_command: tuple[str, ...] = ()
    stop_command: tuple[str, ...] = ()
    images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    isolation_is_not_needed: bool = False


ENV_PLACEHOLDER = "{env}"
"""Becomes one `--env=NAME` for each variable; an item of its own."""
IMAGE_PLACEHOLDERS = (ENV_PLACEHOLDER, "{work}", "{image}")
STOP_PLACEHOLDERS = ("{work}", "{image}")


@dataclass(frozen=True, slots=True)
class ProcessSupplierOptions:
    """`[supplier.process]`: commands on the worker's own machine; images are not run.

    Attributes:
        user: the dedicated account that commands run as; None for the worker's own.
        isolation_is_not_needed: keys of several customers may submit although their programs can reach each other.
        memory_bytes: how much memory one process of a job may fill; None for any amount.
    """

    user: str | None = None
    isolation_is_not_needed: bool = False
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SimulatedOptions:
    """`[supplier.simulated]`: nothing runs.

    Attributes:
        provisioning_seconds: the shortest and the longest time from placement to running.
        capacity_refusal_rate: the fraction of placements that is refused.
        loss_per_hour: the rate at which running jobs are lost.
    """

    provisioning_seconds: tuple[float, float] = (0.0, 0.0)
    capacity_refusal_rate: float = 0.0
    loss_per_hour: float = 0.0


Options = DockerOptions | SlurmOptions | ProcessSupplierOptions | SimulatedOptions


@dataclass(frozen=True, slots=True)
class SupplierEntry:
    """One `[[supplier]]`.

    Attributes:
        name: 1 to 63 of `a-z 0-9 -`, unique in the file.
        kind: its class.
        regions: where it is, at least one; exactly one for `docker` and `process`.
        driver: what runs its jobs.
        gpus: how many GPUs there are of each model, in the order of the file; None where the engine queues by itself,
            or has as many as are asked for.
        micros_per_gpu_hour: what it offers: micro-USD for an hour of one GPU, by model. 0 is a price. The same models
            as in `gpus` where that is given.
        options: the driver's own section.
        start_deadline_seconds: how long after the placement a job must have started; None for `slurm`, and for
            `simulated` where the file does not say it.
        retry_after_loss: how many times a job that was lost here may be placed here again.
        unknown_grace_seconds: how long a job whose engine cannot be asked is waited for; 0 for as long as it takes, and
            for `simulated`.
    """

    name: str
    kind: SupplierKind
    regions: tuple[str, ...]
    driver: DriverName
    gpus: Mapping[str, int] | None
    micros_per_gpu_hour: Mapping[str, int]
    options: Options
    start_deadline_seconds: int | None = DEFAULT_START_DEADLINE_SECONDS
    retry_after_loss: int = DEFAULT_RETRY_AFTER_LOSS
    unknown_grace_seconds: int = 0

    @property
    def is_simulated(self) -> bool:
        """Whether nothing really runs here."""
        return self.driver is DriverName.SIMULATED


@dataclass(frozen=True, slots=True)
class SuppliersFile:
    """A whole file.

    Attributes:
        suppliers: the entries, in the order of the file; at least one.
        retail: what "vs retail" compares with where no hyperscaler offers a GPU: micro-USD per GPU-hour, by model.
    """

    suppliers: tuple[SupplierEntry, ...]
    retail: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_machines_of_others(self) -> bool:
        """Whether jobs really run on machines that are not the operator's own."""
        return any(not entry.is_simulated and entry.kind is not SupplierKind.OWN for entry in self.suppliers)
