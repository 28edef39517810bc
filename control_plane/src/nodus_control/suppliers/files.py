"""Suppliers files on disk: read at the start of a command, and checked against what this version can run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nodus_core.catalogue import shipped_suppliers
from nodus_core.suppliers_file import (
    DriverName,
    Options,
    ProcessSupplierOptions,
    SupplierEntry,
    SupplierKind,
    SuppliersFile,
)
from nodus_core.suppliers_reading import InvalidSuppliersFile, read_suppliers

from ..exit_codes import Misconfigured
from .drivers import DOCKER, DRIVERS, PROCESS, SIMULATED
from .process.options import GPUS_OF_EACH_MODEL, ProcessOptions

SUPPLIERS_VARIABLE = "NODUS_SUPPLIERS"
MAX_FILE_BYTES = 1 << 20

LOCAL = "local"
"""The name of the one supplier where there is no file, and its region's."""

LOCAL_MICROS_PER_GPU_HOUR = 1_000_000


def load_suppliers(path: Path) -> SuppliersFile:
    """Read a suppliers file.

    Raises:
        Misconfigured: it cannot be read, or is wrong; every mistake is named with its line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise Misconfigured(f"the suppliers file {path} has more than {MAX_FILE_BYTES} bytes: is it the right one?")
        return read_suppliers(content.decode(), str(path))
    except OSError as exc:
        raise Misconfigured(f"cannot read the suppliers file {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise Misconfigured(f"the suppliers file {path} is not UTF-8, as TOML is (at byte {exc.start})") from exc
    except InvalidSuppliersFile as exc:
        raise Misconfigured(f"the suppliers file cannot be used:\n{exc}") from exc


def drivers_of(file: SuppliersFile) -> tuple[str, ...]:
    """Return the drivers of the suppliers of a file, in the order of their names."""
    return tuple(sorted({entry.driver.value for entry in file.suppliers}))


def process_options_of(file: SuppliersFile, base: ProcessOptions) -> ProcessOptions:
    """Return how commands run at the supplier whose driver is `process`.

    Args:
        file: the suppliers.
        base: what stands in no file: how programs are contained, what is hidden from them, how long output is kept.

    Raises:
        Misconfigured: there are several such suppliers.
    """
    entries = [entry for entry in file.suppliers if entry.driver is DriverName.PROCESS]
    if len(entries) > 1:
        names = " and ".join(f'"{entry.name}"' for entry in entries)
        raise Misconfigured(
            f"suppliers {names} have the driver `process`, and their jobs would all run on this one machine: make one "
            "supplier of them"
        )
    if not entries:
        return base
    options, gpus = entries[0].options, entries[0].gpus
    assert isinstance(options, ProcessSupplierOptions)
    assert gpus is not None
    return replace(
        base,
        at_once=sum(gpus.values()),
        isolation_is_not_needed=options.isolation_is_not_needed,
        user=options.user,
        memory_bytes=options.memory_bytes,
    )


def require_runnable(file: SuppliersFile) -> None:
    """Check that this version can run the jobs of all suppliers of a file.

    Raises:
        Misconfigured: it cannot.
    """
    process_options_of(file, ProcessOptions())


def shipped_for(driver: str, micros_per_gpu_hour: int | None = None) -> SuppliersFile:
    """Return the suppliers of a control plane that was given no file.

    They are the simulated ones that come with the package; or, where jobs really run, this machine, at its price.

    Args:
        driver: what runs the jobs.
        micros_per_gpu_hour: the price of this machine, in micro-USD; by default, $1.00 for a GPU and hour.

    Raises:
        ValueError: there is no driver with that name, or it cannot be had without a file.
        RuntimeError: this machine has no engine for containers that answers.
    """
    shipped = shipped_suppliers()
    price = LOCAL_MICROS_PER_GPU_HOUR if micros_per_gpu_hour is None else micros_per_gpu_hour
    if driver == SIMULATED:
        return shipped
    if driver == PROCESS:
        return _this_machine(shipped, price, DriverName.PROCESS, ProcessSupplierOptions())
    if driver == DOCKER:
        from .docker.local import local_options, require_answer

        options = local_options()
        require_answer(options)
        return _this_machine(shipped, price, DriverName.DOCKER, options)
    raise ValueError(f"no driver {driver!r}: choose one of {', '.join(DRIVERS)}")


def _this_machine(shipped: SuppliersFile, price: int, driver: DriverName, options: Options) -> SuppliersFile:
    """Name this machine as the one supplier, with GPUs in name only, of the models that the simulated ones have."""
    gpus = sorted({gpu for entry in shipped.suppliers for gpu in entry.micros_per_gpu_hour})
    entry = SupplierEntry(
        name=LOCAL,
        kind=SupplierKind.OWN,
        regions=(LOCAL,),
        driver=driver,
        gpus=dict.fromkeys(gpus, GPUS_OF_EACH_MODEL),
        micros_per_gpu_hour=dict.fromkeys(gpus, price),
        options=options,
    )
    return replace(shipped, suppliers=(entry,))
