"""What an operator decides about an engine for containers, and the secrets that those decisions refer to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_MIN_FREE_DISK_BYTES = 10 << 30
DEFAULT_PIDS = 4096

NVIDIA = "nvidia"
NO_DEVICES = "none"

NO_NETWORK = "none"
BRIDGE = "bridge"
HOST = "host"


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
        registry_auth: credentials for registries (`USER:PASSWORD`), by registry.
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
    network: str = BRIDGE
    isolation_is_not_needed: bool = False
    registries: tuple[str, ...] | None = None
    registry_auth: Mapping[str, Reference] = field(default_factory=dict)
    min_free_disk_bytes: int = DEFAULT_MIN_FREE_DISK_BYTES


def resolve(reference: Reference) -> str:
    """Return a secret, without the line break at the end of its file.

    Raises:
        RuntimeError: the variable is not set, or the file cannot be read.
    """
    if isinstance(reference, EnvReference):
        value = os.environ.get(reference.name)
        if value is None:
            raise RuntimeError(f"the environment variable {reference.name} is not set: set it, or name another")
        return value
    try:
        return Path(reference.path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise RuntimeError(f"the secret in {reference.path} cannot be read: {exc}") from exc
