"""Several suppliers, each with its own driver: who is asked about which job, and what each is held to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from control.engines import EngineStub, Fleet

from nodus_control.control_plane import ControlPlane
from nodus_control.dispatch.worker import Worker
from nodus_control.suppliers.drivers import DriverContext, Drivers, Service, Terms, what_runs
from nodus_control.suppliers.protocol import Driver, LogChunk, Placement, PlacementState, Report
from nodus_ledger.jobs.leases import Claims

pytestmark = pytest.mark.both_engines


@pytest.fixture
def fleet(database_url: str) -> Iterator[Fleet]:
    """A control plane of two suppliers."""
    made = Fleet(database_url)
    yield made
    made.plane.close()


def test_each_job_goes_to_the_engine_of_its_supplier(fleet: Fleet) -> None:
    """And, when that has lost it, to another's, under that one's price; it says nowhere that it is simulated."""
    cheap, dear = fleet.cheap, fleet.dear
    job_id = fleet.submit()
    fleet.worker.run_due()
    at_first = fleet.job(job_id)
    cheap.reports = lambda placement, now: Report(PlacementState.LOST)
    fleet.advance(60)
    moved = fleet.job(job_id)

    assert (at_first.supplier, at_first.rate, at_first.is_simulated) == ("cheap", 1_000_000, False)
    assert (moved.supplier, moved.rate, moved.status) == ("dear", 2_000_000, "running")
    assert [placement.supplier for placement in cheap.submitted + dear.submitted] == ["cheap", "dear"]


def test_output_is_read_where_the_job_ran(fleet: Fleet) -> None:
    """Each driver knows its own only; what no driver serves any more has nothing left to read."""
    fleet.dear.output = b"dear"
    placements = [Placement("job", 1, name, "here", 0.0) for name in ("cheap", "dear", "gone")]

    assert [fleet.plane.drivers.logs(each, 0, 9).data for each in placements] == [b"", b"dear", b""]
    assert fleet.plane.drivers.logs(placements[2], 0, 9).complete


@pytest.mark.parametrize(
    ("runs_commands", "simulated", "is_read"),
    [(True, False, True), (False, True, True), (False, False, False), (True, True, False), (False, None, True)],
)
def test_no_output_is_read_from_a_driver_of_the_other_kind(
    runs_commands: bool, simulated: bool | None, is_read: bool
) -> None:
    """A name that ran jobs and is simulated now makes nothing up for those that ran."""
    stub = EngineStub()
    stub.runs_commands, stub.output = runs_commands, b"output"
    chunk = Drivers.everywhere(stub).logs(Placement("job", 1, "lab", "here", 0.0), 0, 9, simulated=simulated)

    assert chunk.data == (b"output" if is_read else b"")
    assert chunk.complete or is_read


def test_each_driver_of_a_mixed_file_is_named_with_its_suppliers() -> None:
    """What is said of one is not said of all; where there is one, nothing else is."""
    said = what_runs({"lab": "docker", "mock": "simulated", "rack": "docker"})

    assert said.splitlines()[0].startswith("lab, rack: images really run")
    assert said.splitlines()[1].startswith("mock: nothing runs there")
    assert "only" not in said.casefold()
    assert what_runs({"mock": "simulated"}).startswith("Nothing runs")


def test_a_job_of_a_supplier_that_nobody_serves_waits_for_a_worker_that_does(fleet: Fleet) -> None:
    """It is not lost: another worker may serve it, and a later one will."""
    control_plane = fleet.plane
    job_id = fleet.submit()
    control_plane.worker.run_due()
    control_plane.worker.close()
    claims = Claims(control_plane.database, control_plane.catalogue)
    control_plane.worker = Worker(control_plane.jobs, claims, Drivers({"dear": fleet.dear}), control_plane.clock.now)
    asked = len(fleet.cheap.polled)
    fleet.advance(600)

    assert fleet.job(job_id).status == "running"
    assert len(fleet.cheap.polled) == asked


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


def test_a_driver_that_does_not_exist_is_refused() -> None:
    """By its name, before anything is opened."""
    with pytest.raises(ValueError, match="no driver 'slrum'"):
        ControlPlane(driver="slrum")
