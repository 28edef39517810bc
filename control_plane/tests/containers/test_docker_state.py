"""What an engine says of a container becomes a report, whichever engine it is."""

from __future__ import annotations

from typing import Any

import pytest

from nodus_control.suppliers.docker.state import (
    CANCELLED,
    MAX_RUNTIME,
    OVER,
    Stage,
    Witness,
    lacks_gpus,
    may_run,
    needs_witness,
    read_container,
    read_time,
    report_end,
    was_cut_off,
)
from nodus_control.suppliers.protocol import PlacementState, Workload

NEVER = "0001-01-01T00:00:00Z"
BEGAN, ENDED = "2026-11-30T12:00:00.5Z", "2026-11-30T12:00:10.75Z"
WORKLOAD = Workload("image", "h100", 1, 10, None, {})


def inspected(
    status: str = "exited",
    *,
    began: str = BEGAN,
    ended: str = ENDED,
    host: dict[str, Any] | None = None,
    is_connected: bool = False,
    **state: Any,
) -> dict[str, Any]:
    """An engine's answer."""
    return {
        "Id": "abc",
        "Name": "/nodus-x-go",
        "Created": "2026-11-30T11:59:59.123456789Z",
        "State": {"Status": status, "StartedAt": began, "FinishedAt": ended, "ExitCode": 0, "Error": "", **state},
        "Config": {"Labels": None},
        "HostConfig": host or {},
        "NetworkSettings": {"Networks": {"none": {"EndpointID": "291615" if is_connected else ""}}},
    }


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (NEVER, None),
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:01.5Z", 1.5),
        ("1970-01-01T02:00:01.123456789+02:00", 1.123456789),
        ("1970-01-01T00:00:00-00:30", 1800.0),
    ],
)
def test_times_are_read_to_the_digit(written: str, expected: float | None) -> None:
    """In every zone; the year 1 means never."""
    assert read_time(written) == expected


@pytest.mark.parametrize("written", ["", "2026-11-30", "2026-11-30T12:00:00"])
def test_what_is_no_time_is_refused(written: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="not a time"):
        read_time(written)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (inspected("created", began=NEVER, ended=NEVER), Stage.CREATED),
        (inspected("configured", began=NEVER, ended=NEVER), Stage.CREATED),
        (inspected("created", began=NEVER, ended=NEVER, Error="no device driver", ExitCode=128), Stage.REFUSED),
        (inspected("exited", began=NEVER), Stage.REFUSED),
        (inspected("running", ended=NEVER), Stage.RUNNING),
        (inspected("paused", ended=NEVER), Stage.RUNNING),
        (inspected("exited"), Stage.ENDED),
        (inspected("stopped"), Stage.ENDED),
        (inspected("created", ended=NEVER), Stage.RESET),
    ],
)
def test_each_status_of_each_engine_is_a_stage(document: dict[str, Any], expected: Stage) -> None:
    """Docker leaves a container that it could not start as it was, with an error; Podman one that ran as if new."""
    assert read_container(document).stage is expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("transport is closing: unavailable", True),
        ("error reading from server: EOF: unavailable", True),
        ("ttrpc: closed: unknown", True),
        ('connection error: desc = "transport: Error while dialing: dial unix /c.sock": unavailable', False),
        ("OCI runtime create failed: fork: resource temporarily unavailable: unknown", False),
        ("OCI runtime create failed: waiting for init preliminary setup: EOF: unknown", False),
        ("could not select device driver", False),
    ],
)
def test_an_engine_that_did_not_hear_from_what_starts_programs_knows_nothing(said: str, expected: bool) -> None:
    """Unless it could not ask at all."""
    assert was_cut_off(said) is expected


def test_what_is_no_description_is_refused() -> None:
    """An engine that lies is one that cannot be asked."""
    for spoiled in ({}, {**inspected(), "State": None}, {**inspected(), "Created": "soon"}):
        with pytest.raises(ValueError, match="not a"):
            read_container(spoiled)


@pytest.mark.parametrize(
    ("state", "because", "expected", "code"),
    [
        ({}, None, PlacementState.COMPLETED, None),
        ({"ExitCode": 3}, None, PlacementState.FAILED, "nonzero_exit"),
        ({"ExitCode": 137, "OOMKilled": True}, None, PlacementState.FAILED, "out_of_memory"),
        ({"ExitCode": 137}, None, PlacementState.FAILED, "nonzero_exit"),
        ({"ExitCode": 143}, CANCELLED, PlacementState.CANCELLED, None),
        ({"ExitCode": 0}, CANCELLED, PlacementState.CANCELLED, None),
        ({"ExitCode": 0}, MAX_RUNTIME, PlacementState.FAILED, "max_runtime_exceeded"),
    ],
)
def test_how_it_ended_decides_what_is_reported(
    state: dict[str, Any], because: str | None, expected: PlacementState, code: str | None
) -> None:
    """With the engine's times."""
    report = report_end(read_container(inspected(**state)), WORKLOAD, because, has_output=True)

    assert (report.state, report.error_code) == (expected, code)
    assert report.started_at is not None
    assert report.finished_at is not None
    assert report.finished_at - report.started_at == 10.25


