"""Several suppliers, each with its own driver: who is asked about which job, and what each is held to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control.engines import EngineStub

from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane
from nodus_control.dispatch.worker import Worker
from nodus_control.suppliers.drivers import DriverContext, Drivers, Service, Terms, one_for_all
from nodus_control.suppliers.process.options import ProcessOptions
from nodus_control.suppliers.protocol import Driver, LogChunk, Placement, PlacementState, Report
from nodus_core.catalogue import Catalogue, Supplier, SupplierKind
from nodus_core.spec import parse_spec
from nodus_ledger.jobs.leases import Claims
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = pytest.mark.both_engines


def supplier(name: str, price: int) -> Supplier:
    """A supplier of one GPU model."""
    return Supplier(name, SupplierKind.NEOCLOUD, ("here",), (0, 0), 0, 0, {"l40s": price, "a10g": price})


@pytest.fixture
def stubs() -> dict[str, EngineStub]:
    """An engine for each of two suppliers."""
    return {"cheap": EngineStub(), "dear": EngineStub()}


@pytest.fixture
def plane(database_url: str, stubs: dict[str, EngineStub]) -> Iterator[ControlPlane]:
    """A control plane of both."""
    services = {name: Service("stub", lambda context, stub=stub: stub) for name, stub in stubs.items()}
    catalogue = Catalogue([supplier("cheap", 1_000_000), supplier("dear", 2_000_000)])
    made = ControlPlane(database_url, clock=ManualClock(), catalogue=catalogue, services=services)
    yield made
    made.close()


def submit(plane: ControlPlane, **changes: Any) -> str:
    """Submit a job with a live key."""
    minted = plane.keys.mint(customer_id="acme", label="", principal_kind=PrincipalKind.HUMAN, now=0)
    key = plane.keys.find(minted.api_key)
    assert key is not None
    return plane.jobs.submit(key, parse_spec({"image": "x", "gpu": "l40s", **changes}), None, plane.clock.now()).job.id


def test_each_job_goes_to_the_engine_of_its_supplier(plane: ControlPlane, stubs: dict[str, EngineStub]) -> None:
    """And, when that has lost it, to another's, under that one's price; it says nowhere that it is simulated."""
    cheap, dear = stubs["cheap"], stubs["dear"]
    job_id = submit(plane)
    plane.worker.run_due()
    at_first = plane.jobs.get("acme", job_id)
    cheap.reports = lambda placement, now: Report(PlacementState.LOST)
    plane.advance(60)
    moved = plane.jobs.get("acme", job_id)

    assert (at_first.supplier, at_first.rate, at_first.is_simulated) == ("cheap", 1_000_000, False)
    assert (moved.supplier, moved.rate, moved.status) == ("dear", 2_000_000, "running")
    assert [placement.supplier for placement in cheap.submitted + dear.submitted] == ["cheap", "dear"]


def test_output_is_read_where_the_job_ran(plane: ControlPlane, stubs: dict[str, EngineStub]) -> None:
    """Each driver knows its own only; what no driver serves any more has nothing left to read."""
    stubs["dear"].output = b"dear"
    placements = [Placement("job", 1, name, "here", 0.0) for name in ("cheap", "dear", "gone")]

    assert [plane.drivers.logs(each, 0, 9).data for each in placements] == [b"", b"dear", b""]
    assert plane.drivers.logs(placements[2], 0, 9).complete


def test_a_job_of_a_supplier_that_nobody_serves_waits_for_a_worker_that_does(
    plane: ControlPlane, stubs: dict[str, EngineStub]
) -> None:
    """It is not lost: another worker may serve it, and a later one will."""
    job_id = submit(plane)
    plane.worker.run_due()
    claims = Claims(plane.database, plane.catalogue, simulated=False)
    plane.worker = Worker(plane.jobs, claims, Drivers({"dear": stubs["dear"]}), plane.clock.now)
    asked = len(stubs["cheap"].polled)
    plane.advance(3600)

    assert plane.jobs.get("acme", job_id).status == "running"
    assert len(stubs["cheap"].polled) == asked


def test_one_driver_serves_all_that_ask_for_the_same(tmp_path: Path) -> None:
    """It is made once, whatever number of suppliers it has, and serves those from before too."""
    made: list[EngineStub] = []

    def make(_context: DriverContext) -> Driver:
        made.append(EngineStub())
        return made[-1]

    service = Service("stub", make, Terms(start_deadline_seconds=5))
    drivers = Drivers.make({"a": service, "b": service}, None)  # type: ignore[arg-type]  # the stub needs none

    assert len(made) == 1
    assert drivers.of("a") is drivers.of("b") is drivers.of("of before") is made[0]
    assert drivers.terms("a") == Terms(start_deadline_seconds=5)
    assert drivers.terms("of before") == Terms()
    assert list(drivers) == made
    assert drivers.logs(Placement("job", 1, "a", "here", 0.0), 0, 1) == LogChunk(b"", 0, 0, complete=True)


def test_simulated_suppliers_keep_to_themselves() -> None:
    """Beside others their jobs and prices would be added up with real ones."""
    catalogue = Catalogue([supplier("made-up", 1), supplier("real", 1)])
    simulated = one_for_all(["made-up"], "simulated", is_reliable=True, process=ProcessOptions())
    services = {**simulated, "real": Service("stub", lambda context: EngineStub())}

    with pytest.raises(ValueError, match="simulated suppliers cannot stand beside others"):
        ControlPlane(catalogue=catalogue, services=services)
    with pytest.raises(ValueError, match="no driver 'slrum'"):
        one_for_all(["real"], "slrum", is_reliable=True, process=ProcessOptions())
