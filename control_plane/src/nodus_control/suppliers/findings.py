"""What a look at a supplier's engine found: sentences for the operator, and how bad each is."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from nodus_core.suppliers_file import DockerOptions, SlurmOptions, SupplierEntry


class Level(enum.Enum):
    """How bad a finding is; with a `FAULT` no job can run."""

    GOOD = "good"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found."""

    level: Level
    text: str


def look_at(entry: SupplierEntry) -> Sequence[Finding]:
    """Ask the engine of a supplier what an operator should know of it; nothing for one that has no engine."""
    options = entry.options
    if isinstance(options, DockerOptions):
        from .docker.check import check as check_containers

        return check_containers(options, entry.gpus or {})
    if isinstance(options, SlurmOptions):
        from .slurm.checks import check as check_cluster

        return check_cluster(options, entry.micros_per_gpu_hour)
    return ()
