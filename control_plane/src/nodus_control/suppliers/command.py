"""`nodus-control suppliers`, and the option of other commands that names a suppliers file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import asyncclick

from nodus_core.catalogue import Catalogue
from nodus_core.money import MICROS_PER_USD
from nodus_core.suppliers_file import DockerOptions, DriverName, SlurmOptions, SupplierEntry, SuppliersFile
from nodus_ledger.database.database import DATABASE_VARIABLE, Database, UnusableDatabase
from nodus_ledger.errors import DatabaseUnavailable
from nodus_ledger.jobs.pinning import EngineInUse, release, repin

from ..exit_codes import OK, SOMETHING_WRONG, Misconfigured
from .files import SUPPLIERS_VARIABLE, load_suppliers, require_runnable
from .findings import Finding, Level

EXAMPLE_FILE = "example.toml"

_Changed = TypeVar("_Changed")


def suppliers_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--suppliers`, as the argument `suppliers_path`."""
    return asyncclick.option(
        "--suppliers",
        "suppliers_path",
        type=asyncclick.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help=f"The suppliers file: which suppliers there are, and what runs their jobs. By default, "
        f"{SUPPLIERS_VARIABLE}.",
    )(command)


def no_driver_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Have a command say where the drivers stand now, to whoever still gives `--driver`."""
    return asyncclick.option("--driver", hidden=True, expose_value=False, callback=_no_driver)(command)


def named_suppliers(path: Path | None) -> SuppliersFile | None:
    """Read the suppliers file that a command was given, or that the environment names; None where there is none.

    Raises:
        Misconfigured: it cannot be used.
    """
    named = path or (Path(os.environ[SUPPLIERS_VARIABLE]) if os.environ.get(SUPPLIERS_VARIABLE) else None)
    return None if named is None else load_suppliers(named)


def required_suppliers(path: Path | None) -> SuppliersFile:
    """Read the suppliers file that a command was given, or that the environment names.

    Raises:
        Misconfigured: there is none, or it cannot be used.
    """
    file = named_suppliers(path)
    if file is None:
        raise Misconfigured(
            f"no suppliers: give --suppliers FILE, or set {SUPPLIERS_VARIABLE}; `nodus-control suppliers init FILE` "
            "writes an example to begin with"
        )
    return file


@asyncclick.group(name="suppliers")
def suppliers() -> None:
    """Write and check suppliers files."""


@suppliers.command(name="init")
@asyncclick.argument("file", required=False, type=asyncclick.Path(dir_okay=False, path_type=Path))
def init(file: Path | None) -> int:
    """Write an example with every key to FILE, which must not be there yet; by default, to standard output."""
    text = example_text()
    if file is None:
        asyncclick.echo(text, nl=False)
        return OK
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise Misconfigured(f"{file} is there already, and stays as it is: name another file") from None
    except OSError as exc:
        raise Misconfigured(f"cannot write {file}: {exc.strerror}") from exc
    asyncclick.echo(f"wrote {file}: edit it, then try `nodus-control suppliers check {file}`", err=True)
    return OK


@suppliers.command(name="check")
@asyncclick.argument("file", type=asyncclick.Path(dir_okay=False, path_type=Path))
@asyncclick.option(
    "--probe-image",
    metavar="IMAGE",
    help="Also run a container of this image with each engine for containers, and name what jobs could reach from it. "
    "It must have `sh` and `nc`, as busybox does, and be there already.",
)
def check(file: Path, probe_image: str | None) -> int:
    """Say what is wrong with FILE, each mistake with its line, or what its suppliers offer and how their engines are.

    The exit status is 1 where an engine cannot run jobs as it is.
    """
    read = load_suppliers(file)
    for line in describe(read):
        asyncclick.echo(line)
    has_fault = False
    for entry in read.suppliers:
        for finding in _look_at(entry, probe_image):
            asyncclick.echo(f"{finding.level.value}: {entry.name}: {finding.text}")
            has_fault = has_fault or finding.level is Level.FAULT
    try:
        require_runnable(read)
    except Misconfigured as exc:
        asyncclick.echo(f"warning: it cannot be served: {exc.message}", err=True)
    if has_fault:
        raise asyncclick.exceptions.Exit(SOMETHING_WRONG)
    return OK


@suppliers.command(name="repin")
@asyncclick.argument("name")
@asyncclick.option("--db", "database_url", metavar="URL", help=f"The database. By default, {DATABASE_VARIABLE}.")
def repin_engine(name: str, database_url: str | None) -> int:
    """Take whatever engine answers next for the supplier NAME as its engine from then on.

    For an engine that was replaced: until then no worker serves that supplier, because another engine knows nothing of
    its jobs. Refused while the supplier has open jobs.
    """
    _in_database(database_url, lambda database: repin(database, name))
    asyncclick.echo(f"the next engine that answers for {name} is its engine")
    return OK


@suppliers.command(name="release")
@asyncclick.argument("name")
@asyncclick.option("--db", "database_url", metavar="URL", help=f"The database. By default, {DATABASE_VARIABLE}.")
def release_supplier(name: str, database_url: str | None) -> int:
    """Have the supplier NAME, which takes one customer, take the customer of the next job that is placed there.

    Remove first what its customer has left on its machines. Refused while the supplier has open jobs, or has not
    confirmed that all of them have ended.
    """
    customer = _in_database(database_url, lambda database: release(database, name))
    was = "nobody" if customer is None else customer
    asyncclick.echo(f"{name} was {was}'s, and is now whose job is placed there next")
    return OK


def _in_database(database_url: str | None, change: Callable[[Database], _Changed]) -> _Changed:
    """Make a change in the database that a command was given, or that the environment names.

    Raises:
        Misconfigured: there is none, or the change is refused.
    """
    url = database_url or os.environ.get(DATABASE_VARIABLE)
    if not url:
        raise Misconfigured(f"no database: give --db URL, or set {DATABASE_VARIABLE}")
    try:
        database = Database(url)
        try:
            return change(database)
        finally:
            database.close()
    except (UnusableDatabase, DatabaseUnavailable, EngineInUse, ValueError) as exc:
        raise Misconfigured(str(exc)) from exc


def example_text() -> str:
    """Return the example of a suppliers file."""
    return resources.files("nodus_control.suppliers").joinpath(EXAMPLE_FILE).read_text(encoding="utf-8")


def describe(file: SuppliersFile) -> Iterator[str]:
    """Return, line by line, what the suppliers of a file offer, and the hash that processes must agree on."""
    rows = [("SUPPLIER", "KIND", "DRIVER", "REGIONS", "GPU", "COUNT", "USD/GPU-HOUR")]
    for entry in file.suppliers:
        for gpu, micros in entry.micros_per_gpu_hour.items():
            count = "-" if entry.gpus is None else str(entry.gpus[gpu])
            price = f"{micros // MICROS_PER_USD}.{micros % MICROS_PER_USD:06d}"
            shown = price.rstrip("0") + "0" * max(0, 2 - len(price.rstrip("0").partition(".")[2]))
            rows.append((entry.name, entry.kind.value, entry.driver.value, ",".join(entry.regions), gpu, count, shown))
    yield from _in_columns(rows)
    yield ""
    yield f"catalogue_sha256 {Catalogue(file).sha256}"


def _look_at(entry: SupplierEntry, probe_image: str | None) -> Sequence[Finding]:
    """Ask the engine of a supplier what an operator should know of it; nothing for one that has no engine."""
    options = entry.options
    if isinstance(options, DockerOptions):
        from .docker.check import check as check_containers

        return check_containers(options, entry.gpus or {}, probe_image=probe_image)
    if isinstance(options, SlurmOptions):
        from .slurm.check import check as check_cluster

        return check_cluster(options, entry.micros_per_gpu_hour)
    if entry.driver is DriverName.PROCESS:
        from .process.check import check as check_machine

        return check_machine(entry.micros_per_gpu_hour)
    return ()


def _in_columns(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _no_driver(_ctx: asyncclick.Context, _param: asyncclick.Parameter, value: str | None) -> None:
    if value is not None:
        raise asyncclick.UsageError(
            "there is no --driver any more: each supplier of the suppliers file has its own. "
            "`nodus-control suppliers init FILE` writes an example; give it with --suppliers FILE"
        )
