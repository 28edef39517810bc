"""What a driver says of a job is a claim: no time in it moves a clock, or a bill beyond what was seen here."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest

from nodus_control.dispatch.next_steps import (
    LONGEST_POLL_MS,
    LONGEST_START_MS,
    POLL_MS,
    PROGRESS_MS,
    PROOF_GRAIN_MS,
    RETRY_MS,
    SILENCE_MS,
    Ending,
    ImpossibleReport,
    ending_of,
    given_up,
    judge,
    never_sent,
    unavailable,
    written_off,
)
from nodus_control.suppliers.drivers import Terms
from nodus_control.suppliers.protocol import PlacementState, Report
from nodus_core import lifecycle
from nodus_core.lifecycle import JobStatus
from nodus_ledger.database.rows import AttemptRecord, JobRecord, new_record
from nodus_ledger.jobs.claiming import Claim
from nodus_ledger.jobs.settlement import AttemptNews, Step

PLACED_AT = 1_000_000
NOW = 1_100_000
LIMIT_SECONDS = 3600


def make_claim(started_at: int | None = None, **fields: object) -> Claim:
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
            "gpu_count": 1,
            "created_at": PLACED_AT,
            **fields,
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
    return state.started_at, state.finished_at, lifecycle.running_milliseconds(state, LIMIT_SECONDS * 1000)


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


def test_what_really_runs_is_asked_about_each_minute() -> None:
    """Whatever its engine says; what is simulated has nothing to say in between."""
    report = Report(PlacementState.RUNNING, 1010.0, next_poll_at=NOW / 1000 + 86_400)
    claim = make_claim()
    real = replace(claim, job=replace(claim.job, simulated=False))

    assert judge(real, report, Ending.NONE, NOW).due_at == NOW + LONGEST_POLL_MS
    assert judge(claim, report, Ending.NONE, NOW).due_at == NOW + 86_400_000


@pytest.mark.parametrize("next_poll_at", [math.nan, math.inf, -math.inf, 9e15])
def test_a_next_look_that_is_no_date_is_the_usual_one(next_poll_at: float) -> None:
    """A job cannot get itself forgotten."""
    report = Report(PlacementState.RUNNING, 1010.0, next_poll_at=next_poll_at)

    assert judge(make_claim(), report, Ending.NONE, NOW).due_at == NOW + POLL_MS


def test_what_is_written_off_has_run_until_now() -> None:
    """Since its start, where that is on record, else since its placement."""
    for claim, began in ((make_claim(), PLACED_AT), (make_claim(started_at=1_020_000), 1_020_000)):
        step = written_off(claim, NOW, "internal_error", "It could not be recorded.", is_confirmed=True)
        assert times(claim, step) == (began, NOW, NOW - began)
        assert step.changes[-1].error_code == "internal_error"


@pytest.mark.parametrize("is_confirmed", [True, False])
def test_what_is_written_off_is_over_only_if_its_engine_says_so(is_confirmed: bool) -> None:
    """Its program may run on."""
    step = written_off(make_claim(), NOW, "internal_error", "It could not be recorded.", is_confirmed=is_confirmed)

    assert step.attempt_end is not None
    assert step.attempt_end.is_confirmed is is_confirmed


def test_what_a_grace_gives_up_may_run_on() -> None:
    """Nobody has confirmed its end; what an operator says of it counts as that."""
    claim = make_claim(1_020_000)
    claim = replace(claim, attempt=replace(claim.attempt, unknown_since=NOW - 600_000))
    by_time = unavailable(claim, "", Ending.NONE, NOW, Terms(unknown_grace_seconds=600))
    by_operator = given_up(claim, Ending.NONE, NOW)

    assert by_time.attempt_end is not None
    assert by_operator.attempt_end is not None
    assert (by_time.attempt_end.is_confirmed, by_operator.attempt_end.is_confirmed) == (False, True)


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


def queued(claim: Claim) -> Claim:
    """The same before any supplier has accepted it."""
    job = replace(claim.job, status="queued", placed_at=None, supplier=None, region=None, rate=None)
    return replace(claim, job=job)


def with_attempt(claim: Claim, **values: Any) -> Claim:
    """The same with more on record of its attempt."""
    return replace(claim, attempt=replace(claim.attempt, **values))


def outcome_of(step: Step) -> str | None:
    """How the attempt ended."""
    return None if step.attempt_end is None else step.attempt_end.outcome


@pytest.mark.parametrize("ending", [Ending.NONE, Ending.LATE])
def test_what_never_ran_goes_back_to_the_queue_and_does_not_count_as_lost(ending: Ending) -> None:
    """As its engine has confirmed; one that no supplier had accepted has never left the queue."""
    report = Report(PlacementState.NOT_STARTED)
    of_placed, of_queued = (judge(claim, report, ending, NOW) for claim in (make_claim(), queued(make_claim())))

    assert [(change.to.value, change.reason) for change in of_placed.changes] == [("queued", "not_started")]
    assert of_queued.changes == []
    assert {outcome_of(of_placed), outcome_of(of_queued)} == {"not_started"}


def test_what_never_ran_and_was_to_end_anyway_ends_as_it_was_to() -> None:
    """Whoever asked for its end gets it; where its supplier is out, that is why it moves."""
    report = Report(PlacementState.NOT_STARTED)

    assert judge(make_claim(), report, Ending.REQUESTED, NOW).changes[-1].to is JobStatus.CANCELLED
    assert outcome_of(judge(make_claim(), report, Ending.OUTAGE, NOW)) == "outage"


def test_what_is_on_record_as_running_has_run() -> None:
    """Whatever its engine says later: it is lost."""
    assert outcome_of(judge(make_claim(1_020_000), Report(PlacementState.NOT_STARTED), Ending.NONE, NOW)) == "lost"


def test_what_was_ended_for_being_late_is_lost_if_it_had_begun() -> None:
    """It ran, for however short a time."""
    ended = Report(PlacementState.CANCELLED, finished_at=NOW / 1000)
    begun = replace(ended, started_at=NOW / 1000 - 1)

    assert outcome_of(judge(make_claim(), ended, Ending.LATE, NOW)) == "not_started"
    assert outcome_of(judge(make_claim(), begun, Ending.LATE, NOW)) == "lost"
    assert outcome_of(judge(make_claim(), Report(PlacementState.LOST), Ending.LATE, NOW)) == "lost"


def test_a_placement_is_late_after_its_deadline() -> None:
    """Not before, not once it runs, and not at a supplier that has a queue of its own."""
    terms = Terms(start_deadline_seconds=100)
    at = PLACED_AT + 100_000

    assert ending_of(make_claim(), at, terms) is Ending.NONE
    assert ending_of(make_claim(), at + 1, terms) is Ending.LATE
    assert ending_of(make_claim(PLACED_AT), at + 1, terms) is Ending.NONE
    assert ending_of(make_claim(), at + 10**9, Terms(start_deadline_seconds=None)) is Ending.NONE


def test_what_is_stopped_at_its_ceiling_says_so() -> None:
    """Whoever stopped it: its driver, at the limit that it was given, or the worker. Else it was its runtime."""
    dear = make_claim(PLACED_AT, max_cost_micros=10, rate=36_000)  # a second of it costs ten
    dear = replace(dear, attempt=replace(dear.attempt, rate=36_000))
    stopped = Report(PlacementState.FAILED, PLACED_AT / 1000, NOW / 1000, "max_runtime_exceeded", "ended at its limit")
    late = PLACED_AT + 1_000 + 60_000
    cancelled = Report(PlacementState.CANCELLED, PLACED_AT / 1000, late / 1000)

    assert judge(dear, stopped, Ending.NONE, NOW).changes[-1].error_code == "max_cost_exceeded"
    assert judge(make_claim(PLACED_AT), stopped, Ending.NONE, NOW).changes[-1].error_message == "ended at its limit"
    assert ending_of(dear, late + 100, Terms()) is Ending.OVERDUE
    assert ending_of(make_claim(PLACED_AT), late + 100, Terms()) is Ending.NONE
    assert judge(dear, cancelled, Ending.OVERDUE, late).changes[-1].error_code == "max_cost_exceeded"
    over = judge(make_claim(PLACED_AT), cancelled, Ending.OVERDUE, late)
    assert over.changes[-1].error_code == "max_runtime_exceeded"


def test_what_waits_too_long_ends_only_where_it_has_not_begun() -> None:
    """At its deadline, from its submission or its last loss; a placement whose end is not confirmed is lost."""
    claim = make_claim(queue_timeout_seconds=60)
    deadline = PLACED_AT + 60_000
    never = Report(PlacementState.NOT_STARTED)
    began = Report(PlacementState.CANCELLED, PLACED_AT / 1000, deadline / 1000)
    waits = judge(claim, Report(PlacementState.PROVISIONING, next_poll_at=10**6), Ending.NONE, PLACED_AT + 1)

    assert ending_of(claim, deadline - 1, Terms()) is Ending.NONE
    assert ending_of(claim, deadline, Terms()) is Ending.QUEUE_TIMEOUT
    assert ending_of(make_claim(PLACED_AT, queue_timeout_seconds=60), deadline, Terms()) is Ending.NONE
    assert ending_of(make_claim(queue_timeout_seconds=60, queued_at=PLACED_AT + 1), deadline, Terms()) is Ending.NONE
    assert judge(claim, never, Ending.QUEUE_TIMEOUT, deadline).changes[-1].error_code == "queue_timeout"
    assert judge(claim, began, Ending.QUEUE_TIMEOUT, deadline).changes[-1].to is JobStatus.QUEUED
    assert waits.due_at is not None
    assert waits.due_at <= deadline


def test_progress_puts_the_deadline_off_but_not_for_ever() -> None:
    """Two minutes from the last, two hours in all."""
    terms = Terms(start_deadline_seconds=100)
    progress_at = PLACED_AT + 500_000
    claim = with_attempt(make_claim(), progress_at=progress_at)
    last = PLACED_AT + LONGEST_START_MS

    assert ending_of(claim, progress_at + PROGRESS_MS - 1, terms) is Ending.NONE
    assert ending_of(claim, progress_at + PROGRESS_MS, terms) is Ending.LATE
    assert ending_of(with_attempt(claim, progress_at=last), last, terms) is Ending.NONE
    assert ending_of(with_attempt(claim, progress_at=last), last + 1, terms) is Ending.LATE


def test_an_engine_that_does_not_answer_changes_nothing_but_what_is_said() -> None:
    """The job stays where it is, and is asked about again, the later the longer it lasts."""
    soon = unavailable(make_claim(), "The engine is away.", Ending.NONE, PLACED_AT + 1, Terms())
    later = unavailable(make_claim(), "The engine is away.", Ending.NONE, PLACED_AT + 10**9, Terms())

    assert (soon.changes, soon.attempt_end, soon.news) == ((), None, None)
    assert (soon.phase, soon.phase_detail) == ("unreachable", "The engine is away.")
    assert soon.due_at == PLACED_AT + 1 + RETRY_MS
    assert later.due_at == PLACED_AT + 10**9 + 30_000


def test_a_running_job_is_unknown_after_two_minutes_of_silence() -> None:
    """Since its last proof of life; since when it is so stays."""
    claim = with_attempt(make_claim(PLACED_AT), seen_at=PLACED_AT + 50_000)
    at = PLACED_AT + 50_000 + SILENCE_MS
    before = unavailable(claim, "", Ending.NONE, at - 1, Terms())
    after = unavailable(claim, "", Ending.NONE, at, Terms())
    again = unavailable(with_attempt(claim, unknown_since=at), "", Ending.NONE, at + 1, Terms())

    assert (before.phase, before.news) == ("unreachable", None)
    assert (after.phase, after.news) == ("unknown", AttemptNews(None, at, PLACED_AT + 50_000, None))
    assert (again.phase, again.news) == ("unknown", None)


def test_an_answer_ends_what_was_unknown() -> None:
    """It is proof of life."""
    claim = with_attempt(make_claim(PLACED_AT), unknown_since=PLACED_AT + 1)
    step = judge(claim, Report(PlacementState.RUNNING, PLACED_AT / 1000), Ending.NONE, NOW)

    assert (step.phase, step.news) == (None, AttemptNews(None, None, NOW, None))


def test_what_is_unknown_for_longer_than_its_terms_allow_is_lost() -> None:
    """And ran until its last proof of life; one that was to be cancelled is. Without terms it is never given up."""
    claim = with_attempt(make_claim(PLACED_AT), seen_at=PLACED_AT + 9_000, unknown_since=PLACED_AT + 20_000)
    at, terms = PLACED_AT + 30_000, Terms(unknown_grace_seconds=10)
    lost = unavailable(claim, "", Ending.OVERDUE, at, terms)
    cancelled = unavailable(claim, "", Ending.REQUESTED, at, terms)

    assert outcome_of(unavailable(claim, "", Ending.NONE, at - 1, terms)) is None
    assert outcome_of(unavailable(claim, "", Ending.NONE, at + 10**12, Terms())) is None
    assert (outcome_of(lost), lost.changes[-1].to) == ("lost", JobStatus.QUEUED)
    assert (cancelled.changes[-1].to, cancelled.changes[-1].at) == (JobStatus.CANCELLED, PLACED_AT + 9_000)


def test_what_was_never_sent_is_back_in_the_queue() -> None:
    """At once, with nothing in its history."""
    step = never_sent(queued(make_claim()), NOW)

    assert (step.changes, step.due_at, outcome_of(step)) == ((), NOW, "not_started")


def test_proof_of_life_is_kept_now_and_then() -> None:
    """Not at every look, and not of what does not run."""
    claim = make_claim(PLACED_AT)
    running = Report(PlacementState.RUNNING, PLACED_AT / 1000)
    at = PLACED_AT + PROOF_GRAIN_MS

    assert judge(claim, running, Ending.NONE, at - 1).news is None
    assert judge(claim, running, Ending.NONE, at).news == AttemptNews(None, None, at, None)
    assert judge(make_claim(), Report(PlacementState.PROVISIONING), Ending.NONE, at).news is None


def test_what_an_engine_says_beside_its_state_is_kept_as_a_database_takes_it() -> None:
    """Printable, and no longer than anybody reads; a time that is none is no news, and none is in the future."""
    text = "a\0b\ud800c\n" * 1000
    report = Report(
        PlacementState.PROVISIONING, phase=text, phase_detail=text, engine_ref=text, progress_at=NOW / 1000 + 60
    )
    step = judge(make_claim(), report, Ending.NONE, NOW)
    without = judge(make_claim(), replace(report, engine_ref=None, progress_at=math.nan), Ending.NONE, NOW)

    assert step.phase == ("a b c " * 100)[:64]
    assert step.phase_detail == ("a b c " * 100)[:500]
    assert step.news == AttemptNews(("a b c " * 100)[:500], None, None, NOW)
    assert without.news is None


def test_a_phase_is_over_once_the_job_runs() -> None:
    """Its status says it then."""
    step = judge(make_claim(), Report(PlacementState.RUNNING, 1010.0, phase="pulling"), Ending.NONE, NOW)

    assert (step.phase, step.phase_detail) == (None, None)


@pytest.mark.parametrize(
    ("recorded", "reported", "seen_at", "expected"),
    [
        (1_010_000, 1_010.0, None, (1_010_000, 1_010_000)),
        (1_010_000, 1_010.0, 1_060_000, (1_010_000, 1_060_000)),
        (1_010_000, 9.0, 1_060_000, (1_010_000, 1_060_000)),
        (1_010_000, None, 1_060_000, (1_010_000, 1_060_000)),
        (None, 1_020.0, None, (1_020_000, 1_020_000)),
    ],
)
def test_what_was_lost_nobody_knows_when_has_run_until_the_last_proof_of_life(
    recorded: int | None, reported: float | None, seen_at: int | None, expected: tuple[int, int]
) -> None:
    """By the clock here, whatever the engine's is: what passed since then is not billed."""
    claim = make_claim(recorded)
    claim = replace(claim, attempt=replace(claim.attempt, seen_at=seen_at))
    end = judge(claim, Report(PlacementState.LOST, reported, None), Ending.NONE, NOW).attempt_end

    assert end is not None
    assert (end.outcome, end.started_at, end.ended_at) == ("lost", *expected)
