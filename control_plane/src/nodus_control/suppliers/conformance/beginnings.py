"""Checks: a program begins once, whoever submits it, how often, and whatever becomes of them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from ..protocol import CapacityRefused, EngineUnavailable, PlacementState, SubmissionRefused
from .programs import Program
from .subject import Subject, Trial, essence

AT_ONCE = 8
_INSTANCES = 4
_NEVER_RAN = (PlacementState.NOT_STARTED, PlacementState.LOST, PlacementState.FAILED)


def needs_programs(subject: Subject) -> None:
    """Skip what is about programs where none is run."""
    if not subject.runs_programs:
        pytest.skip("nothing really runs on this engine")


def require_begun_once(trial: Trial) -> None:
    """Check that a program began, and not twice."""
    times = trial.times_begun()
    assert times == 1, f"the program of one placement began {times} times"


def require_unavailable(call: Callable[[], object], what: str) -> None:
    """Check that the driver says that it cannot ask its engine, which is away."""
    try:
        call()
    except EngineUnavailable:
        return
    raise AssertionError(f"{what} was answered while the engine was away: it has to be EngineUnavailable")


def let_one_pass(subject: Subject) -> None:
    """Run another program to its end: whatever was to begin before it has begun by then."""
    subject.trial(Program()).submit().complete()


class BeginningChecks:
    """Submission, adoption, and claims that are over."""

    def test_a_repeated_submission_begins_nothing(self, subject: Subject) -> None:
        """A crash repeats calls: the same placement, submitted again, is the one that is there."""
        trial = subject.trial(Program(seconds=1)).submit().submit()
        trial.seen_by(subject.make_driver(), from_the_beginning=True).submit()
        trial.complete()
        if subject.runs_programs:
            require_begun_once(trial)

    def test_eight_submissions_at_once_begin_one_program(self, subject: Subject) -> None:
        """From several workers at the same moment."""
        needs_programs(subject)
        trial = subject.trial(Program(seconds=1))
        trial.was_submitted = True
        drivers = [trial.driver, *(subject.make_driver() for _ in range(_INSTANCES - 1))]
        together = threading.Barrier(AT_ONCE)
        failures: list[BaseException] = []

        def submit(number: int) -> None:
            each = trial.seen_by(drivers[number % _INSTANCES], from_the_beginning=True)
            together.wait()
            try:
                # An engine may be too busy with the others to answer.
                with contextlib.suppress(EngineUnavailable):
                    each.submit()
            except BaseException as exc:
                failures.append(exc)

        threads = [threading.Thread(target=submit, args=(number,)) for number in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, f"a submission beside others failed: {failures[0]!r}"
        trial.submit().complete()
        require_begun_once(trial)

    def test_a_submission_after_the_end_begins_nothing(self, subject: Subject) -> None:
        """Of a worker that was slow, or of one that knows nothing of the first; also once it is forgotten."""
        trial = subject.trial(Program()).submit()
        report = trial.complete()
        again = trial.seen_by(subject.make_driver(), from_the_beginning=True)
        for each in (trial, again):
            with contextlib.suppress(CapacityRefused, SubmissionRefused):
                each.submit()
            assert essence(each.finish()) == essence(report), "a submission after the end changed how it ended"
        trial.driver.forget(trial.placement)
        again.submit_in_vain()
        if subject.runs_programs:
            let_one_pass(subject)
            require_begun_once(trial)

    def test_a_program_outlives_the_driver_that_began_it(self, subject: Subject) -> None:
        """Another instance, which knows only the placement's name, takes it over, and tells how it ended."""
        needs_programs(subject)
        trial = subject.trial(Program(prints=b"begun", seconds=2, exit_code=0)).submit().until_begun()
        taken_over = trial.seen_by(subject.make_driver(), from_the_beginning=True).submit()
        assert taken_over.complete().started_at is not None, "a program that was taken over has no beginning"
        assert taken_over.output() == b"begun", "what a program printed is lost when its driver is"
        require_begun_once(trial)

    def test_whoever_lost_the_claim_begins_nothing(self, subject: Subject) -> None:
        """`holds` says no: another worker decides about this placement by now, which may begin it."""
        needs_programs(subject)
        trial = subject.trial(Program(), driver=subject.make_driver())
        trial.submit_in_vain()
        let_one_pass(subject)
        assert trial.times_begun() == 0, "a program began for a worker whose claim was over"

    def test_a_claim_that_is_lost_meanwhile_begins_nothing(self, subject: Subject) -> None:
        """The worker was stopped in the middle of its submission, and another has ended and forgotten the placement."""
        needs_programs(subject)
        trial = subject.trial(Program())
        other = trial.seen_by(subject.make_driver(), from_the_beginning=True)

        def holds() -> bool:
            other.cancel()
            with contextlib.suppress(EngineUnavailable):
                other.driver.forget(other.placement)
            return False

        with contextlib.suppress(EngineUnavailable, CapacityRefused, SubmissionRefused):
            trial.driver.submit(trial.placement, trial.workload, subject.now(), holds)
        let_one_pass(subject)
        assert trial.times_begun() == 0, "a program began for a worker that lost its claim while it submitted"

    def test_two_submissions_one_within_the_other_begin_one_program(self, subject: Subject) -> None:
        """The second comes at the latest moment: when the first asks whether it still holds its claim."""
        needs_programs(subject)
        trial = subject.trial(Program(seconds=1))
        other = trial.seen_by(subject.make_driver(), from_the_beginning=True)

        def holds() -> bool:
            with contextlib.suppress(EngineUnavailable):
                other.submit()
            return True

        trial.submit(holds).complete()
        require_begun_once(trial)

    def test_a_submission_while_the_engine_is_away_begins_one_program_or_none(self, subject: Subject) -> None:
        """`EngineUnavailable`, however often; repeated once the engine answers again, it runs."""
        if not subject.can_stop_engine():
            pytest.skip("this engine cannot be stopped")
        trial = subject.trial(Program())
        subject.stop_engine()
        try:
            for _ in range(2):
                require_unavailable(trial.submit, "a submission")
        finally:
            subject.start_engine()
        trial.submit().complete()
        require_begun_once(trial)

    def test_a_gpu_that_is_not_there_is_not_gone_without(self, subject: Subject) -> None:
        """A program that asked for GPUs never runs, and is never billed, where the engine does not give them."""
        if not subject.missing_gpus:
            pytest.skip("the indices of this engine's GPUs are not chosen by the control plane")
        placement = replace(subject.placement(), gpu_indices=subject.missing_gpus)
        trial = subject.trial(Program(), placement=placement)
        try:
            trial.submit()
        except (CapacityRefused, SubmissionRefused):
            let_one_pass(subject)
        else:
            report = trial.finish()
            assert report.state in _NEVER_RAN, f"a program without the GPU that it asked for is {report.state.value}"
            assert report.started_at is None, "a program is billed that ran without the GPU that it asked for"
        assert trial.times_begun() == 0, "a program ran without the GPU that it asked for"
