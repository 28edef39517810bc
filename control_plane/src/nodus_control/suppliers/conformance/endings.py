"""Checks: how a program ended, when, and what is billed for it; what a cancellation does."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace

import pytest

from ..protocol import EngineUnavailable, PlacementState, Report, SubmissionRefused
from .beginnings import let_one_pass, needs_programs, require_begun_once, require_unavailable
from .programs import Program
from .subject import UNFINISHED, Subject, essence

EXIT_CODES = (3, 97, 255)
LIMIT_SECONDS = 2
LONG = 3000.0
_OVER_LIMIT_SECONDS = 15.0
_NEVER_RAN = (PlacementState.CANCELLED, PlacementState.NOT_STARTED, PlacementState.LOST)


def times_of(report: Report) -> tuple[float, float]:
    """Return when a program began and ended.

    Raises:
        AssertionError: one of the two is missing, or they are out of order.
    """
    started_at, finished_at = report.started_at, report.finished_at
    assert started_at is not None, f"{report.state.value}, and when it began is not said"
    assert finished_at is not None, f"{report.state.value}, and when it ended is not said"
    assert started_at <= finished_at, f"it ended {started_at - finished_at:g} s before it began"
    return started_at, finished_at


class EndingChecks:
    """Exit codes, limits, times and cancellations."""

    def test_an_exit_code_is_the_programs_own(self, subject: Subject) -> None:
        """0 is `completed`; any other is `failed`, and stands as a number in the message."""
        needs_programs(subject)
        driver = subject.make_driver()
        trials = {code: subject.trial(Program(exit_code=code), driver=driver).submit() for code in (0, *EXIT_CODES)}
        trials.pop(0).complete()
        for code, trial in trials.items():
            report = trial.finish()
            said = report.error_message or ""
            assert report.state is PlacementState.FAILED, f"a program that exits with {code} is {report.state.value}"
            assert report.error_code, f"a program that exits with {code} has no error code"
            assert re.search(rf"\b{code}\b", said), f"the message about exit code {code} does not name it: {said!r}"

    def test_a_program_that_is_killed_has_failed(self, subject: Subject) -> None:
        """By a signal that it got from somewhere, such as a machine without memory."""
        needs_programs(subject)
        report = subject.trial(Program(kills_itself=True)).submit().finish()
        assert report.state is PlacementState.FAILED, f"a program that was killed is {report.state.value}"
        assert report.error_code, "a program that was killed has no error code"

    def test_a_command_that_is_not_there_has_failed(self, subject: Subject) -> None:
        """Or it is refused at once; it does not wait for ever, and does not complete."""
        needs_programs(subject)
        trial = subject.trial(Program())
        trial.workload = replace(trial.workload, command=("/no/such/program",))
        try:
            trial.submit()
        except SubmissionRefused:
            return
        report = trial.finish()
        assert report.state is PlacementState.FAILED, f"a command that is not there is {report.state.value}"
        assert report.error_code, "a command that is not there has no error code"

    def test_a_program_over_its_limit_is_ended(self, subject: Subject) -> None:
        """As `max_runtime_exceeded`, having run for about that long."""
        if not subject.limits_run_time:
            pytest.skip("this driver leaves limits to the worker")
        trial = subject.trial(Program(seconds=LONG), max_runtime_seconds=LIMIT_SECONDS).submit()
        report = trial.finish()
        assert report.state is PlacementState.FAILED, f"a program over its limit is {report.state.value}"
        assert report.error_code == "max_runtime_exceeded", (
            f"a program over its limit is said to be {report.error_code}"
        )
        started_at, finished_at = report.started_at, report.finished_at
        assert started_at is not None
        assert finished_at is not None
        ran = abs(finished_at - started_at)
        assert ran >= 0.9 * LIMIT_SECONDS, f"a limit of {LIMIT_SECONDS} s came after {ran:g} s"
        assert ran <= LIMIT_SECONDS + _OVER_LIMIT_SECONDS, f"a limit of {LIMIT_SECONDS} s came after {ran:g} s"

    def test_times_are_in_order_and_the_length_is_true(self, subject: Subject) -> None:
        """Placed, begun, ended, seen; and as long as the program ran, by the engine's one clock."""
        seconds = 3.0
        trial = subject.trial(Program(seconds=seconds)).submit()
        started_at, finished_at = times_of(trial.finish())
        seen_at, slack = subject.now(), subject.tolerance_seconds
        if subject.runs_programs:
            ran = finished_at - started_at
            assert ran >= seconds - 0.5, f"a program of {seconds:g} s is said to have run for {ran:g} s"
            assert ran <= seen_at - trial.submitted_at, f"it ran for {ran:g} s, longer than was observed"
        placed_at = trial.placement.placed_at
        assert started_at >= placed_at - slack, f"it began {placed_at - started_at:g} s before it was placed"
        assert finished_at <= seen_at + slack, f"it ended {finished_at - seen_at:g} s after that was seen"

    def test_a_wait_in_the_engine_is_not_billed(self, subject: Subject) -> None:
        """Queues, pulls and machines that start are no run time."""
        if not subject.delay_starts(subject.wait_seconds):
            pytest.skip("nothing waits in this engine, or that cannot be brought about")
        trial = subject.trial(Program(seconds=1)).submit()
        waited_until = asked_at = subject.now()
        while trial.poll().state is PlacementState.PROVISIONING:
            waited_until = asked_at
            subject.rest()
            asked_at = subject.now()
        started_at = trial.finish().started_at
        assert started_at is not None, "a program that completed has no beginning"
        early = waited_until - started_at
        assert early <= subject.tolerance_seconds, f"{early:g} s are billed in which the placement waited"

    def test_a_cancellation_ends_a_program(self, subject: Subject) -> None:
        """Within seconds; it was billed until then, and what it printed is kept."""
        needs_programs(subject)
        trial = subject.trial(Program(prints=b"begun", seconds=LONG)).submit().until_begun()
        trial.cancel()
        report = trial.finish()
        assert report.state is PlacementState.CANCELLED, f"a program that was cancelled is {report.state.value}"
        started_at, finished_at = report.started_at, report.finished_at
        assert started_at is not None, "a program that ran until it was cancelled has no beginning"
        assert finished_at is not None, "a program that was cancelled has no end"
        assert trial.output() == b"begun", "what a program printed before it was cancelled is lost"

    def test_a_cancellation_ends_a_program_that_ignores_sigterm(self, subject: Subject) -> None:
        """It is asked first, and then not asked."""
        needs_programs(subject)
        trial = subject.trial(Program(seconds=LONG, ignores_term=True)).submit().until_begun()
        trial.cancel()
        state = trial.finish().state
        assert state is PlacementState.CANCELLED, f"a program that ignores SIGTERM, and was cancelled, is {state.value}"

    def test_what_is_cancelled_before_it_is_submitted_never_begins(self, subject: Subject) -> None:
        """It is over at once, and a submission that was under way comes too late."""
        needs_programs(subject)
        trial = subject.trial(Program())
        trial.cancel()
        state = trial.finish().state
        assert state in _NEVER_RAN, f"what was cancelled before it was submitted is {state.value}"
        trial.seen_by(subject.make_driver(), from_the_beginning=True).submit_in_vain()
        let_one_pass(subject)
        assert trial.times_begun() == 0, "what was cancelled before it was submitted ran"

    def test_a_cancellation_may_be_repeated(self, subject: Subject) -> None:
        """Before and after the end, by whoever did not hear that it had arrived."""
        trial = subject.trial(Program(seconds=LONG)).submit().until(PlacementState.RUNNING)
        other = trial.seen_by(subject.make_driver())
        trial.cancel()
        trial.cancel()
        if subject.remembers_cancellations:
            other.cancel()
        report = trial.finish()
        trial.cancel()
        assert report.state not in UNFINISHED
        assert essence(trial.poll()) == essence(report), "a repeated cancellation changed how it ended"

    def test_a_cancellation_after_the_end_changes_nothing(self, subject: Subject) -> None:
        """A program that had completed has completed."""
        trial = subject.trial(Program()).submit()
        report = trial.complete()
        trial.cancel()
        assert essence(trial.finish()) == essence(report), "a cancellation after the end changed how it ended"

    def test_a_report_of_the_end_stays(self, subject: Subject) -> None:
        """The same state, the same times, however often it is asked for and by whom."""
        for program in (Program(), Program(seconds=LONG)):
            trial = subject.trial(program).submit()
            is_cancelled = bool(program.seconds)
            if is_cancelled:
                trial.until(PlacementState.RUNNING).cancel()
            report = trial.finish()
            seen = [trial] * 2
            if subject.remembers_cancellations or not is_cancelled:
                seen.append(trial.seen_by(subject.make_driver()))
            for each in seen:
                subject.rest()
                assert essence(each.poll()) == essence(report), "how a placement ended was told in two ways"

    def test_an_engine_that_is_away_is_not_an_end(self, subject: Subject) -> None:
        """Nothing is said about a program then; afterwards, the truth about one that ran on and one that ended."""
        if not subject.can_stop_engine():
            pytest.skip("this engine cannot be stopped")
        driver = subject.make_driver()
        goes_on = subject.trial(Program(seconds=LONG), driver=driver).submit().until_begun()
        ends = subject.trial(Program(seconds=3), driver=driver).submit().until_begun()
        subject.stop_engine()
        try:
            for trial in (goes_on, ends):
                require_unavailable(trial.poll, "a question about a placement")
            require_unavailable(driver.list_placements, "a question about all placements")
        finally:
            subject.start_engine()
        ends.complete()
        goes_on.until(PlacementState.RUNNING)
        for trial in (goes_on, ends):
            require_begun_once(trial)
        with contextlib.suppress(EngineUnavailable):
            goes_on.cancel()
