"""What a driver says of a job is a claim: no time in it moves a clock, or a bill beyond what was seen here."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from nodus_control.dispatch.decisions import POLL_MS, Ending, ImpossibleReport, judge, written_off
from nodus_control.suppliers.protocol import PlacementState, Report
from nodus_core import lifecycle
from nodus_core.lifecycle import JobStatus
from nodus_ledger.database.rows import AttemptRecord, JobRecord, new_record
from nodus_ledger.jobs.leases import Claim
from nodus_ledger.jobs.settlement import Step

PLACED_AT = 1_000_000
NOW = 1_100_000
LIMIT_SECONDS = 3600


def make_claim(started_at: int | None = None) -> Claim:
    """A claim on a job that is placed, or on record as running."""
    is_running = started_at is not None
    status = JobStatus.RUNNING if is_running else JobStatus.PLACED
    job: JobRecord = new_record(
        {
            "seq": 1,
            "id": "job",
            "status": status.value,
            "placements": 1,
            "supplier": "s",
            "region": "r",
            "rate": 1,
            "placed_at": PLACED_AT,
            "started_at": started_at,
            "events": 2,
            "attempt": 1,
            "open_attempt": True,
            "max_runtime_seconds": LIMIT_SECONDS,
        }
    )
    return Claim(job, AttemptRecord("job", 1, "s", "r", 1, PLACED_AT), supplier_is_out=False)


def judged(claim: Claim, started: float | None, finished: float | None, now: int = NOW) -> Step:
    """What a report of a completed job means."""
    return judge(claim, Report(PlacementState.COMPLETED, started, finished), Ending.NONE, now)


def times(claim: Claim, step: Step) -> tuple[int, int, int]:
    """When the job started and finished, and how long it ran."""
    state = claim.job.state
    for change in step.changes:
        state = lifecycle.apply(state, change)
    assert state.started_at is not None
    assert state.finished_at is not None
    return state.started_at, state.finished_at, lifecycle.running_milliseconds(state, LIMIT_SECONDS)


def test_times_between_the_placement_and_now_stand() -> None:
    """They are the engine's, and true."""
    claim = make_claim()

    assert times(claim, judged(claim, 1010.0, 1050.5)) == (1_010_000, 1_050_500, 40_500)


def test_a_start_before_the_placement_is_moved_behind_it_with_its_length() -> None:
    """Nothing runs before it is placed; an engine whose clock is behind is still right about how long."""
    claim = make_claim()

    assert times(claim, judged(claim, 900.0, 960.0)) == (PLACED_AT, 1_060_000, 60_000)


def test_an_end_in_the_future_is_moved_before_now_with_its_length() -> None:
    """Whatever month it lies in: what is paid for belongs to the month in which it was seen to end."""
    claim, five_years = make_claim(), 5 * 365 * 86_400

    assert times(claim, judged(claim, 1010.0 + five_years, 1050.0 + five_years)) == (1_060_000, NOW, 40_000)


def test_no_length_is_more_than_what_passed_here() -> None:
    """A job that has been here for 100 s has not run for an hour."""
    claim = make_claim()

    assert times(claim, judged(claim, 1010.0, 4610.0)) == (PLACED_AT, NOW, 100_000)


def test_a_start_that_is_on_record_stands() -> None:
    """A later report gives a length, and no other start."""
    claim = make_claim(started_at=1_020_000)

    assert times(claim, judged(claim, 1060.0, 1090.0)) == (1_020_000, 1_050_000, 30_000)
    assert times(claim, judged(claim, 1_000_000_000.0, 1_000_009_999.0)) == (1_020_000, NOW, 80_000)
    assert times(claim, judged(claim, None, 1090.0)) == (1_020_000, 1_090_000, 70_000)


@pytest.mark.parametrize(
    ("started", "finished"),
    [
        (1010.0, 9e15),
        (9e15, 9e15),
        (1010.0, math.nan),
        (math.nan, 1010.0),
        (1010.0, math.inf),
        (-math.inf, 1010.0),
        (-1.0, 1010.0),
        (1010.0, -1.0),
        (1050.0, 1010.0),
        (None, 1e300),
    ],
)
def test_what_is_no_date_is_refused(started: float | None, finished: float) -> None:
    """And an end before its start: such a report means nothing."""
    for claim in (make_claim(), make_claim(started_at=1_020_000)):
        with pytest.raises(ImpossibleReport):
            judged(claim, started, finished)


@pytest.mark.parametrize("next_poll_at", [math.nan, math.inf, -math.inf, 9e15])
def test_a_next_look_that_is_no_date_is_the_usual_one(next_poll_at: float) -> None:
    """A job cannot get itself forgotten."""
    report = Report(PlacementState.RUNNING, 1010.0, next_poll_at=next_poll_at)

    assert judge(make_claim(), report, Ending.NONE, NOW).due_at == NOW + POLL_MS


def test_what_is_written_off_has_run_until_now() -> None:
    """Since its start, where that is on record, else since its placement."""
    for claim, began in ((make_claim(), PLACED_AT), (make_claim(started_at=1_020_000), 1_020_000)):
        step = written_off(claim, NOW, "internal_error", "It could not be recorded.")
        assert times(claim, step) == (began, NOW, NOW - began)
        assert step.changes[-1].error_code == "internal_error"


def test_no_report_leaves_the_time_in_which_the_job_was_here() -> None:
    """Ten thousand reports of any times: all lie between the placement and now, or are refused."""
    chance = random.Random(8)
    values = (0.0, 999.0, 1000.0, 1099.9, 1100.0, 1e9, 9e15, -5.0, math.nan, math.inf)
    for _ in range(10_000):
        pick = [chance.choice(values) * chance.choice((1, 1, chance.uniform(0, 2))) for _ in range(2)]
        claim = make_claim(chance.choice((None, 1_020_000)))
        report = Report(
            chance.choice((PlacementState.COMPLETED, PlacementState.FAILED, PlacementState.LOST)),
            chance.choice((None, pick[0])),
            chance.choice((None, pick[1])),
            next_poll_at=pick[0],
        )
        try:
            step = judge(claim, report, chance.choice(list(Ending)), NOW)
        except ImpossibleReport:
            continue
        assert all(PLACED_AT <= change.at <= NOW for change in step.changes)
        assert step.attempt_end is not None
        assert PLACED_AT <= step.attempt_end.ended_at <= NOW


def test_a_clock_that_went_back_since_the_start_gives_no_negative_length() -> None:
    """It has run for nothing, at the least."""
    claim = make_claim(started_at=1_020_000)

    assert times(claim, judged(claim, 1020.0, 1025.0, now=1_010_000)) == (1_020_000, 1_020_000, 0)


def test_a_queued_job_that_ends_at_once_goes_through_all_states() -> None:
    """The history has no gaps, whatever was noticed late."""
    claim = make_claim()
    claim = replace(
        claim, job=replace(claim.job, status="queued", placed_at=None, supplier=None, region=None, rate=None)
    )
    step = judged(claim, 1010.0, 1011.0)

    assert [change.to.value for change in step.changes] == ["placed", "running", "completed"]
