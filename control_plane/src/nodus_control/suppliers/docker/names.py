"""What containers and networks of ours are called, and the labels by which they are found again. Pure.

Names and labels are open to everyone who reaches the engine: they hold no secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..protocol import Placement

DATABASE = "nodus.database"
INCARNATION = "nodus.incarnation"
JOB = "nodus.job"
ATTEMPT = "nodus.attempt"
SUPPLIER = "nodus.supplier"
GPU_INDICES = "nodus.gpu-indices"

_STARTED = "-go"
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one attempt's container, before and after somebody has claimed its start.

    Attributes:
        made: the container that nobody has claimed yet; with `-` and eight hexadecimal digits, a network of it.
        claimed: the container that whoever renamed it starts.
    """

    made: str
    claimed: str


@dataclass(frozen=True, slots=True)
class ContainerOwner:
    """Whose a container is, by its labels.

    Attributes:
        gpu_indices: the GPUs that its control plane keeps to; None where it takes any.
    """

    database_id: str
    incarnation: str
    job_id: str
    attempt: int
    supplier: str
    gpu_indices: tuple[int, ...] | None


def names_of(database_id: str, placement: Placement) -> Names:
    """Return the names of an attempt's container.

    Raises:
        ValueError: the job's id, or the database's, cannot be part of a name.
    """
    for part in (database_id, placement.job_id):
        if not _PART.fullmatch(part):
            raise ValueError(f"{part!r} cannot be part of the name of a container")
    made = f"nodus-{database_id}-{placement.job_id}-{placement.attempt}"
    return Names(made, made + _STARTED)


def labels_of(owner: ContainerOwner) -> dict[str, str]:
    """Return the labels that say whose a container, or a network, is."""
    labels = {
        DATABASE: owner.database_id,
        INCARNATION: owner.incarnation,
        JOB: owner.job_id,
        ATTEMPT: str(owner.attempt),
        SUPPLIER: owner.supplier,
    }
    if owner.gpu_indices is not None:
        labels[GPU_INDICES] = ",".join(str(index) for index in owner.gpu_indices)
    return labels


def owner_of(labels: Mapping[str, str]) -> ContainerOwner | None:
    """Read what `labels_of` wrote; None for what is not ours, or not whole."""
    try:
        attempt = int(labels[ATTEMPT])
        written = labels.get(GPU_INDICES)
        indices = None if written is None else tuple(int(index) for index in written.split(",") if index)
        return ContainerOwner(
            labels[DATABASE],
            labels[INCARNATION],
            labels[JOB],
            attempt,
            labels.get(SUPPLIER, ""),
            indices,
        )
    except (KeyError, ValueError):
        return None


def may_share(ours: Sequence[int] | None, theirs: Sequence[int] | None) -> bool:
    """Say whether two control planes can use one engine: only if both say which GPUs are theirs, and none is both's."""
    return ours is not None and theirs is not None and not set(ours) & set(theirs)
