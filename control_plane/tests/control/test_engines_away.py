"""Engines that do not answer: what becomes of their jobs, of what those cost, and of everybody else's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NoReturn

import pytest
from control.engines import EngineStub, Fleet, Holds, running, silent, unsent
from patience import PATIENCE_SECONDS, eventually
from sqlalchemy import update

from nodus_control.dispatch import worker as worker_module
from nodus_control.dispatch.engine_identities import EngineIdentities
from nodus_control.dispatch.worker import LEASE_MS, Worker
from nodus_control.suppliers.drivers import Drivers, Terms
from nodus_control.suppliers.protocol import (
    EngineUnavailable,
    Found,
    Placement,
    PlacementState,
    Report,
    SubmissionRefused,
)
from nodus_ledger.database.schema import jobs
from nodus_ledger.jobs.leases import Claims

pytestmark = pytest.mark.both_engines


@pytest.fixture
def fleet(database_url: str) -> Iterator[Fleet]:
    """A control plane of two suppliers."""
    made = Fleet(database_url)
    yield made
    made.plane.close()


def starting(placement: Placement, now: float) -> Report:
    """Say that it does not run yet."""
    return Report(PlacementState.PROVISIONING, next_poll_at=now + 10, phase="pulling", phase_detail="3 of 7 layers")


def test_a_submission_that_never_left_goes_elsewhere_at_once(fleet: Fleet) -> None:
    """Nothing counts against the place, which may have the job again after a while."""
    fleet.cheap.on_submit = unsent
    job_id = fleet.submit()
    fleet.worker.run_due()
    at_first = fleet.job(job_id)
    fleet.dear.reports = lambda placement, now: Report(PlacementState.LOST)
    fleet.cheap.on_submit = EngineStub().on_submit
    fleet.advance(12)
    waiting = fleet.view(job_id)
    fleet.advance(20)

    assert (at_first.status, at_first.supplier, at_first.placements) == ("running", "dear", 1)
    assert (waiting["status"], waiting["phase"]) == ("queued", "waiting_for_capacity")
    assert (fleet.job(job_id).status, fleet.job(job_id).supplier) == ("running", "cheap")
    assert fleet.outcomes(job_id) == [("cheap", "not_started"), ("dear", "lost"), ("cheap", None)]


@pytest.mark.parametrize("says_so", [True, False])
def test_a_worker_that_is_too_slow_to_submit_leaves_the_job_where_it_is(fleet: Fleet, says_so: bool) -> None:
    """Its claim is over, which says nothing of the engine: the place is not left alone for that.

    Whether its driver says so, or returns and would see to it that nobody begins what it finds unbegun.
    """

    def slow(placement: Placement, holds: Holds) -> None:
        with fleet.plane.database.write() as connection:
            connection.execute(update(jobs).values(lease_until=0))
        assert not holds()
        if says_so:
            raise EngineUnavailable("Another worker has taken over.", never_sent=True)
        fleet.cheap.reports = lambda placement, now: Report(PlacementState.NOT_STARTED)

    fleet.cheap.on_submit = slow
    job_id = fleet.submit()
    fleet.worker.run_batch()
    eventually(lambda: fleet.worker.run_batch() >= 0 and bool(fleet.cheap.submitted))
    fleet.worker.run_due()
    fleet.cheap.on_submit, fleet.cheap.reports = EngineStub().on_submit, running
    fleet.advance(60)

    assert fleet.view(job_id)["status"] == "running"
    assert fleet.outcomes(job_id) == [("cheap", None)]


def test_what_a_driver_refuses_when_it_is_asked_again_ends(fleet: Fleet) -> None:
    """It would refuse for ever; its GPUs are kept until a sweep finds nothing of it."""

    def refused(*_arguments: object) -> NoReturn:
        raise SubmissionRefused("cannot_run", "The image is not allowed here.")

    fleet.cheap.on_submit = silent
    job_id = fleet.submit()
    fleet.worker.run_due()
    fleet.cheap.on_submit = fleet.cheap.reports = refused
    fleet.advance(60)

    assert (fleet.view(job_id)["status"], fleet.view(job_id)["error_code"]) == ("failed", "cannot_run")


def test_a_repeated_submission_that_is_refused_leaves_what_the_first_began(fleet: Fleet) -> None:
    """A worker that was started again with other images allowed: its program runs, whatever is allowed now."""

    def refused(placement: Placement, holds: Holds) -> None:
        raise SubmissionRefused("cannot_run", "The image is not allowed here.")

    fleet.cheap.on_submit = silent
    job_id = fleet.submit()
    fleet.worker.run_due()
    fleet.cheap.on_submit = refused
    fleet.advance(60)

    assert fleet.view(job_id)["status"] == "running"
    assert fleet.outcomes(job_id) == [("cheap", None)]


def test_a_submission_that_may_have_arrived_is_made_again_under_its_name(fleet: Fleet) -> None:
    """Until the engine answers; its customer sees why the job waits."""
    fleet.cheap.on_submit = silent
    job_id = fleet.submit()
    fleet.worker.run_due()
    waiting = fleet.view(job_id)
    fleet.cheap.on_submit = unsent  # that is no news of the first
    fleet.advance(10)
    fleet.cheap.on_submit = EngineStub().on_submit
    fleet.advance(60)

    assert (waiting["status"], waiting["phase"]) == ("queued", "unreachable")
    assert waiting["phase_detail"] == "The engine does not answer."
    assert fleet.view(job_id)["status"] == "running"
    assert fleet.view(job_id)["phase"] is None
    assert {placement.attempt for placement in fleet.cheap.submitted} == {1}
    assert fleet.dear.submitted == []


def test_a_driver_that_breaks_after_it_submitted_leaves_the_job_where_it_is(fleet: Fleet) -> None:
    """Whatever is said of the engine afterwards: its program may run there."""

    def broken(placement: Placement, now: float) -> Report:
        raise OSError("no space left")

    fleet.cheap.reports = broken
    job_id = fleet.submit()
    fleet.worker.run_due()
    waiting = fleet.view(job_id)
    fleet.cheap.on_submit = unsent
    fleet.advance(60)
    fleet.cheap.reports = running

    assert (waiting["status"], waiting["phase"]) == ("queued", "submitting")
    assert fleet.dear.submitted == []
    assert fleet.outcomes(job_id) == [("cheap", None)]


def test_output_is_that_of_the_last_attempt_that_began(fleet: Fleet) -> None:
    """One that never left has none."""
    job_id = fleet.submit()
    fleet.worker.run_due()
    fleet.cheap.reports = lambda placement, now: Report(PlacementState.LOST)
    fleet.dear.on_submit = unsent
    fleet.advance(10)
    facts = fleet.plane.jobs.latest_placement(job_id)

    assert fleet.outcomes(job_id) == [("cheap", "lost"), ("dear", "not_started")]
    assert facts is not None
    assert facts.supplier == "cheap"


def test_what_runs_ends_with_a_control_plane_that_keeps_nothing() -> None:
    """Also where its engine was just being asked about it; and the engine forgets it."""
    fleet = Fleet("sqlite://")
    ours = (fleet.plane.settings.database_id(), fleet.plane.settings.incarnation())
    job_id = fleet.submit()
    fleet.worker.run_batch()
    fleet.cheap.on_list = lambda: [Found(job_id, 1, *ours, 0.0, is_running=False)]
    fleet.plane.close()

    assert [placement.job_id for placement in fleet.cheap.cancelled][:1] == [job_id]
    assert [placement.job_id for placement in fleet.cheap.forgotten] == [job_id]


def test_what_a_worker_that_died_may_have_sent_stays_where_it_is(fleet: Fleet) -> None:
    """That a later request did not leave says nothing of its own."""
    job_id = fleet.submit()
    claims = Claims(fleet.plane.database, fleet.plane.catalogue)
    _, claimed = claims.claim("dead", now=fleet.clock.now(), real_now=0, lease_ms=1, limit=9)
    fleet.cheap.on_submit = unsent
    fleet.worker.run_due()

    assert [claim.is_first for claim in claimed] == [True]
    assert fleet.view(job_id)["phase"] == "unreachable"
    assert fleet.outcomes(job_id) == [("cheap", None)]


def test_a_silent_engine_makes_its_jobs_unknown(fleet: Fleet) -> None:
    """They stay where they are, and cost what they did at their last proof of life, until it answers again."""
    job_id = fleet.submit()
    fleet.advance(1800)
    fleet.cheap.reports = silent
    fleet.advance(60)
    doubtful = fleet.view(job_id)
    fleet.advance(600)
    unknown = fleet.view(job_id)
    fleet.cheap.reports = running
    fleet.advance(60)
    again = fleet.view(job_id)

    assert (doubtful["status"], doubtful["phase"]) == ("running", "unreachable")
    assert (unknown["status"], unknown["phase"], unknown["supplier"]) == ("running", "unknown", "cheap")
    assert 0.49 < unknown["cost_so_far_usd"] <= 0.5
    assert (again["status"], again["phase"]) == ("running", None)
    assert again["cost_so_far_usd"] == pytest.approx(0.7)
    assert (again["attempts"], fleet.dear.submitted) == (1, [])


def test_a_cancel_of_what_is_unknown_acts_afterwards(fleet: Fleet) -> None:
    """It is recorded, and made when the engine answers."""
    job_id = fleet.submit()
    fleet.advance(60)
    fleet.cheap.reports = fleet.cheap.on_cancel = silent
    fleet.advance(300)
    fleet.cancel(job_id)
    fleet.advance(300)
    waiting = fleet.view(job_id)
    fleet.cheap.reports, fleet.cheap.on_cancel = running, EngineStub().on_cancel
    fleet.advance(60)

    assert (waiting["status"], waiting["phase"]) == ("running", "unknown")
    assert (fleet.job(job_id).status, fleet.job(job_id).supplier) == ("cancelled", "cheap")


def test_what_ended_while_nobody_could_be_asked_is_billed_by_its_engine(fleet: Fleet) -> None:
    """The engine comes back, and knows."""
    job_id = fleet.submit()
    fleet.worker.run_due()
    began = fleet.clock.now() / 1000
    fleet.cheap.reports = silent
    fleet.advance(600)
    fleet.cheap.reports = lambda placement, now: Report(PlacementState.COMPLETED, began, began + 200)
    fleet.advance(60)

    assert (fleet.job(job_id).status, fleet.job(job_id).duration_ms) == ("completed", 200_000)


def test_a_grace_gives_up_what_is_unknown(database_url: str) -> None:
    """Where the operator says so: it is lost, and goes elsewhere; what it was is free."""
    fleet = Fleet(database_url, Terms(unknown_grace_seconds=600))
    job_id = fleet.submit()
    fleet.worker.run_due()
    fleet.cheap.reports = silent
    fleet.advance(600)
    waiting = fleet.job(job_id)
    fleet.advance(300)
    moved = fleet.job(job_id)
    outcomes = fleet.outcomes(job_id)
    fleet.plane.close()

    assert (waiting.status, waiting.supplier) == ("running", "cheap")
    assert (moved.status, moved.supplier) == ("running", "dear")
    assert outcomes == [("cheap", "lost"), ("dear", None)]


def test_what_does_not_start_in_time_goes_elsewhere(fleet: Fleet) -> None:
    """Once its engine has confirmed that it never ran; that is no loss."""
    fleet.cheap.reports = starting
    job_id = fleet.submit()
    fleet.advance(890)
    in_time = fleet.view(job_id)
    fleet.advance(20)

    assert (in_time["status"], in_time["supplier"]) == ("placed", "cheap")
    assert (in_time["phase"], in_time["phase_detail"]) == ("pulling", "3 of 7 layers")
    assert (fleet.job(job_id).status, fleet.job(job_id).supplier) == ("running", "dear")
    assert fleet.outcomes(job_id) == [("cheap", "not_started"), ("dear", None)]


def test_what_makes_progress_may_take_longer_but_not_for_ever(fleet: Fleet) -> None:
    """Two hours, and no longer than two minutes without."""

    def pulling(placement: Placement, now: float) -> Report:
        return Report(PlacementState.PROVISIONING, next_poll_at=now + 60, phase="pulling", progress_at=now)

    fleet.cheap.reports = pulling
    job_id = fleet.submit()
    fleet.advance(7100)
    slow = fleet.job(job_id)
    fleet.advance(200)

    assert (slow.status, slow.supplier) == ("placed", "cheap")
    assert fleet.outcomes(job_id)[0] == ("cheap", "not_started")


def test_what_began_at_the_last_moment_is_not_ended(fleet: Fleet) -> None:
    """It is late, and runs."""
    fleet.cheap.reports = starting
    job_id = fleet.submit()
    fleet.advance(890)
    fleet.cheap.reports = lambda placement, now: Report(PlacementState.RUNNING, now - 1, next_poll_at=now + 10)
    fleet.advance(60)

    assert (fleet.job(job_id).status, fleet.job(job_id).supplier) == ("running", "cheap")
    assert fleet.cheap.cancelled == []


def test_what_cannot_be_ended_for_being_late_is_unknown(fleet: Fleet) -> None:
    """Nobody may begin it elsewhere while it could begin there."""
    fleet.cheap.reports = starting
    job_id = fleet.submit()
    fleet.advance(60)
    fleet.cheap.reports = fleet.cheap.on_cancel = silent
    fleet.advance(3600)

    assert fleet.view(job_id)["phase"] == "unknown"
    assert fleet.dear.submitted == []


def test_an_engine_that_hangs_costs_the_others_nothing(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others' jobs go on while its threads hang; then nothing new is placed there, and it is asked again later."""
    monkeypatch.setattr(worker_module, "POLL_SECONDS", 0.05)
    hung, goes_on = threading.Event(), threading.Event()

    def hang(placement: Placement, now: float) -> Report:
        hung.set()
        assert goes_on.wait(PATIENCE_SECONDS)
        return running(placement, now)

    fleet.cheap.reports = hang
    stuck = [fleet.submit() for _ in range(12)]
    while not hung.is_set():
        fleet.worker.run_batch()
    fleet.plane.set_outage("cheap", on=True)
    fleet.dear.reports = lambda placement, now: Report(PlacementState.COMPLETED, placement.placed_at, now)
    others = [fleet.submit() for _ in range(3)]
    for _ in range(3):
        fleet.worker.run_batch()
    ended = [fleet.job(job_id).status for job_id in others]
    fleet.plane.outages.set("cheap", on=False, now=fleet.clock.now())

    def is_given_up() -> bool:
        fleet.worker.run_batch()
        return "cheap" in fleet.worker.unreachable

    eventually(is_given_up)
    elsewhere = fleet.submit()
    fleet.worker.run_batch()
    goes_on.set()
    fleet.cheap.reports = running

    def is_well() -> bool:
        fleet.advance(30)
        return {(fleet.job(job_id).status, fleet.job(job_id).supplier) for job_id in stuck} <= {
            ("running", "cheap"),  # those that it was asked about
            ("completed", "dear"),  # those that waited for that
        }

    eventually(is_well)

    assert ended == ["completed"] * 3
    assert fleet.outcomes(elsewhere)[0][0] == "dear"
    assert fleet.worker.unreachable == frozenset()


