"""What an operator says about a Slurm cluster, and whose jobs go there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


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
class SlurmOptions:
    """`[supplier.slurm]`: a cluster, by its command line.

    Attributes:
        folder: an absolute path on the cluster's shared file system.
        transport: the login node that runs the commands; None for this host.
        partition: where jobs are queued; None for the cluster's default.
        gpu_names: what a GPU is called in `--gres=gpu:NAME:COUNT`, where that is not its own name.
        image_command: a template that runs an image, with the placeholders `{env}`, `{work}` and `{image}`; empty where
            only the `images` can be run.
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


class Owner(Protocol):
    """Whose jobs a driver gives to the cluster."""

    @property
    def database_id(self) -> str:
        """Of the control plane's database: part of every name on the cluster."""
        ...

    @property
    def incarnation(self) -> str:
        """Of the database, which a restore changes."""
        ...
