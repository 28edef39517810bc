"""What a lost runner means for its job: whether it can be placed again, and for how long it ran."""

from __future__ import annotations

import os
import pathlib
import sys

import pytest

from nodus_control.runner import attempt_files, processes
from nodus_control.runner.attempt_files import Claim, Identity, Program, Result
from nodus_control.suppliers.process.keeping import sign_of_life
from nodus_control.suppliers.process.losses import Watch
from nodus_control.suppliers.process.reports import report_result
from nodus_control.suppliers.protocol import PlacementState, Workload

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")

KEY = b"key"
NAME = ("job", 1)
BEGAN, LAST_SIGN, NOW = 1000.0, 1600.0, 9000.0
BEFORE = Identity(2**22 + 1, "1", "another boot")
GONE = Identity(2**22 + 1, "1", processes.boot_id())
HEARTBEAT = 2.0


def judge(
    directory: pathlib.Path, claim: Claim, *, has_begun: bool = True, watch: Watch | None = None, **more: object
) -> Result:
    """Say how an attempt ended whose runner was last heard of at `LAST_SIGN`."""
    attempt_files.publish(str(directory), attempt_files.CLAIM, attempt_files.claim_document(claim), KEY)
    os.utime(directory / attempt_files.CLAIM, (LAST_SIGN, LAST_SIGN))
    program = Program(claim.runner or GONE, BEGAN) if has_begun else None
    made = watch or Watch(120.0)
    return made.judge(NAME, str(directory), claim, program, None, NOW, **{"was_cancelled": False, **more})  # type: ignore[arg-type]


def state_of(result: Result) -> PlacementState:
    workload = Workload("image", "h100", 1, 600, ("true",), {})
    return report_result(result, workload, has_printed=False).state


@pytest.mark.parametrize("claim", [Claim(900.0, BEFORE), Claim(900.0, GONE, is_contained=True)])
def test_what_surely_ended_is_lost_and_ran_until_its_last_sign(tmp_path: pathlib.Path, claim: Claim) -> None:
    """The machine was started anew, or the program ended with its runner; hours later nobody pays for these."""
    result = judge(tmp_path, claim)

    assert state_of(result) is PlacementState.LOST
    assert (result.started_at, result.finished_at) == (BEGAN, LAST_SIGN + HEARTBEAT)


@pytest.mark.parametrize("claim", [Claim(900.0, BEFORE), Claim(900.0, GONE, is_contained=True)])
def test_what_surely_never_began_was_not_started(tmp_path: pathlib.Path, claim: Claim) -> None:
    """It costs nothing."""
    result = judge(tmp_path, claim, has_begun=False)

    assert (state_of(result), result.started_at) == (PlacementState.NOT_STARTED, None)


def test_what_could_hide_has_failed_and_is_not_placed_again(tmp_path: pathlib.Path) -> None:
    """Yet nobody pays for the time after the last sign of a runner whose program was not there any more."""
    result = judge(tmp_path, Claim(900.0, GONE))

    assert state_of(result) is PlacementState.FAILED
    assert (result.started_at, result.finished_at) == (BEGAN, LAST_SIGN + HEARTBEAT)


def test_what_could_hide_and_left_no_record_of_its_beginning_has_begun(tmp_path: pathlib.Path) -> None:
    """With its claim: it can have removed that record."""
    result = judge(tmp_path, Claim(900.0, GONE), has_begun=False)

    assert (state_of(result), result.started_at) == (PlacementState.FAILED, 900.0)


def test_what_was_seen_to_live_ran_until_then_whatever_its_files_say(tmp_path: pathlib.Path) -> None:
    """A program that is not contained can set their times."""
    watch = Watch(120.0)
    assert watch.is_heard(NAME, str(tmp_path), 8000.0)
    result = judge(tmp_path, Claim(900.0, GONE), watch=watch)

    assert result.finished_at == 8000.0


