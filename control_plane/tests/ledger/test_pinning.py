"""When another engine may take the place of a supplier's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from control.engines import EngineStub, Fleet
from sqlalchemy import insert, update

from nodus_control.dispatch.engine_identities import EngineIdentities
from nodus_ledger.database.schema import slots
from nodus_ledger.jobs.pinning import EngineInUse, release, repin
from nodus_ledger.jobs.supplier_eligibility import owner_of, take

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
    before = EngineIdentities(fleet.plane.settings).is_own("cheap", other)
    repin(fleet.plane.database, "cheap")

    assert not before
    assert EngineIdentities(fleet.plane.settings).is_own("cheap", other)
    assert not EngineIdentities(fleet.plane.settings).is_own("cheap", fleet.cheap)


def test_a_supplier_is_released_once_nothing_is_open_or_may_still_run(fleet: Fleet) -> None:
    """Then it is nobody's, and whose it was is said; until then its jobs are named."""
    database = fleet.plane.database
    job_id = fleet.submit()
    fleet.worker.run_due()
    with database.write() as connection:
        take(connection, "cheap", "acme")
    with pytest.raises(EngineInUse, match=job_id):
        release(database, "cheap")
    fleet.cancel(job_id)
    fleet.worker.run_due()
    with database.write() as connection:
        connection.execute(insert(slots).values(supplier="cheap", gpu="x", index=0, job_id=job_id, attempt=1))
    with pytest.raises(EngineInUse, match=f"not confirmed the end of jobs such as {job_id}"):
        release(database, "cheap")
    with database.write() as connection:
        connection.execute(update(slots).values(job_id=None, attempt=None))
        before = owner_of(connection, "cheap")
    released = release(database, "cheap")
    with database.read() as connection:
        after = owner_of(connection, "cheap")

    assert (before, released, after, release(database, "cheap")) == ("acme", "acme", None, None)


def test_a_worker_notices_that_its_engine_was_replaced(fleet: Fleet) -> None:
    """Also one that has worked with the former all the time: two must not have one supplier's jobs."""
    identities = EngineIdentities(fleet.plane.settings)
    other = EngineStub()
    other.engine = lambda: "engine 2"
    before = identities.is_own("cheap", fleet.cheap)
    repin(fleet.plane.database, "cheap")
    taken = EngineIdentities(fleet.plane.settings).is_own("cheap", other)

    assert (before, taken) == (True, True)
    assert not identities.is_own("cheap", fleet.cheap)
    assert identities.others == {"cheap"}


def test_a_worker_that_goes_on_puts_no_engine_on_record_from_memory(fleet: Fleet) -> None:
    """It is asked anew: since the operator had it replaced, another one may answer there."""
    identities = EngineIdentities(fleet.plane.settings)
    before = identities.is_own("cheap", fleet.cheap)
    fleet.cheap.engine = lambda: "engine 2"
    repin(fleet.plane.database, "cheap")
    after = identities.is_own("cheap", fleet.cheap)

    assert (before, after) == (True, True)
    assert fleet.plane.settings.recorded_engine("cheap") == "engine 2"
