"""What an engine says of a container, and what that means for its job. Pure."""

from __future__ import annotations

import enum
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ..protocol import PlacementState, Report, Workload

CANCELLED = "cancelled"
MAX_RUNTIME = "max_runtime"
ENGINE_RESTARTED = "engine_restarted"
NOT_STARTED = "not_started"
START_UNKNOWN = "start_unknown"

OVER = frozenset({"exited", "stopped", "dead", "removing"})
"""The engine's words for a container that never runs again: of this project's none is started twice."""

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")
_WAITING = frozenset({"created", "configured", "initialized"})
_KILLED = 128 + signal.SIGKILL
_STOPPED = frozenset({128 + signal.SIGTERM, _KILLED})
_UNKNOWN_EXIT = 255
_RESTARTED = "the supplier's engine, or its host, was restarted while the program ran"
_NEVER_STARTED = "the program was never started here"
_START_UNKNOWN = (
    "the supplier's engine, or a part of it, was restarted as the program was to be started, or has forgotten that: "
    "whether the program ran is not known"
)
_CUT_OFF = re.compile(r": unavailable$|transport is closing|ttrpc: closed|context canceled|context deadline exceeded")


class Stage(enum.Enum):
    """How far a container is. The program of one that is `REFUSED` was to be started, and never was.

    One that is `RESET` ran when the engine's host was restarted, and Podman says of it what it says of a new one.
    """

    CREATED = "created"
    REFUSED = "refused"
    RUNNING = "running"
    ENDED = "ended"
    RESET = "reset"


class Witness(enum.Enum):
    """What an engine remembers of the end of a container, or of having made it, since it was itself started.

    `FORGOT` if that may have been among what it no longer remembers.
    """

    SAW_IT = "saw_it"
    SAW_NOTHING = "saw_nothing"
    FORGOT = "forgot"


@dataclass(frozen=True, slots=True)
class Container:
    """A container, as an engine describes it. Times are Unix seconds of the engine's clock.

    Attributes:
        is_connected: whether it is still connected to a network, as one is not whose end the engine has seen.
        gpus: the GPUs that are attached to it: indices as text, or paths of devices.
        error: what the engine said when it could not start it, which names things of the host.
        has_process: whether there is, or was, a process for its program. Docker says so only of what it saw begin.
    """

    id: str
    name: str
    stage: Stage
    created_at: float
    started_at: float | None
    finished_at: float | None
    exit_code: int
    ran_out_of_memory: bool
    error: str
    is_connected: bool
    gpus: frozenset[str]
    labels: Mapping[str, str]
    has_process: bool = False


def read_container(document: Mapping[str, Any]) -> Container:
    """Read the answer to `GET /containers/{id}/json`, of Docker or of Podman.

    Raises:
        ValueError: it is not such an answer.
    """
    try:
        state, config, host = document["State"], document["Config"], document["HostConfig"]
        created_at = read_time(document["Created"])
        started_at = read_time(state["StartedAt"])
        error = str(state.get("Error") or "")
        return Container(
            id=document["Id"],
            name=document["Name"].removeprefix("/"),
            stage=_stage(state["Status"], started_at, error),
            created_at=0.0 if created_at is None else created_at,
            started_at=started_at,
            finished_at=read_time(state["FinishedAt"]),
            exit_code=int(state["ExitCode"]),
            ran_out_of_memory=bool(state.get("OOMKilled")),
            error=error,
            is_connected=_is_connected(document.get("NetworkSettings") or {}),
            gpus=_gpus(host),
            labels=dict(config.get("Labels") or {}),
            has_process=bool(state.get("Pid")),
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"not a description of a container: {exc!r}") from exc


def may_run(status: str) -> bool:
    """Say whether a program may be running in a container of which an engine gives this word."""
    return status not in OVER and status not in _WAITING


def read_time(written: str) -> float | None:
    """Return a time of RFC 3339, with any number of digits; None for the year 1, which means never.

    Raises:
        ValueError: it is no time.
    """
    found = _TIME.fullmatch(written)
    if found is None:
        raise ValueError(f"not a time: {written!r}")
    year, month, day, hour, minute, second = (int(found[group]) for group in range(1, 7))
    if year == 1:
        return None
    offset = 0
    if found[8] != "Z":
        sign = -1 if found[8][0] == "-" else 1
        offset = sign * (int(found[8][1:3]) * 3600 + int(found[8][4:6]) * 60)
    whole = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc).timestamp() - offset
    return whole + float(found[7] or 0)


def lacks_gpus(container: Container, gpus: Sequence[int | str]) -> bool:
    """Say whether one of the GPUs is not attached: Podman ignores a request for devices that it does not know."""
    return not {str(gpu) for gpu in gpus} <= container.gpus


def needs_witness(container: Container, ended_because: str | None) -> bool:
    """Say whether it depends on what the engine remembers how a container has ended.

    Of a program that ran when it was cut off, Docker says that it exited with 255, as programs do by themselves, and at
    the time at which it was started again itself. And an engine that is stopped ends all programs by a signal.
    """
    return container.exit_code == _UNKNOWN_EXIT or (ended_because is None and container.exit_code in _STOPPED)


