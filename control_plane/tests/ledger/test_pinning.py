"""When another engine may take the place of a supplier's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from control.engines import EngineStub, Fleet

from nodus_control.dispatch.engines import Engines
from nodus_ledger.jobs.pinning import EngineInUse, repin

pytestmark = pytest.mark.both_engines


@pytest.fixture
def fleet(database_url: str) -> Iterator[Fleet]:
    """A control plane of two suppliers."""
    made = Fleet(database_url)
    yield made
    made.plane.close()


def test_another_engine_is_taken_once_nothing_is_open(fleet: Fleet) -> None:
    """Until then its jobs are named; other suppliers' do not matter."""
    job_id = fleet.submit()
    fleet.worker.run_due()
    other = EngineStub()
    other.engine = lambda: "engine 2"
    with pytest.raises(EngineInUse, match=job_id):
        repin(fleet.plane.database, "cheap")
    repin(fleet.plane.database, "dear")
    fleet.cancel(job_id)
    fleet.worker.run_due()
    before = Engines(fleet.plane.settings).is_own("cheap", other)
    repin(fleet.plane.database, "cheap")

    assert not before
    assert Engines(fleet.plane.settings).is_own("cheap", other)
    assert not Engines(fleet.plane.settings).is_own("cheap", fleet.cheap)


def test_a_worker_notices_that_its_engine_was_replaced(fleet: Fleet) -> None:
    """Also one that has worked with the former all the time: two must not have one supplier's jobs."""
    engines = Engines(fleet.plane.settings)
    other = EngineStub()
    other.engine = lambda: "engine 2"
    before = engines.is_own("cheap", fleet.cheap)
    repin(fleet.plane.database, "cheap")
    taken = Engines(fleet.plane.settings).is_own("cheap", other)

    assert (before, taken) == (True, True)
    assert not engines.is_own("cheap", fleet.cheap)
    assert engines.others == {"cheap"}


def test_a_worker_that_goes_on_puts_no_engine_on_record_from_memory(fleet: Fleet) -> None:
    """It is asked anew: since the operator had it replaced, another one may answer there."""
    engines = Engines(fleet.plane.settings)
    before = engines.is_own("cheap", fleet.cheap)
    fleet.cheap.engine = lambda: "engine 2"
    repin(fleet.plane.database, "cheap")
    after = engines.is_own("cheap", fleet.cheap)

    assert (before, after) == (True, True)
    assert fleet.plane.settings.recorded_engine("cheap") == "engine 2"
