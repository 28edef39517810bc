"""The pure parts: when a program is ended, and what a runner is told."""

from __future__ import annotations

import pytest

from nodus_control.runner.attempt_files import CANCELLED, EXITED, LOST, MAX_RUNTIME_EXCEEDED
from nodus_control.runner.specification import Specification
from nodus_control.runner.termination import LOOK_AGAIN_SECONDS, Action, Termination


def make_course() -> Termination:
    return Termination(started=100.0, max_runtime_seconds=10.0, grace_seconds=5.0, linger_seconds=1.0)


def test_nothing_is_decided_while_the_program_runs() -> None:
    """The next look is due at the limit."""
    termination = make_course()

    assert termination.decide(103.0, exited=False, alive=True, cancelled=False) is Action.WAIT
    assert termination.reason is None
    assert termination.seconds_until_next_look(103.0) == 7.0


def test_a_limit_is_terminate_then_kill_until_nothing_is_left() -> None:
    """SIGKILL is repeated: what forks meanwhile is met the next time."""
    termination = make_course()
    seen = [
        termination.decide(now, exited=exited, alive=alive, cancelled=False)
        for now, exited, alive in [
            (110.0, False, True),
            (112.0, False, True),
            (115.0, False, True),
            (115.1, True, True),
            (115.2, True, False),
        ]
    ]

    assert seen == [Action.TERMINATE, Action.WAIT, Action.KILL, Action.KILL, Action.FINISH]
    assert termination.reason == MAX_RUNTIME_EXCEEDED
    assert termination.finished(115.2) == 110.0


def test_what_is_left_after_an_exit_has_a_moment() -> None:
    """Then it is ended like everything else, and the job was over when that was done."""
    termination = make_course()
    seen = [
        termination.decide(now, exited=True, alive=alive, cancelled=False)
        for now, alive in [(103.0, True), (103.9, True), (104.0, True), (108.9, True), (109.0, True), (109.1, False)]
    ]

    assert seen == [Action.WAIT, Action.WAIT, Action.TERMINATE, Action.WAIT, Action.KILL, Action.FINISH]
    assert termination.reason == EXITED
    assert termination.finished(109.1) == 109.1


def test_what_ends_by_itself_after_an_exit_costs_nothing() -> None:
    """The job was over when its main process was."""
    termination = make_course()
    seen = [
        termination.decide(now, exited=True, alive=alive, cancelled=False)
        for now, alive in [(103.0, True), (103.5, False)]
    ]

    assert seen == [Action.WAIT, Action.FINISH]
    assert termination.finished(103.5) == 103.0


@pytest.mark.parametrize(
    ("now", "exited", "reason"),
    [(103.0, True, EXITED), (110.0, True, EXITED), (110.0, False, MAX_RUNTIME_EXCEEDED), (103.0, False, CANCELLED)],
)
def test_what_happened_first_is_the_reason(now: float, exited: bool, reason: str) -> None:
    """A cancel does not rewrite an exit or a limit, and nothing that comes later rewrites a cancel."""
    termination = make_course()
    termination.decide(now, exited=exited, alive=True, cancelled=True)
    termination.decide(now + 20, exited=True, alive=True, cancelled=True)

    assert termination.reason == reason


def test_a_cancelled_job_has_run_until_nothing_was_left_but_not_past_its_limit() -> None:
    """Its cost follows from that, and the reservation was made for the limit."""
    early, late = make_course(), make_course()
    early.decide(102.0, exited=False, alive=True, cancelled=True)
    late.decide(109.0, exited=False, alive=True, cancelled=True)

    assert early.finished(104.0) == 104.0
    assert late.finished(113.0) == 110.0
    assert late.seconds_until_next_look(112.0) == LOOK_AGAIN_SECONDS


@pytest.mark.parametrize(("began_to_end", "reason"), [(False, LOST), (True, CANCELLED)])
def test_what_was_given_up_is_killed_at_once(began_to_end: bool, reason: str) -> None:
    """Another one may run by now; an end that is under way already is cut short."""
    termination = make_course()
    if began_to_end:
        assert termination.decide(101.0, exited=False, alive=True, cancelled=True) is Action.TERMINATE
    seen = [
        termination.decide(now, exited=exited, alive=alive, cancelled=False, given_up=True)
        for now, exited, alive in [(102.0, False, True), (102.1, True, True), (102.2, True, False)]
    ]

    assert seen == [Action.KILL, Action.KILL, Action.FINISH]
    assert termination.reason == reason


def test_a_program_that_is_gone_at_once_is_finished_at_once() -> None:
    """No grace is waited for."""
    termination = make_course()

    assert termination.decide(101.0, exited=True, alive=False, cancelled=False) is Action.FINISH


def test_a_specification_cut_anywhere_is_none() -> None:
    """There is no prefix of it that could be taken for the whole."""
    message = Specification(("sh", "-c", "exit"), {"A": "b"}, 1.0, 1.0, 1.0, 10, 0.0, b"key", "/state").to_bytes()

    assert [Specification.from_bytes(message[:length]) for length in range(len(message))] == [None] * len(message)