def report_end(
    container: Container,
    workload: Workload,
    ended_because: str | None,
    *,
    has_output: bool,
    witness: Witness = Witness.SAW_IT,
) -> Report:
    """Say how a container that has ended did so.

    Args:
        container: the container, whose times are the engine's.
        workload: what ran.
        ended_because: `CANCELLED` or `MAX_RUNTIME` where its end was asked for; None where it was not.
        has_output: whether it printed anything.
        witness: what the engine remembers of it, where `needs_witness` says so.
    """
    started_at = container.started_at
    if started_at is None:
        return report_refused(container, None)
    was_cut_off = container.exit_code == _UNKNOWN_EXIT and witness is not Witness.SAW_IT and container.is_connected
    if container.stage is Stage.RESET or was_cut_off:
        # When is not known either: what is on record as the last proof of life stands.
        return _lost(container, None)
    finished_at = max(started_at, container.finished_at or started_at)

    def report(state: PlacementState, code: str | None = None, message: str | None = None) -> Report:
        if message is not None:
            message += "; what it printed is in the job's logs" if has_output else "; it printed nothing"
        return Report(state, started_at, finished_at, code, message, engine_ref=container.id)

    if ended_because == CANCELLED:
        return report(PlacementState.CANCELLED)
    if ended_because == MAX_RUNTIME and finished_at - started_at >= workload.max_runtime_seconds:
        limit = f"its limit of {workload.max_runtime_seconds} s (max_runtime_seconds)"
        return report(PlacementState.FAILED, "max_runtime_exceeded", f"the program was ended at {limit}")
    if container.exit_code == 0:
        return report(PlacementState.COMPLETED)
    is_ended = needs_witness(container, ended_because) and container.exit_code in _STOPPED
    if is_ended and witness is Witness.SAW_NOTHING and not container.ran_out_of_memory:
        return _lost(container, finished_at)
    if container.ran_out_of_memory:
        return report(PlacementState.FAILED, "out_of_memory", "the program used more memory than its container may")
    return report(PlacementState.FAILED, "nonzero_exit", _exit(container.exit_code))


def report_refused(container: Container | None, code: str | None, message: str | None = None) -> Report:
    """Say that the engine could not start a container, and never will: its program did not run."""
    return Report(
        PlacementState.NOT_STARTED,
        error_code=code or "could_not_start",
        error_message=message or "the supplier's engine could not start the container",
        engine_ref=None if container is None else container.id,
    )


def report_created(container: Container, witness: Witness) -> Report:
    """Say of a container that somebody was to start, and that was removed before its program was seen to begin.

    An engine writes down that a program has begun when it has. One that was killed in between calls the container a new
    one for ever, while the program runs on, or has ended. Of Docker, only one that has run ever since can say that it
    never began; Podman tells of the process, and ends it as it removes the container.

    Args:
        container: the container, as it was before it was removed.
        witness: what Docker remembered afterwards of having made it; `SAW_IT` with Podman.
    """
    if witness is Witness.SAW_IT and not container.has_process:
        return report_refused(container, NOT_STARTED, _NEVER_STARTED)
    return report_start_unknown(container)


def report_start_unknown(container: Container) -> Report:
    """Say that a program may have run, or not, and was never seen to."""
    return Report(PlacementState.LOST, error_code=START_UNKNOWN, error_message=_START_UNKNOWN, engine_ref=container.id)


def was_cut_off(said: str) -> bool:
    """Say whether an engine that could not start a container says that it did not hear from a part of it.

    As Docker does of containerd, which may have started the program, unless it could not be reached at all.
    """
    return _CUT_OFF.search(said.strip()) is not None and "while dialing" not in said.lower()


def report_withdrawn() -> Report:
    """Say that nobody was to start the program any more before anybody was."""
    return report_refused(None, NOT_STARTED, _NEVER_STARTED)


def _lost(container: Container, finished_at: float | None) -> Report:
    return Report(
        PlacementState.LOST, container.started_at, finished_at, ENGINE_RESTARTED, _RESTARTED, engine_ref=container.id
    )


def _exit(code: int) -> str:
    if code == _KILLED:
        return "the program was ended by signal 9 (SIGKILL), perhaps because it used more memory than it may"
    if code in (126, 127):
        return f"the program exited with code {code}, as where a command is not found, or cannot be run, in the image"
    if 128 < code < 128 + 65:
        try:
            return f"the program was ended by signal {code - 128} ({signal.Signals(code - 128).name})"
        except ValueError:
            pass
    return f"the program exited with code {code}"


def _stage(status: str, started_at: float | None, error: str) -> Stage:
    if status in OVER:
        return Stage.REFUSED if started_at is None else Stage.ENDED
    if status in _WAITING:
        # Where a start fails, Docker leaves the container as it was, and says why.
        if error:
            return Stage.REFUSED
        return Stage.CREATED if started_at is None else Stage.RESET
    return Stage.RUNNING


def _is_connected(network_settings: Mapping[str, Any]) -> bool:
    return any(each.get("EndpointID") for each in (network_settings.get("Networks") or {}).values())


def _gpus(host: Mapping[str, Any]) -> frozenset[str]:
    found: set[str] = set()
    for request in host.get("DeviceRequests") or ():
        found.update(request.get("DeviceIDs") or ())
    for device in host.get("Devices") or ():
        found.add(device["PathOnHost"])
    return frozenset(found)
