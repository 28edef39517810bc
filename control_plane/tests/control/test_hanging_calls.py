"""Calls that hang, and engines that another worker serves: what is sent, what goes elsewhere, what is left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from control.engines import Fleet, running
from patience import PATIENCE_SECONDS, eventually

from nodus_control.dispatch import worker as worker_module
from nodus_control.dispatch.engine_identities import EngineIdentities
from nodus_control.dispatch.worker import Worker
from nodus_control.suppliers.drivers import Drivers
from nodus_ledger.jobs.leases import Claims

pytestmark = pytest.mark.both_engines


@pytest.fixture
def fleet(database_url: str) -> Iterator[Fleet]:
    """A control plane of two suppliers."""
    made = Fleet(database_url)
    yield made
    made.plane.close()


class Stopwatch:
    """Real time, as a test lets it pass."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Read it."""
        return self.seconds


class Hanging:
    """Does not come back before it is let go; then something else is done."""

    def __init__(self, then: Callable[..., Any] = lambda *_: None) -> None:
        self.then = then
        self.began = threading.Semaphore(0)
        self.goes_on = threading.Event()
        self.ended = threading.Event()

    def __call__(self, *arguments: Any) -> Any:
        """Hang."""
        self.began.release()
        assert self.goes_on.wait(PATIENCE_SECONDS)
        try:
            return self.then(*arguments)
        finally:
            self.ended.set()


def another_worker(fleet: Fleet, watch: Stopwatch) -> Worker:
    """Make one, with eyes of its own for who the engines are."""
    claims = Claims(fleet.plane.database, fleet.plane.catalogue)
    drivers = Drivers({"cheap": fleet.cheap, "dear": fleet.dear})
    identities = EngineIdentities(fleet.plane.settings)
    return Worker(fleet.plane.jobs, claims, drivers, fleet.clock.now, identities=identities, monotonic=watch)


@pytest.fixture
def watched(fleet: Fleet) -> Iterator[tuple[Worker, Stopwatch]]:
    """A worker of the same suppliers, whose calls take as long as a test says."""
    watch = Stopwatch()
    worker = another_worker(fleet, watch)
    yield worker, watch
    worker.close()
    eventually(lambda: not calls_under_way())


def calls_under_way() -> list[threading.Thread]:
    """List the threads of lanes."""
    return [thread for thread in threading.enumerate() if thread.name in ("nodus-cheap", "nodus-dear")]


def abandon(worker: Worker, watch: Stopwatch, hangs: Hanging) -> None:
    """Begin a call that hangs, and have it abandoned."""
    worker.run_batch()
    assert hangs.began.acquire(timeout=PATIENCE_SECONDS)
    watch.seconds += worker_module.SUBMIT_SECONDS
    worker.run_batch()


def test_what_was_not_sent_to_an_engine_that_hangs_goes_elsewhere(
    fleet: Fleet, watched: tuple[Worker, Stopwatch]
) -> None:
    """It was asked who it is, and hangs: nothing is sent to it afterwards either, and it is asked that again."""
    worker, watch = watched
    hangs = fleet.cheap.engine = Hanging(lambda: "engine 1")
    job_id = fleet.submit()
    abandon(worker, watch, hangs)
    eventually(lambda: bool(worker.run_batch()) or fleet.job(job_id).status == "running")
    hangs.goes_on.set()
    eventually(hangs.ended.is_set)
    worker.close()
    eventually(lambda: not calls_under_way())

    assert fleet.outcomes(job_id) == [("cheap", "not_started"), ("dear", None)]
    assert fleet.cheap.submitted == []
    assert fleet.view(job_id)["cost_so_far_usd"] == 0