def test_a_program_that_ended_before_its_limit_ended_by_itself() -> None:
    """Even if it was told to end at the same time."""
    container = read_container(inspected(ended="2026-11-30T12:00:10.4Z"))

    assert report_end(container, WORKLOAD, MAX_RUNTIME, has_output=True).state is PlacementState.COMPLETED


def test_a_program_never_ends_before_it_began() -> None:
    """Docker notes the end of a short one before its beginning."""
    report = report_end(read_container(inspected(ended="2026-11-30T12:00:00.4Z")), WORKLOAD, None, has_output=False)

    assert report.finished_at == report.started_at


@pytest.mark.parametrize(
    ("host", "lacks"),
    [
        ({}, True),
        ({"DeviceRequests": None, "Devices": None}, True),
        ({"DeviceRequests": [{"DeviceIDs": ["1"]}]}, True),
        ({"DeviceRequests": [{"DeviceIDs": ["1", "2"]}]}, False),
        ({"Devices": [{"PathOnHost": "1"}, {"PathOnHost": "2"}]}, False),
    ],
)
def test_a_gpu_that_is_not_attached_is_noticed(host: dict[str, Any], *, lacks: bool) -> None:
    """Whatever the engine answered when it was asked for."""
    assert lacks_gpus(read_container(inspected(host=host)), [1, 2]) is lacks


@pytest.mark.parametrize("because", [None, CANCELLED, MAX_RUNTIME])
@pytest.mark.parametrize("witness", [Witness.SAW_NOTHING, Witness.FORGOT])
def test_a_program_that_was_cut_off_is_lost_and_its_end_is_not_known(because: str | None, witness: Witness) -> None:
    """Docker writes down 255, and the time at which it was started again itself."""
    container = read_container(inspected(ExitCode=255, is_connected=True))
    report = report_end(container, WORKLOAD, because, has_output=True, witness=witness)

    assert needs_witness(container, because)
    assert (report.state, report.error_code) == (PlacementState.LOST, "engine_restarted")
    assert (report.started_at, report.finished_at) == (container.started_at, None)


@pytest.mark.parametrize(
    ("witness", "is_connected"),
    [(Witness.SAW_IT, True), (Witness.SAW_IT, False), (Witness.SAW_NOTHING, False), (Witness.FORGOT, False)],
)
def test_a_program_that_exits_with_255_by_itself_has_failed(witness: Witness, *, is_connected: bool) -> None:
    """The engine saw it end, or took it off its network then, whatever it remembers."""
    container = read_container(inspected(ExitCode=255, is_connected=is_connected))
    report = report_end(container, WORKLOAD, None, has_output=True, witness=witness)

    assert (report.state, report.error_code) == (PlacementState.FAILED, "nonzero_exit")
    assert report.started_at is not None
    assert report.finished_at == report.started_at + 10.25


@pytest.mark.parametrize("code", [137, 143])
@pytest.mark.parametrize(
    ("witness", "because", "state", "expected"),
    [
        (Witness.SAW_NOTHING, None, {}, PlacementState.LOST),
        (Witness.SAW_IT, None, {}, PlacementState.FAILED),
        (Witness.FORGOT, None, {}, PlacementState.FAILED),
        (Witness.SAW_NOTHING, CANCELLED, {}, PlacementState.CANCELLED),
        (Witness.SAW_NOTHING, None, {"OOMKilled": True}, PlacementState.FAILED),
    ],
)
def test_a_program_that_was_ended_with_its_engine_is_lost(
    code: int, witness: Witness, because: str | None, state: dict[str, Any], expected: PlacementState
) -> None:
    """One that is stopped ends all programs before, by a signal that nobody asked for: the times are true."""
    container = read_container(inspected(ExitCode=code, **state))
    report = report_end(container, WORKLOAD, because, has_output=True, witness=witness)

    assert report.state is expected
    assert report.started_at is not None
    assert report.finished_at == report.started_at + 10.25


def test_a_program_that_ran_when_podmans_host_was_restarted_is_lost() -> None:
    """Podman says of its container what it says of a new one, but for when it began."""
    report = report_end(read_container(inspected("created", ended=NEVER)), WORKLOAD, None, has_output=False)

    assert (report.state, report.error_code, report.finished_at) == (PlacementState.LOST, "engine_restarted", None)


@pytest.mark.parametrize(
    ("status", "may"),
    [
        *[(status, True) for status in ("running", "paused", "restarting", "stopping", "a word of tomorrow")],
        *[(status, False) for status in ("created", "configured", "initialized", *OVER)],
    ],
)
def test_what_may_run_is_known_by_what_does_not(status: str, may: bool) -> None:
    """So that a word that nobody knows yet leaves no program running unseen."""
    assert may_run(status) is may
