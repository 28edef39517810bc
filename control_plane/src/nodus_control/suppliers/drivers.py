"""Which driver serves which supplier, and the making of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nodus_core.catalogue import Catalogue, default_catalogue
from nodus_ledger.database.rows import JobRecord
from nodus_ledger.jobs.jobs import Jobs
from nodus_ledger.jobs.supplier_eligibility import WhyNot

from ..clock import Clock
from .protocol import Driver, LogChunk, Placement

SIMULATED = "simulated"
PROCESS = "process"
DOCKER = "docker"
SLURM = "slurm"
DRIVERS = (SIMULATED, PROCESS, DOCKER)
"""Those that can be had without a suppliers file."""

_WHAT_RUNS = {
    SIMULATED: "Nothing runs: suppliers, jobs and prices are simulated, and only test keys (nk_test_…) may submit.",
    PROCESS: "Commands really run, on the worker's machine; images do not. Only live keys (nk_live_…) may submit.",
    DOCKER: "Images really run, in containers of an engine. Only live keys (nk_live_…) may submit.",
    SLURM: "Jobs really run, on a Slurm cluster. Only live keys (nk_live_…) may submit.",
}

_WHAT_RUNS_THERE = {
    SIMULATED: "nothing runs there: jobs and prices are simulated, for test keys (nk_test_…).",
    PROCESS: "commands really run, on the worker's machine; images do not. For live keys (nk_live_…).",
    DOCKER: "images really run, in containers of an engine. For live keys (nk_live_…).",
    SLURM: "jobs really run, on a Slurm cluster. For live keys (nk_live_…).",
}


def limit_seconds(job: JobRecord, micros_per_gpu_hour: int) -> int:
    """Return the limit that a driver is given for a placement at a price: in whole seconds, and no less than it is."""
    return -(-job.limit_ms(micros_per_gpu_hour) // 1000)


def what_runs(suppliers: Mapping[str, str]) -> str:
    """Return what an operator is told at the start: a line for each driver, with its suppliers where there are several.

    `suppliers` are the drivers, by supplier.
    """
    drivers = sorted(set(suppliers.values()))
    if len(drivers) == 1:
        return _WHAT_RUNS[drivers[0]]
    names = {driver: [name for name, of_it in suppliers.items() if of_it == driver] for driver in drivers}
    return "\n".join(f"{', '.join(names[driver])}: {_WHAT_RUNS_THERE[driver]}" for driver in drivers)


@dataclass(frozen=True)
class DriverContext:
    """What a driver may look at of the control plane whose jobs it runs.

    Attributes:
        catalogue: all suppliers of the file, whoever serves them.
        jobs: the jobs, to recall those of before a restart.
        clock: what time it is for them.
        seed: what all simulated chance is derived from; None for 0.
        directory: where one that runs commands keeps its files.
        secret: what authenticates those files.
        state_files: the database's file, which no command may read.
        database_id: the database's own name, which stands on everything that an engine holds of it.
        incarnation: the name of its present life, which a restore changes.
    """

    catalogue: Catalogue
    jobs: Jobs
    clock: Clock
    seed: int | None
    directory: Path | None
    secret: bytes = field(repr=False)
    state_files: Path | None
    database_id: str = ""
    incarnation: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a supplier is held to.

    Attributes:
        start_deadline_seconds: how long after its placement a job may take to begin to run; None for ever, where the
            engine has a queue of its own.
        unknown_grace_seconds: how long nobody may be able to say whether a job runs before it counts as lost; 0 for
            ever.
    """

    start_deadline_seconds: float | None = 900.0
    unknown_grace_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Service:
    """How a supplier is served: the name of its driver, what makes that, and the supplier's terms.

    Suppliers with the same `make` share one driver. `one_customer` is for an engine that keeps the jobs of several
    customers no better apart than those of one, and `why_not` for one that does not run everything.
    """

    driver: str
    make: Callable[[DriverContext], Driver]
    terms: Terms = field(default_factory=Terms)
    one_customer: bool = False
    why_not: WhyNot | None = None


@dataclass(frozen=True, slots=True)
class GoingOn:
    """What goes on with attempts from before there were suppliers files.

    Attributes:
        suppliers: what those stand under.
        driver: it sees them to their end.
        engine: the driver whose engine they are on.
    """

    suppliers: frozenset[str]
    driver: Driver
    engine: Driver