def test_what_was_not_sent_is_cancelled_although_its_engine_hangs(
    fleet: Fleet, watched: tuple[Worker, Stopwatch]
) -> None:
    """Nobody has to be asked about it."""
    worker, watch = watched
    hangs = fleet.cheap.engine = Hanging(lambda: "engine 1")
    job_id = fleet.submit()
    worker.run_batch()
    assert hangs.began.acquire(timeout=PATIENCE_SECONDS)
    fleet.cancel(job_id)
    watch.seconds += worker_module.SUBMIT_SECONDS
    worker.run_batch()
    worker.run_batch()
    ended = fleet.job(job_id)
    hangs.goes_on.set()
    worker.close()
    eventually(lambda: not calls_under_way())

    assert (ended.status, ended.cost) == ("cancelled", 0)
    assert (fleet.cheap.submitted, fleet.dear.submitted) == ([], [])


def test_what_may_have_been_sent_before_it_hung_goes_nowhere_else(
    fleet: Fleet, watched: tuple[Worker, Stopwatch]
) -> None:
    """Its lease is over before anybody asks about it again."""
    worker, watch = watched
    hangs = fleet.cheap.on_submit = Hanging()
    job_id = fleet.submit()
    abandon(worker, watch, hangs)
    for _ in range(3):
        worker.run_batch()
    waiting = fleet.job(job_id)
    hangs.goes_on.set()
    worker.close()

    assert (waiting.status, waiting.phase) == ("queued", "submitting")
    assert fleet.outcomes(job_id) == [("cheap", None)]
    assert (len(fleet.cheap.submitted), fleet.dear.submitted) == (1, [])


def test_an_engine_that_hung_may_come_back_as_another(fleet: Fleet, watched: tuple[Worker, Stopwatch]) -> None:
    """So it says who it is before anything else is asked of it."""
    worker, watch = watched
    before = fleet.submit()
    worker.run_due()
    fleet.clock.advance_to(fleet.clock.now() + 60_000)
    hangs = fleet.cheap.reports = Hanging(running)
    abandon(worker, watch, hangs)
    fleet.cheap.engine = lambda: "engine 2"
    job_id = fleet.submit()
    worker.run_due()
    hangs.goes_on.set()
    worker.close()
    eventually(lambda: not calls_under_way())
    fleet.cheap.engine = lambda: "engine 1"

    assert [placement.job_id for placement in fleet.cheap.submitted] == [before]
    assert fleet.outcomes(job_id) == [("cheap", "not_started"), ("dear", None)]


def test_an_engine_that_was_another_is_served_once_it_is_the_right_one(
    fleet: Fleet, watched: tuple[Worker, Stopwatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to restart the worker; meanwhile it leaves alone what others have placed there."""
    monkeypatch.setattr(worker_module, "LOOK_SECONDS", 0.0)
    theirs = fleet.submit()
    other = another_worker(fleet, Stopwatch())
    other.run_due()
    other.close()
    worker, _ = watched
    fleet.cheap.engine = lambda: "engine 2"

    def runs(job_id: str) -> bool:
        worker.run_batch()
        return fleet.job(job_id).status == "running"

    def is_served() -> bool:
        worker.run_batch()
        return not worker.unreachable

    elsewhere = fleet.submit()
    eventually(lambda: runs(elsewhere))
    away = worker.unreachable
    fleet.cheap.engine = lambda: "engine 1"
    eventually(is_served)
    again = fleet.submit()
    eventually(lambda: runs(again))

    assert away == {"cheap"}
    assert [fleet.job(job_id).supplier for job_id in (theirs, elsewhere, again)] == ["cheap", "dear", "cheap"]


def test_a_worker_without_a_driver_for_a_supplier_leaves_that_to_others(fleet: Fleet) -> None:
    """It places nothing there either, once it knows."""
    claims = Claims(fleet.plane.database, fleet.plane.catalogue)
    worker = Worker(fleet.plane.jobs, claims, Drivers({"dear": fleet.dear}), fleet.clock.now)
    theirs = fleet.submit()
    fleet.worker.run_due()
    made = [fleet.submit() for _ in range(2)]
    worker.run_due()
    fleet.clock.advance_to(fleet.clock.now() + 60_000)
    worker.run_due()
    away = worker.unreachable
    fleet.worker.run_due()
    worker.close()

    assert away == {"cheap"}
    assert {fleet.job(job_id).supplier for job_id in made} == {"dear"}
    assert fleet.job(theirs).supplier == "cheap"
