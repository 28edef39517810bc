"""What the worker makes of suppliers that refuse, lose and vanish."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from control.engines import EngineStub, Holds
from entries import layout_of_one_machine

from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane
from nodus_control.dispatch.worker import LEASE_MS, Worker
from nodus_control.dispatch.worker_loop import IDLE_SECONDS, WorkerLoop
from nodus_control.suppliers.drivers import Drivers
from nodus_control.suppliers.protocol import (
    CapacityRefused,
    Placement,
    PlacementState,
    Report,
    SubmissionRefused,
)
from nodus_core.spec import parse_spec
from nodus_ledger.database.rows import JobRecord
from nodus_ledger.jobs.leases import Claims
from nodus_ledger.keys.keys import KeyRecord, PrincipalKind
from nodus_ledger.trust.row_times import RowTimes

pytestmark = pytest.mark.both_engines


SPEC = {"image": "x", "gpu": "h100_80gb", "require_tiers": ["neocloud"], "env": {"TOKEN": "hunter2"}}


class ScriptedDriver(EngineStub):
    """An engine that is asked in the worker's own thread, as simulated ones are."""

    name = "simulated"
    runs_commands = False


class Bench:
    """A control plane without a thread of its own, one scripted driver and one key."""

    def __init__(self, database_url: str) -> None:
        self.clock = ManualClock()
        self.control_plane = ControlPlane(database_url, clock=self.clock)
        self.driver = ScriptedDriver()
        self.real_time = 1000.0
        self.worker = self.new_worker()
        self.control_plane.worker = self.worker
        minted = self.control_plane.keys.mint(
            customer_id="acme", label="", principal_kind=PrincipalKind.HUMAN, now=0, is_test=True
        )
        key = self.control_plane.keys.find(minted.api_key)
        assert key is not None
        self.key: KeyRecord = key

    def new_worker(self, claims: Claims | None = None) -> Worker:
        """Make another worker on the same database."""
        claims = claims or Claims(self.control_plane.database, self.control_plane.catalogue)
        return Worker(
            self.control_plane.jobs, claims, Drivers.everywhere(self.driver), self.clock.now, lambda: self.real_time
        )

    def claims_of_one_machine(self, *, at_once: int) -> Claims:
        """Share eight GPUs of each model, and so many places, among all suppliers."""
        layout = layout_of_one_machine(self.control_plane.catalogue, gpus=8, at_once=at_once)
        return Claims(self.control_plane.database, self.control_plane.catalogue, layout)

    def submit(self, **changes: Any) -> str:
        """Submit a job."""
        spec = parse_spec({**SPEC, **changes})
        return self.control_plane.jobs.submit(self.key, spec, None, self.clock.now()).job.id

    def job(self, job_id: str) -> JobRecord:
        """Read a job."""
        return self.control_plane.jobs.get("acme", job_id)


@pytest.fixture
def bench(database_url: str) -> Iterator[Bench]:
    """A bench, closed afterwards."""
    made = Bench(database_url)
    yield made
    made.control_plane.close()


def test_a_refusal_moves_on_to_the_next_offer_at_once(bench: Bench) -> None:
    """Nothing was placed, so nothing is counted as a placement; no place is asked twice."""

    def refuse(placement: Placement, holds: Holds) -> None:
        if len(bench.driver.submitted) < 3:
            raise CapacityRefused

    bench.driver.on_submit = refuse
    job_id = bench.submit()
    bench.worker.run_due()
    places = [(placement.supplier, placement.region) for placement in bench.driver.submitted]

    assert (bench.job(job_id).status, bench.job(job_id).placements) == ("running", 1)
    assert places == [("hyperbolic", "default"), ("hyperbolic", "us-central"), ("vast", "asia")]
    assert [placement.attempt for placement in bench.driver.submitted] == [1, 2, 3]


