"""Suppliers for tests, as a file would name them."""

from __future__ import annotations

from collections.abc import Mapping

from nodus_core.catalogue import Catalogue
from nodus_core.suppliers_file import (
    DockerOptions,
    DriverName,
    SlurmOptions,
    SupplierEntry,
    SupplierKind,
    SuppliersFile,
    UnixEndpoint,
)
from nodus_ledger.jobs.capacity import Layout


def supplier(
    name: str,
    micros_per_gpu_hour: Mapping[str, int],
    gpus: Mapping[str, int] | None = None,
    *,
    retry_after_loss: int = 2,
) -> SupplierEntry:
    """Make a supplier that runs jobs; without `gpus` one whose engine has a queue of its own."""
    docker, slurm = (
        DockerOptions(UnixEndpoint("/nowhere")),
        SlurmOptions("/nowhere", image_command=("run", "{image}"), isolation_is_not_needed=True),
    )
    return SupplierEntry(
        name=name,
        kind=SupplierKind.NEOCLOUD,
        regions=("here",),
        driver=DriverName.DOCKER if gpus else DriverName.SLURM,
        gpus=gpus,
        micros_per_gpu_hour=micros_per_gpu_hour,
        options=docker if gpus else slurm,
        retry_after_loss=retry_after_loss,
    )


def file_of(*entries: SupplierEntry) -> SuppliersFile:
    """Make a file of suppliers."""
    return SuppliersFile(entries)


def catalogue_of(*entries: SupplierEntry) -> Catalogue:
    """Make the catalogue of such a file."""
    return Catalogue(file_of(*entries))


def layout_of_one_machine(catalogue: Catalogue, *, gpus: int, at_once: int) -> Layout:
    """Make the layout of a machine that runs the jobs of all suppliers: so many GPUs of each model, and jobs."""
    return Layout(
        dict.fromkeys(catalogue.suppliers, "machine"),
        {("machine", gpu): gpus for gpu in catalogue.gpus},
        {"machine": at_once},
    )
