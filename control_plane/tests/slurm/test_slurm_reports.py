"""What is on record becomes a report that says no more than is known."""

from __future__ import annotations

import pytest

from nodus_control.suppliers.protocol import PlacementState, Workload
from nodus_control.suppliers.slurm.queue import QueuedJob
from nodus_control.suppliers.slurm.records import Ended, Records
from nodus_control.suppliers.slurm.reports import report_end, report_queued, report_unfinished, report_withdrawn

WORKLOAD = Workload("image", "h100_80gb", 1, 60, ("true",), {})


@pytest.mark.parametrize(
    ("reason", "status", "state", "code"),
    [
        ("exited", 0, PlacementState.COMPLETED, None),
        ("exited", 3, PlacementState.FAILED, "nonzero_exit"),
        ("exited", 124, PlacementState.FAILED, "nonzero_exit"),
        ("limit", 124, PlacementState.FAILED, "max_runtime_exceeded"),
        ("cancelled", 0, PlacementState.CANCELLED, None),
        ("signalled", 0, PlacementState.COMPLETED, None),
        ("signalled", 143, PlacementState.LOST, "lost"),
        ("silent", 143, PlacementState.LOST, "lost"),
        ("silent", 0, PlacementState.LOST, "lost"),
        ("lost", 0, PlacementState.LOST, "lost"),
        ("out_of_memory", 0, PlacementState.FAILED, "out_of_memory"),
        ("time_limit", 0, PlacementState.FAILED, "time_limit"),
        ("a word of somebody's", 0, PlacementState.LOST, "lost"),
    ],
)
def test_how_an_attempt_ended(reason: str, status: int, state: PlacementState, code: str | None) -> None:
    """Its length is what its script measured."""
    report = report_end(Ended(reason, status, 100.0, 2.5), WORKLOAD)

    assert (report.state, report.error_code) == (state, code)
    assert (report.started_at, report.finished_at) == (100.0, 102.5)


@pytest.mark.parametrize("reason", ["not_started", "no_gpus", "no_secret"])
def test_what_never_ran_costs_nothing(reason: str) -> None:
    """It is certain that it will not."""
    report = report_end(Ended(reason, 0, 100.0, 2.5), WORKLOAD)

    assert (report.state, report.started_at, report.error_code) == (PlacementState.NOT_STARTED, None, reason)


@pytest.mark.parametrize(("at_least", "expected"), [(0.0, 2.5), (2.0, 2.5), (60.0, 60.0)])
def test_slurms_own_time_is_billed_at_least(at_least: float, expected: float) -> None:
    """A job could have written down its end while it went on."""
    report = report_end(Ended("exited", 0, 100.0, 2.5), WORKLOAD, at_least)

    assert report.finished_at == 100.0 + expected


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (137, "the program was ended by signal 9 (SIGKILL)"),
        (3, "the program exited with code 3"),
        (127, "the program exited with code 127, as does a command that is not found"),
        (128 + 99, "the program exited with code 227"),
    ],
)
def test_a_status_is_explained(status: int, message: str) -> None:
    """As far as a shell's number says."""
    assert report_end(Ended("exited", status, 1.0, 1.0), WORKLOAD).error_message == message


def test_the_reason_of_a_wait_is_shown_where_it_is_a_word() -> None:
    """A sentence may name nodes or users."""
    shown = report_queued(QueuedJob("7", "name", "PENDING", "Resources"), 10.0)
    hidden = report_queued(QueuedJob("7", "name", "PENDING", "ReqNodeNotAvail, UnavailableNodes:node7"), 10.0)

    assert shown.phase_detail == "waiting in the cluster's queue (Resources)"
    assert (hidden.phase, hidden.phase_detail) == ("waiting_in_engine", "waiting in the cluster's queue")
    assert (shown.state, shown.engine_ref) == (PlacementState.PROVISIONING, "7")


def test_a_job_whose_script_has_not_begun_does_not_wait_any_more() -> None:
    """And does not run yet."""
    report = report_queued(QueuedJob("7", "name", "RUNNING"), 10.0)

    assert (report.state, report.phase) == (PlacementState.PROVISIONING, None)


def test_long_programs_are_polled_less_often() -> None:
    """And none before it began."""
    pauses = [(report_unfinished(Records(True, started_at=at), 1000.0).next_poll_at or 0) - 1000.0 for at in (999, 0)]

    assert pauses == [0.5, 5.0]
    assert report_unfinished(Records(True), 1000.0).state is PlacementState.PROVISIONING


def test_what_was_taken_in_time_never_started() -> None:
    """Since when is known."""
    report = report_withdrawn(Records(withdrawn_at=5.0))

    assert (report.state, report.finished_at) == (PlacementState.NOT_STARTED, 5.0)