def test_a_job_that_every_offer_refuses_fails(bench: Bench) -> None:
    """`no_supplier`, after each eligible offer was asked once."""

    def refuse(placement: Placement, holds: Holds) -> None:
        raise CapacityRefused

    bench.driver.on_submit = refuse
    job_id = bench.submit()
    bench.worker.run_due()
    job = bench.job(job_id)

    assert (job.status, job.error_code, job.cost, job.placements) == ("failed", "no_supplier", 0, 0)
    assert len({(placement.supplier, placement.region) for placement in bench.driver.submitted}) == 10
    assert len(bench.driver.submitted) == 10


def test_what_can_never_run_fails_without_failover(bench: Bench) -> None:
    """Another supplier of the same kind would say the same."""

    def refuse(placement: Placement, holds: Holds) -> None:
        raise SubmissionRefused("command_required", "give the job a command")

    bench.driver.on_submit = refuse
    job_id = bench.submit()
    bench.worker.run_due()

    assert (bench.job(job_id).status, bench.job(job_id).error_code) == ("failed", "command_required")
    assert len(bench.driver.submitted) == 1


def test_a_lost_placement_fails_over_and_is_free(bench: Bench) -> None:
    """The job goes elsewhere; only its last placement is paid for, from its own start."""
    start = bench.clock.now() / 1000

    def lose_the_first(placement: Placement, now: float) -> Report:
        bench.clock.advance_to(round((start + (3600 if placement.attempt == 1 else 3710)) * 1000))
        if placement.attempt == 1:
            return Report(PlacementState.LOST, started_at=start, finished_at=start + 3600)
        return Report(PlacementState.COMPLETED, started_at=start + 3700, finished_at=start + 3710)

    bench.driver.reports = lose_the_first
    job_id = bench.submit()
    bench.worker.run_due()
    job = bench.job(job_id)

    assert (job.status, job.placements, job.duration_ms) == ("completed", 2, 10_000)
    assert job.rate == 1_290_000
    assert bench.driver.submitted[0].region != bench.driver.submitted[1].region


def test_a_look_that_comes_late_misses_nothing(bench: Bench) -> None:
    """Placed, running and completed are all in the history, at their true times."""
    start = bench.clock.now()
    bench.driver.reports = lambda placement, now: Report(PlacementState.PROVISIONING, next_poll_at=now + 5)
    job_id = bench.submit()
    bench.worker.run_due()
    bench.driver.reports = lambda placement, now: Report(
        PlacementState.COMPLETED, started_at=placement.placed_at + 5, finished_at=placement.placed_at + 65
    )
    bench.clock.advance_to(start + 1_000_000)
    bench.worker.run_due()
    job = bench.job(job_id)

    assert (job.events, job.duration_ms, job.placements, job.finished_at) == (4, 60_000, 1, start + 65_000)


def test_an_outage_ends_what_runs_there_before_it_goes_elsewhere(bench: Bench) -> None:
    """Nothing runs twice: the old placement is ended, and confirmed, before the new one starts."""
    job_id = bench.submit()
    bench.worker.run_due()
    bench.control_plane.set_outage("hyperbolic", on=True)
    moved = bench.job(job_id)

    assert (moved.status, moved.supplier, moved.placements) == ("running", "vast", 2)
    assert [placement.attempt for placement in bench.driver.cancelled] == [1]


def test_a_job_comes_back_once_no_supplier_is_left(bench: Bench) -> None:
    """Every eligible offer is out: `no_supplier`."""
    job_id = bench.submit()
    bench.worker.run_due()
    for supplier in ("runpod", "vast", "hyperbolic"):
        bench.control_plane.set_outage(supplier, on=True)

    assert (bench.job(job_id).status, bench.job(job_id).error_code) == ("failed", "no_supplier")


