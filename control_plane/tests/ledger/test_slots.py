"""What there is of each GPU, as rows: laid out, taken, freed and retired."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import entries
import pytest
from entries import catalogue_of
from sqlalchemy import delete, select, update
from yard import H100, Yard, open_yard, supplier

from nodus_core.suppliers_file import DriverName
from nodus_ledger.database.schema import slots
from nodus_ledger.jobs.capacity import Layout, Share
from nodus_ledger.jobs.leases import Claims
from nodus_ledger.jobs.slots import Slots, free

pytestmark = pytest.mark.both_engines


@pytest.fixture
def yard(monkeypatch: pytest.MonkeyPatch, kept_database_url: str) -> Iterator[Yard]:
    """One supplier with four GPUs of a model, and one of another."""
    opened = open_yard(kept_database_url, [supplier("lab", 1, {H100: 4, "l40s": 1})])
    yield opened
    opened.control_plane.close()


@pytest.fixture
def lay_out(yard: Yard) -> Callable[[int], None]:
    """Start with another number of GPUs of the first model."""

    def start(gpus: int) -> None:
        Claims(yard.control_plane.database, catalogue_of(supplier("lab", 1, {H100: gpus})))

    return start


def of(yard: Yard, gpu: str) -> list[int]:
    """Return the indices that there are of a model."""
    return sorted(index for _, model, index in yard.slots() if model == gpu)


def test_there_is_a_row_for_each_gpu(yard: Yard, lay_out: Callable[[int], None]) -> None:
    """However often it is laid out; more come to them, and those that are gone leave."""
    found = [of(yard, H100), of(yard, "l40s")]
    for gpus in (4, 6, 6, 2):
        lay_out(gpus)
        found.append(of(yard, H100))

    assert found == [[0, 1, 2, 3], [0], [0, 1, 2, 3], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], [0, 1]]
    assert of(yard, "l40s") == []


def test_a_gpu_that_is_gone_retires_when_it_is_free(yard: Yard, lay_out: Callable[[int], None]) -> None:
    """Until then nobody else gets it, and what runs on it goes on; one that comes back is as before."""
    small, large = yard.submit(), yard.submit(gpus=3)
    first, second = sorted(yard.claim(), key=lambda claim: claim.job.seq)
    lay_out(2)
    during = of(yard, H100)
    yard.end(first)
    after_one = [index for (_, gpu, index), job in yard.slots().items() if gpu == H100 and job is None]
    lay_out(3)
    yard.end(second)

    assert (yard.indices(small), yard.indices(large)) == (["0"], ["1,2,3"])
    assert during == [0, 1, 2, 3]
    assert after_one == [0]
    assert of(yard, H100) == [0, 1, 2]
    with yard.control_plane.database.read() as connection:
        assert not any(connection.execute(select(slots.c.retired)).scalars())


def test_a_placement_takes_all_that_it_needs_or_nothing(yard: Yard) -> None:
    """The lowest indices that are free."""
    rows = Slots(yard.control_plane.database, Layout.of(yard.control_plane.catalogue))
    with yard.control_plane.database.write() as connection:
        taken = [
            rows.take(connection, "lab", H100, count, customer_id="acme", job_id=str(count), attempt=1)
            for count in (3, 2, 1)
        ]
        room, held = rows.room(connection, H100), rows.held(connection, H100)

    assert taken == [(0, 1, 2), None, (3,)]
    assert (room.free, room.total, held) == ({"lab": 0}, {"lab": 4}, {Share("acme", is_simulated=False): 4})


def test_what_is_held_is_counted_by_kind(yard: Yard) -> None:
    """What a customer holds at a supplier that runs nothing is no GPU that others have to wait for."""
    database = yard.control_plane.database
    mixed = catalogue_of(
        entries.supplier("lab", {H100: 1}, {H100: 4}),
        replace(entries.supplier("mock", {H100: 1}, {H100: 8}), driver=DriverName.SIMULATED),
    )
    rows = Slots(database, Layout.of(mixed))
    rows.lay_out()
    with database.write() as connection:
        for pool, gpus in (("lab", 1), ("lab", 2), ("mock", 5)):
            rows.take(connection, pool, H100, gpus, customer_id="acme", job_id=f"{pool}-{gpus}", attempt=1)
        rows.take(connection, "mock", H100, 1, customer_id="other", job_id="another", attempt=1)
        held = rows.held(connection, H100)

    assert held == {
        Share("acme", is_simulated=False): 3,
        Share("acme", is_simulated=True): 5,
        Share("other", is_simulated=True): 1,
    }


def test_only_the_attempt_that_has_a_gpu_gives_it_back(yard: Yard) -> None:
    """A late word of an earlier one changes nothing."""
    job_id = yard.submit(gpus=2)
    yard.claim()
    with yard.control_plane.database.write() as connection:
        free(connection, [(job_id, 2), ("another", 1)])
    kept = list(yard.slots().values()).count(job_id)
    with yard.control_plane.database.write() as connection:
        free(connection, [(job_id, 1)])

    assert kept == 2
    assert set(yard.slots().values()) == {None}


def test_what_ran_before_anything_was_counted_takes_what_it_uses(yard: Yard, lay_out: Callable[[int], None]) -> None:
    """As far as there is enough, and only once."""
    first, second = yard.submit(gpus=3), yard.submit()
    yard.claim()
    with yard.control_plane.database.write() as connection:
        connection.execute(delete(slots))
    lay_out(4)
    lay_out(4)
    as_before = sorted(str(job) for job in yard.slots().values())
    with yard.control_plane.database.write() as connection:
        connection.execute(update(slots).values(job_id=None))
        connection.execute(delete(slots).where(slots.c.index > 1))
    lay_out(2)

    assert as_before == sorted([first, first, first, second])
    assert list(yard.slots().values()) == [first, first]


def test_a_control_plane_that_starts_over_has_everything_free(yard: Yard) -> None:
    """What had it is gone."""
    yard.submit(gpus=4)
    yard.claim()
    yard.control_plane.reset()

    assert list(yard.slots().values()) == [None] * 5
    again = yard.submit(gpus=4)
    assert yard.places() == {again: "lab"}
