"""Suppliers for tests, as a file would name them."""

from __future__ import annotations

from collections.abc import Mapping

from nodus_core.catalogue import Catalogue
from nodus_core.suppliers_file import (
    DockerOptions,
    DriverName,
    SupplierEntry,
    SupplierKind,
    SuppliersFile,
    UnixEndpoint,
)


def supplier(
    name: str,
    micros_per_gpu_hour: Mapping[str, int],
    gpus: Mapping[str, int] | None = None,
    *,
    retry_after_loss: int = 2,
) -> SupplierEntry:
    """Make a supplier that runs jobs; without `gpus` one whose engine has a queue of its own."""
    return SupplierEntry(
        name=name,
        kind=SupplierKind.NEOCLOUD,
        regions=("here",),
        driver=DriverName.DOCKER,
        gpus=gpus,
        micros_per_gpu_hour=micros_per_gpu_hour,
        options=DockerOptions(UnixEndpoint("/nowhere")),
        retry_after_loss=retry_after_loss,
    )


def file_of(*entries: SupplierEntry) -> SuppliersFile:
    """Make a file of suppliers."""
    return SuppliersFile(entries)


def catalogue_of(*entries: SupplierEntry) -> Catalogue:
    """Make the catalogue of such a file."""
    return Catalogue(file_of(*entries))