def test_a_cancel_waits_for_the_driver(bench: Bench) -> None:
    """Until it confirms, the job is what it was."""
    job_id = bench.submit()
    bench.worker.run_due()
    asked = bench.control_plane.jobs.request_cancel(bench.key, job_id, bench.clock.now())
    bench.worker.run_due()

    assert asked.status == "running"
    assert bench.job(job_id).status == "cancelled"


def test_a_job_that_nobody_has_is_cancelled_at_once(bench: Bench) -> None:
    """A job without an attempt is cancelled without asking a driver."""
    job_id = bench.submit()
    cancelled = bench.control_plane.jobs.request_cancel(bench.key, job_id, bench.clock.now())
    bench.worker.run_due()

    assert (cancelled.status, cancelled.cost) == ("cancelled", 0)
    assert (bench.job(job_id).status, bench.driver.submitted) == ("cancelled", [])


def test_a_job_that_completed_before_its_cancel_is_completed(bench: Bench) -> None:
    """What the driver reports decides, not the request."""
    bench.driver.cancel = lambda placement, now: None  # type: ignore[method-assign]
    job_id = bench.submit()
    bench.worker.run_due()
    bench.control_plane.jobs.request_cancel(bench.key, job_id, bench.clock.now())
    bench.driver.reports = lambda placement, now: Report(
        PlacementState.COMPLETED, started_at=placement.placed_at, finished_at=now
    )
    bench.worker.run_due()

    assert bench.job(job_id).status == "completed"


def test_an_overdue_job_is_ended_where_its_driver_does_not(bench: Bench) -> None:
    """After a minute's grace; what is over the limit is not paid for."""
    job_id = bench.submit(max_runtime_seconds=60)
    bench.worker.run_due()
    bench.clock.advance_to(bench.clock.now() + 121_000)
    bench.worker.run_due()
    job = bench.job(job_id)

    assert (job.status, job.error_code, job.duration_ms) == ("failed", "max_runtime_exceeded", 60_000)