def test_one_that_was_to_be_cancelled_is(tmp_path: pathlib.Path) -> None:
    """Whoever asked for an end gets one."""
    result = judge(tmp_path, Claim(900.0, BEFORE), was_cancelled=True)

    assert state_of(result) is PlacementState.CANCELLED
    assert result.finished_at == LAST_SIGN + HEARTBEAT


def test_a_runner_is_heard_of_for_as_long_as_it_gives_signs(tmp_path: pathlib.Path) -> None:
    """By the driver's own clock, from the first look on."""
    clock = [0.0]
    watch = Watch(120.0, clock=lambda: clock[0])
    claim = tmp_path / attempt_files.CLAIM
    claim.touch()
    heard = []
    for now in (0.0, 30.0, 60.0, 90.0, 119.0, 149.0, 179.0, 209.0, 238.0, 239.0):
        clock[0] = now
        sign = 5.0 if now < 119.0 else 6.0
        os.utime(claim, (sign, sign))
        heard.append(watch.is_heard(NAME, str(tmp_path), now))

    assert heard == [True] * 9 + [False]


def test_a_runner_is_not_silent_while_nobody_looks(tmp_path: pathlib.Path) -> None:
    """Whoever looks stood still, perhaps with the runner; that has time to be heard of when both go on."""
    clock = [0.0]
    watch = Watch(120.0, clock=lambda: clock[0])
    claim = tmp_path / attempt_files.CLAIM
    claim.touch()
    heard = []
    for now, sign in ((0.0, 5.0), (1.0, 5.0), (1000.0, 5.0), (1001.0, 6.0), (5000.0, 6.0), (5001.0, 7.0)):
        clock[0] = now
        os.utime(claim, (sign, sign))
        heard.append(watch.is_heard(NAME, str(tmp_path), now))

    assert heard == [True] * 6


def test_whoever_stands_still_while_it_looks_takes_nobody_for_silent(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has read is as old as its own sleep."""
    clock = [0.0]
    watch = Watch(120.0, clock=lambda: clock[0])

    def read_and_sleep(directory: str) -> str:
        sign = sign_of_life(directory)
        clock[0] += 1000.0
        return sign

    (tmp_path / attempt_files.CLAIM).touch()
    assert watch.is_heard(NAME, str(tmp_path), 0.0)
    monkeypatch.setattr("nodus_control.suppliers.process.losses.sign_of_life", read_and_sleep)

    assert watch.is_heard(NAME, str(tmp_path), 1000.0)


def test_a_clock_that_is_set_back_silences_no_runner(tmp_path: pathlib.Path) -> None:
    """What its program printed before stays the newer file of the two, for as long as the program prints nothing."""
    clock = [0.0]
    watch = Watch(120.0, clock=lambda: clock[0])
    for name, at in ((attempt_files.CLAIM, 9000.0), (attempt_files.OUTPUT, 9000.0)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (at, at))
    assert watch.is_heard(NAME, str(tmp_path), 0.0)
    for seconds in (100.0, 200.0, 300.0):
        clock[0] = seconds
        os.utime(tmp_path / attempt_files.CLAIM, (5000.0 + seconds, 5000.0 + seconds))

        assert watch.is_heard(NAME, str(tmp_path), seconds)


@pytest.mark.parametrize(
    ("is_contained", "state", "code"),
    [(True, PlacementState.LOST, "lost"), (False, PlacementState.FAILED, "runner_lost")],
)
def test_a_program_that_its_guard_ended_is_lost_unless_it_can_have_brought_that_about(
    is_contained: bool, state: PlacementState, code: str
) -> None:
    """What is lost is not charged."""
    workload = Workload("image", "h100", 1, 600, ("true",), {})
    result = Result(attempt_files.SILENT, BEGAN, LAST_SIGN)
    report = report_result(result, workload, has_printed=True, is_contained=is_contained)

    assert (report.state, report.error_code, report.finished_at) == (state, code, LAST_SIGN)