class Drivers:
    """The drivers of a control plane, by supplier; one may serve several.

    Args:
        by_supplier: the driver of each.
        terms: the terms of each; the usual ones where it has none.
        others: the driver of every supplier that is not named.
        earlier: what goes on with an earlier version's attempts, of suppliers that are not named.
    """

    def __init__(
        self,
        by_supplier: Mapping[str, Driver],
        terms: Mapping[str, Terms] | None = None,
        *,
        others: Driver | None = None,
        earlier: GoingOn | None = None,
    ) -> None:
        self._by_supplier = dict(by_supplier)
        self._terms = dict(terms or {})
        self._others = others
        self._earlier = earlier

    @classmethod
    def everywhere(cls, driver: Driver) -> Drivers:
        """Return what has one driver for every supplier, whatever its name."""
        return cls({}, others=driver)

    @classmethod
    def make(cls, services: Mapping[str, Service], context: DriverContext) -> Drivers:
        """Make the driver of every supplier, each of them once.

        Raises:
            ValueError: one has nowhere to keep its files.
            RuntimeError: one cannot work on this machine.
        """
        made: dict[Callable[[DriverContext], Driver], Driver] = {}
        for service in services.values():
            if service.make not in made:
                made[service.make] = service.make(context)
        # Where there is one driver, it also goes on with what was placed at suppliers that are not listed any more.
        others = next(iter(made.values())) if len(made) == 1 else None
        by_supplier = {name: made[service.make] for name, service in services.items()}
        processes = next((made[service.make] for service in services.values() if service.driver == PROCESS), None)
        return cls(
            by_supplier,
            {name: service.terms for name, service in services.items()},
            others=others,
            earlier=_of_earlier_versions(processes),
        )

    def of(self, supplier: str) -> Driver | None:
        """Return the driver of a supplier; None where it has none."""
        if supplier not in self._by_supplier and self._earlier is not None and supplier in self._earlier.suppliers:
            return self._earlier.driver
        return self._by_supplier.get(supplier, self._others)

    def terms(self, supplier: str) -> Terms:
        """Return what a supplier is held to; one that is simulated keeps its word."""
        driver = self.of(supplier)
        usual = Terms() if driver is not None and driver.runs_commands else Terms(start_deadline_seconds=None)
        return self._terms.get(supplier, usual)

    def __iter__(self) -> Iterator[Driver]:
        """Iterate over the drivers, each of them once."""
        drivers = [*self._by_supplier.values(), *([] if self._others is None else [self._others])]
        return iter({id(driver): driver for driver in drivers}.values())

    def one_of_each(self) -> list[tuple[str, Driver]]:
        """Return each driver that serves suppliers by name, with the first of them.

        None that goes on with what another one has: that one's engine has it all, and has a supplier of its own.
        """
        found: dict[int, tuple[str, Driver]] = {}
        for supplier, driver in self._by_supplier.items():
            found.setdefault(id(driver), (supplier, driver))
        return list(found.values())

    def suppliers_of(self, driver: Driver) -> list[str]:
        """Return the suppliers that a driver serves by name, and those of an earlier version that its engine had."""
        served = [supplier for supplier, each in self._by_supplier.items() if each is driver]
        if self._earlier is not None and self._earlier.engine is driver:
            served += sorted(self._earlier.suppliers - self._by_supplier.keys())
        return served

    @property
    def name(self) -> str:
        """The name of the driver, or of all of them, by comma."""
        return ", ".join(sorted({driver.name for driver in self}))

    @property
    def runs_commands(self) -> bool:
        """Whether commands from API callers really run at some supplier."""
        return any(driver.runs_commands for driver in self)

    def logs(self, placement: Placement, offset: int, limit: int, *, simulated: bool | None = None) -> LogChunk:
        """Return up to `limit` bytes of what a placement printed.

        Nothing where its supplier has no driver any more, or one of the other kind: what ran is not made up, and what
        was made up is nowhere. `simulated` is what the job's row says; None where that was not recorded.
        """
        driver = self.of(placement.supplier)
        if driver is None or (simulated is not None and driver.runs_commands is simulated):
            return LogChunk(b"", offset, 0, complete=True)
        return driver.logs(placement, offset, limit)


def _of_earlier_versions(processes: Driver | None) -> GoingOn | None:
    """Return what goes on with commands from before there were suppliers files, if anything does.

    Args:
        processes: what runs commands here, if anything does.
    """
    if processes is None:
        return None
    from .process.driver import ProcessDriver
    from .process.earlier import EarlierDriver

    if not isinstance(processes, ProcessDriver):
        return None  # It never had another version's records.
    return GoingOn(frozenset(default_catalogue().suppliers), EarlierDriver(processes), processes)


def state_directory() -> Path:
    """Return where this user's programs keep state (XDG Base Directory)."""
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state") / "nodus"