def test_a_driver_that_breaks_is_asked_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Under the same attempt, so that nothing starts twice; and the log shows no secret."""

    def break_down(placement: Placement, now: float) -> Report:
        raise OSError("no route to host")

    bench.driver.reports = break_down
    job_id = bench.submit()
    bench.worker.run_due()
    bench.driver.reports = ScriptedDriver().reports
    bench.clock.advance_to(bench.clock.now() + 5_000)
    bench.worker.run_due()

    assert (bench.job(job_id).status, bench.job(job_id).placements) == ("running", 1)
    assert [placement.attempt for placement in bench.driver.submitted] == [1, 1]
    assert "no route to host" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_worker_that_died_is_replaced_after_its_lease(bench: Bench) -> None:
    """Its attempt is taken up under the same number; before that nobody touches the job."""

    def die(placement: Placement, holds: Holds) -> None:
        raise SystemExit

    bench.driver.on_submit = die
    job_id = bench.submit()
    with pytest.raises(SystemExit):
        bench.worker.run_due()
    bench.driver.on_submit = ScriptedDriver().on_submit
    successor = bench.new_worker()
    too_early = successor.run_due()
    bench.real_time += LEASE_MS / 1000 + 1
    successor.run_due()

    assert too_early == 0
    assert bench.job(job_id).status == "running"
    assert [(placement.attempt, placement.region) for placement in bench.driver.submitted] == [(1, "default")] * 2


def test_what_another_has_is_not_asked_for_all_the_time(bench: Bench) -> None:
    """A worker that cannot have what is due looks again after a second, or when it hears news."""

    def die(placement: Placement, holds: Holds) -> None:
        raise SystemExit

    bench.driver.on_submit = die
    bench.submit()
    with pytest.raises(SystemExit):
        bench.worker.run_due()
    successor = WorkerLoop(bench.new_worker(), bench.clock, lambda: None)

    assert successor.round() == IDLE_SECONDS


def test_a_worker_that_comes_back_too_late_writes_nothing(bench: Bench) -> None:
    """Another has claimed the job meanwhile: the generation tells."""
    successor = bench.new_worker()

    def linger(placement: Placement, holds: Holds) -> None:
        bench.driver.on_submit = lambda placement, holds: None
        bench.real_time += LEASE_MS / 1000 + 1
        successor.run_due()
        bench.driver.reports = lambda placement, now: Report(PlacementState.LOST)

    bench.driver.on_submit = linger
    job_id = bench.submit()
    bench.worker.run_due()
    job = bench.job(job_id)

    assert (job.status, job.placements, job.events) == ("running", 1, 3)


def test_two_workers_never_have_the_same_job(bench: Bench) -> None:
    """A hundred jobs, two workers at once, each job submitted once."""
    made = {bench.submit() for _ in range(100)}
    other = bench.new_worker()
    threads = [threading.Thread(target=worker.run_due) for worker in (bench.worker, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(placement.job_id for placement in bench.driver.submitted) == sorted(made)
    assert {bench.job(job_id).status for job_id in made} == {"running"}


def test_the_same_seed_and_submissions_give_the_same_transcript() -> None:
    """Suppliers, durations, refusals and losses follow from the seed, not from the time."""

    def transcript(seed: int, start_ms: int) -> list[tuple[str, str | None, str | None, int | None, int]]:
        control_plane = ControlPlane(clock=ManualClock(start_ms), seed=seed)
        minted = control_plane.keys.mint(
            customer_id="acme", label="", principal_kind=PrincipalKind.HUMAN, now=0, is_test=True
        )
        key = control_plane.keys.find(minted.api_key)
        assert key is not None
        spec = parse_spec({"image": "x", "gpu": "h100_80gb", "max_runtime_seconds": 172_800})
        for _ in range(40):
            control_plane.jobs.submit(key, spec, None, control_plane.clock.now())
        control_plane.advance(400_000)
        page = control_plane.jobs.list("acme", limit=200)
        control_plane.close()
        return [(job.status, job.supplier, job.region, job.duration_ms, job.placements) for job in page.jobs]

    first = transcript(7, 1_700_000_000_000)

    assert first == transcript(7, 1_800_000_000_000)
    assert first != transcript(8, 1_700_000_000_000)
    assert {status for status, *_ in first} == {"completed"}
    assert any(placements > 1 for *_, placements in first)


def test_a_step_that_cannot_be_written_fails_alone(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The others of the batch, of whatever customer, are written; that job ends, and that is said once."""

    def report(placement: Placement, now: float) -> Report:
        # No database takes a text with half of a surrogate pair.
        message = "\ud800" if placement.job_id == unwritable else "it failed"
        return Report(PlacementState.FAILED, placement.placed_at, now, "nonzero_exit", message)

    others = [bench.submit() for _ in range(3)]
    unwritable = bench.submit()
    others += [bench.submit() for _ in range(3)]
    bench.driver.reports = report
    bench.worker.run_due()
    bench.worker.run_due()
    ended = bench.job(unwritable)

    assert {bench.job(job_id).error_code for job_id in others} == {"nonzero_exit"}
    assert (ended.status, ended.error_code) == ("failed", "internal_error")
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_a_report_of_times_that_are_no_dates_ends_its_job_alone(bench: Bench) -> None:
    """It is told to end, and is paid for until now; nobody else notices, and no month but this one."""
    bad = bench.submit()
    good = bench.submit()
    began = bench.clock.now()

    def report(placement: Placement, now: float) -> Report:
        bench.clock.advance_to(began + 5000)
        is_bad = placement.job_id == bad
        return Report(PlacementState.COMPLETED, placement.placed_at, 9e15 if is_bad else placement.placed_at + 1)

    bench.driver.reports = report
    bench.worker.run_due()

    assert bench.job(good).duration_ms == 1000
    assert (bench.job(bad).error_code, bench.job(bad).duration_ms) == ("invalid_report", 5000)
    assert [placement.job_id for placement in bench.driver.cancelled] == [bad]
    assert RowTimes(bench.control_plane.database).latest_event_ms() == began + 5000