def test_a_submission_without_a_connection_counts_against_its_engine(fleet: Fleet) -> None:
    """After three of them nothing is placed there."""
    fleet.cheap.on_submit = unsent
    made = [fleet.submit() for _ in range(3)]
    fleet.worker.run_due()
    away = fleet.worker.unreachable

    assert {fleet.job(job_id).supplier for job_id in made} == {"dear"}
    assert away == {"cheap"}


def test_an_engine_without_jobs_is_used_again_once_it_answers(fleet: Fleet) -> None:
    """Nothing is placed there meanwhile, and nothing has to be for it to be asked."""
    fleet.cheap.on_submit = unsent
    fleet.cheap.engine = silent
    made = [fleet.submit() for _ in range(4)]
    fleet.worker.run_due()
    asked = len(fleet.cheap.submitted)
    away = fleet.worker.unreachable
    meanwhile = fleet.submit()
    fleet.worker.run_due()
    fleet.cheap.on_submit, fleet.cheap.engine = EngineStub().on_submit, EngineStub().engine
    fleet.advance(30)
    fleet.advance(30)
    afterwards = fleet.submit()
    fleet.worker.run_due()

    assert away == {"cheap"}
    assert len(fleet.cheap.submitted) == asked + 1
    assert {fleet.job(job_id).supplier for job_id in (*made, meanwhile)} == {"dear"}
    assert fleet.job(afterwards).supplier == "cheap"


