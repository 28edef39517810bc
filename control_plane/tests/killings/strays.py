"""What an engine holds after a campaign: what still runs there is ended and named, and then nothing is left."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from killings.sites import Site
from patience import PATIENCE_SECONDS, eventually, pause_after

from nodus_control.control_plane import ControlPlane
from nodus_control.dispatch.engine_identities import EngineIdentities
from nodus_control.dispatch.strays import AGE_MS, KEPT_MS, DatabaseLife, Fate
from nodus_control.dispatch.sweeper import Sweeper
from nodus_control.suppliers.drivers import DriverContext, Drivers
from nodus_control.suppliers.files import load_suppliers
from nodus_control.suppliers.process.options import ProcessOptions
from nodus_control.suppliers.protocol import EngineUnavailable, Placement, PlacementState, Workload
from nodus_control.suppliers.services import services_of
from nodus_core.catalogue import Catalogue

STRAY = "stray"
SAID = "is over, and its program still runs: it is ended"


@contextlib.contextmanager
def drivers_of(here: ControlPlane, suppliers: Path) -> Iterator[Drivers]:
    """Make the drivers that the processes of a campaign have."""
    file = load_suppliers(suppliers)
    assert here.database.path is not None
    context = DriverContext(
        catalogue=Catalogue(file),
        jobs=here.jobs,
        clock=here.clock,
        seed=None,
        directory=here.database.path.with_name(f"{here.database.path.name}.jobs"),
        secret=b"",
        state_files=None,
        database_id=here.settings.database_id(),
        incarnation=here.settings.incarnation(),
    )
    drivers = Drivers.make(services_of(file, is_reliable=True, process=ProcessOptions()), context)
    try:
        yield drivers
    finally:
        for driver in drivers:
            if (close := getattr(driver, "close", None)) is not None:
                close()


def clear_away(here: ControlPlane, site: Site, suppliers: Path, lost: int, caplog: pytest.LogCaptureFixture) -> int:
    """Have something run of which nobody knows, and sweep as if all were long over. Return how many strays there were.

    Only what runs for a lost attempt may be one for long. Everything that was still running is ended, and named; then
    nothing is left of any job.
    """
    with drivers_of(here, suppliers) as drivers:
        ((supplier, driver),) = drivers.one_of_each()
        began = time.monotonic()
        while len(site.running()) > lost and (waited := time.monotonic() - began) < PATIENCE_SECONDS:
            site.look()
            time.sleep(pause_after(waited))
        us = DatabaseLife(here.settings.database_id(), here.settings.incarnation())
        sweeper = Sweeper(here.jobs, drivers, EngineIdentities(here.settings), lambda: us, here.clock.now)
        placement = Placement(STRAY, 1, supplier, "", time.time(), is_accepted=True, gpu_indices=(0,))
        workload = Workload(site.image, "h100_80gb", 1, 600, ("sh", "-c", "sleep 600"), {})
        driver.submit(placement, workload, time.time())

        def runs() -> bool:
            with contextlib.suppress(EngineUnavailable):
                return driver.poll(placement, workload, time.time()).state is PlacementState.RUNNING
            return False

        eventually(runs, lambda: f"the stray does not run, but {site.running()}")
        strays = sweeper.sweep(supplier, driver, ahead_ms=AGE_MS)[Fate.ENDED]
        named = [record.getMessage() for record in caplog.records if SAID in record.getMessage()]
        assert len(named) == strays >= 1, f"{strays} strays, and {named}"
        assert any(f"attempt 1 of job {STRAY} " in each for each in named)
        eventually(lambda: not site.running(), lambda: f"there runs something: {site.running()}")

        def is_empty() -> bool:
            with contextlib.suppress(EngineUnavailable):
                sweeper.sweep(supplier, driver, ahead_ms=2 * KEPT_MS)
            return not site.everything()

        eventually(is_empty, lambda: f"the engine still holds {site.everything()}")
    return strays