def test_jobs_wait_while_the_machine_is_full_and_the_oldest_that_fit_go_first(bench: Bench) -> None:
    """Over all workers: at most eight GPUs of a model, and so many jobs; models take turns."""
    claims = bench.claims_of_one_machine(at_once=3)
    workers = [bench.new_worker(claims) for _ in "ab"]
    ended: set[str] = set()

    def report(placement: Placement, now: float) -> Report:
        state = PlacementState.COMPLETED if placement.job_id in ended else PlacementState.RUNNING
        return Report(state, placement.placed_at, now, next_poll_at=now + 1)

    def pass_by() -> list[int]:
        bench.clock.advance_to(bench.clock.now() + 1000)
        for worker in (*workers, *workers):
            worker.run_due()
        return [number for number, job_id in enumerate(made) if bench.job(job_id).status == "running"]

    bench.driver.reports = report
    made = [bench.submit(gpu_count=count) for count in (4, 4, 8, 1)]
    made += [bench.submit(gpu="a10g", require_tiers=[]) for _ in range(3)]
    assert pass_by() == [0, 4, 5]
    ended.add(made[0])
    assert pass_by() == [1, 4, 5]
    ended.update((made[1], made[4]))
    assert pass_by() == [2, 5, 6]
    ended.update((made[2], made[5], made[6]))
    assert pass_by() == [3]
    assert len(bench.driver.submitted) == len(made)


def test_a_waiting_job_can_be_cancelled_and_leaves_its_place(bench: Bench) -> None:
    """It ends at once, since nobody has it, and the next one comes forward."""
    claims = bench.claims_of_one_machine(at_once=1)
    worker = Worker(
        bench.control_plane.jobs, claims, Drivers.everywhere(bench.driver), bench.clock.now, lambda: bench.real_time
    )
    first, second, third = (bench.submit() for _ in range(3))
    worker.run_due()
    assert worker.next_due() is not None
    cancelled = bench.control_plane.jobs.request_cancel(bench.key, second, bench.clock.now())
    bench.control_plane.jobs.request_cancel(bench.key, first, bench.clock.now())
    worker.run_due()

    assert cancelled.status == "cancelled"
    assert [bench.job(job_id).status for job_id in (first, third)] == ["cancelled", "running"]


def test_the_end_of_everything_reaches_waiting_jobs(bench: Bench) -> None:
    """A control plane whose memory ends with it leaves nothing behind."""
    claims = bench.claims_of_one_machine(at_once=1)
    worker = Worker(
        bench.control_plane.jobs, claims, Drivers.everywhere(bench.driver), bench.clock.now, lambda: bench.real_time
    )
    made = [bench.submit() for _ in range(3)]
    worker.run_due()
    bench.control_plane.jobs.request_cancel_all(bench.clock.now())
    worker.run_due()

    assert {bench.job(job_id).status for job_id in made} == {"cancelled"}
    assert worker.next_due() is None


def test_a_driver_is_told_what_is_on_record_of_a_placement(bench: Bench) -> None:
    """That it has taken it, from the first look on, and since when it has been seen to run."""
    seen: list[tuple[bool, float | None]] = []
    began = bench.clock.now() / 1000

    def report(placement: Placement, now: float) -> Report:
        seen.append((placement.is_accepted, placement.started_at))
        state = PlacementState.COMPLETED if len(seen) == 3 else PlacementState.RUNNING
        return Report(state, placement.placed_at, now, next_poll_at=now + 1)

    bench.driver.reports = report
    bench.submit()
    for _ in range(3):
        bench.worker.run_due()
        bench.clock.advance_to(bench.clock.now() + 1000)

    assert [placement.is_accepted for placement in bench.driver.submitted] == [False]
    assert seen == [(True, None), (True, began), (True, began)]