def test_a_driver_can_ask_whether_its_claim_still_holds(fleet: Fleet) -> None:
    """Not once its lease is over, whoever has it then."""
    real_time, held = 1000.0, []

    def linger(placement: Placement, holds: Holds) -> None:
        nonlocal real_time
        held.append(holds())
        real_time += LEASE_MS / 1000 + 1
        held.append(holds())

    fleet.cheap.on_submit = linger
    claims = Claims(fleet.plane.database, fleet.plane.catalogue)
    worker = Worker(
        fleet.plane.jobs, claims, Drivers({"cheap": fleet.cheap}), fleet.clock.now, real_time=lambda: real_time
    )
    fleet.submit()
    worker.run_batch()
    eventually(lambda: len(held) == 2)
    worker.close()

    assert held == [True, False]


def test_another_engine_under_a_suppliers_name_gets_nothing(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    """Its worker says so, and leaves what is there to those who reach the right one."""
    control_plane = fleet.plane
    job_id = fleet.submit()
    fleet.worker.run_due()
    wrong = EngineStub()
    wrong.engine = lambda: "engine 2"
    claims = Claims(control_plane.database, control_plane.catalogue)
    drivers = Drivers({"cheap": wrong, "dear": fleet.dear})
    other = Worker(
        control_plane.jobs, claims, drivers, fleet.clock.now, identities=EngineIdentities(control_plane.settings)
    )
    fleet.clock.advance_to(fleet.clock.now() + 60_000)
    other.run_due()
    elsewhere = fleet.submit()
    other.run_due()
    fleet.advance(60)
    other.close()

    assert (wrong.submitted, wrong.polled, wrong.cancelled) == ([], [], [])
    assert fleet.outcomes(elsewhere) == [("dear", None)]
    assert fleet.job(job_id).status == "running"
    assert other.unreachable == {"cheap"}
    assert caplog.text.count("supplier cheap: the engine that is reached here is not the one") == 1
