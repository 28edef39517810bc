"""Suppliers files on disk: read at the start of a command, and checked against what this version can run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from nodus_core.catalogue import shipped_suppliers
from nodus_core.suppliers_file import DriverName, ProcessSupplierOptions, SuppliersFile
from nodus_core.suppliers_reading import InvalidSuppliersFile, read_suppliers

from ..exit_codes import Misconfigured
from ..runner.containment import AUTO
from .drivers import DRIVERS
from .process.options import GPUS_OF_EACH_MODEL, ProcessOptions

SUPPLIERS_VARIABLE = "NODUS_SUPPLIERS"
MAX_FILE_BYTES = 1 << 20


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


def driver_of(file: SuppliersFile) -> str:
    """Return the driver that runs the jobs of all suppliers of a file.

    Raises:
        Misconfigured: this version has no such driver, or they have several.
    """
    for entry in file.suppliers:
        if entry.driver.value not in DRIVERS:
            raise Misconfigured(
                f'supplier "{entry.name}" has the driver `{entry.driver.value}`, which this version cannot run yet: '
                f"it runs {' and '.join(DRIVERS)}"
            )
    drivers = sorted({entry.driver.value for entry in file.suppliers})
    if len(drivers) > 1:
        raise Misconfigured(f"the suppliers have several drivers ({', '.join(drivers)}): this version runs one at once")
    return drivers[0]


def process_options_of(file: SuppliersFile, containment: str) -> ProcessOptions:
    """Return how commands run at the suppliers whose driver is `process`.

    Raises:
        Misconfigured: there are several of them.
    """
    entries = [entry for entry in file.suppliers if entry.driver is DriverName.PROCESS]
    if len(entries) > 1:
        names = " and ".join(f'"{entry.name}"' for entry in entries)
        raise Misconfigured(f"suppliers {names} have the driver `process`: this machine is one supplier")
    if not entries:
        return ProcessOptions(containment=containment)
    options, gpus = entries[0].options, entries[0].gpus
    assert isinstance(options, ProcessSupplierOptions)
    assert gpus is not None
    return ProcessOptions(
        at_once=sum(gpus.values()),
        isolation_is_not_needed=options.isolation_is_not_needed,
        user=options.user,
        containment=containment,
        memory_bytes=options.memory_bytes,
    )


def require_runnable(file: SuppliersFile) -> None:
    """Check that this version can run the jobs of all suppliers of a file.

    Raises:
        Misconfigured: it cannot.
    """
    driver_of(file)
    process_options_of(file, AUTO)


def gpus_of(file: SuppliersFile) -> Mapping[str, int]:
    """Return how many GPUs of each model the suppliers of a file have together, as far as they are counted."""
    found: Counter[str] = Counter()
    for entry in file.suppliers:
        found.update(entry.gpus or {})
    return dict(found)


def shipped_for(driver: str) -> SuppliersFile:
    """Return the suppliers that come with the package, for a driver that runs the jobs of all of them."""
    file = shipped_suppliers()
    if driver != DriverName.PROCESS.value:
        return file
    return replace(
        file,
        suppliers=tuple(
            replace(
                entry,
                driver=DriverName.PROCESS,
                gpus=dict.fromkeys(entry.micros_per_gpu_hour, GPUS_OF_EACH_MODEL),
                options=ProcessSupplierOptions(),
            )
            for entry in file.suppliers
        ),
    )
