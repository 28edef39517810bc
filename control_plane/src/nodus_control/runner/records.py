"""The files of an attempt: their names, how they appear (whole, once, for ever) and what they hold.

Used by the runner and by the driver alike, so that the two cannot disagree. Standard library only.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

if sys.platform != "win32":
    import fcntl

CLAIM = "claim.json"
CANCEL = "cancel"
PROGRAM = "program.json"
OUTPUT = "output.log"
RESULT = "result.json"
WORK_DIRECTORY = "work"
TEMPORARY_DIRECTORY = "tmp"

EXITED = "exited"
MAX_RUNTIME_EXCEEDED = "max_runtime_exceeded"
CANCELLED = "cancelled"
COULD_NOT_START = "could_not_start"
RUNNER_LOST = "runner_lost"
REFUSED = "refused"


class Identity(NamedTuple):
    """A process, told apart from a later one with the same pid. Times and boot are None without /proc."""

    pid: int
    start_time: str | None
    boot_id: str | None


class Claim(NamedTuple):
    """Who holds the attempt: a runner, or (without `runner`) a driver that withdrew it for `withdrawn`."""

    at: float
    runner: Identity | None = None
    withdrawn: str | None = None
    clock_offset: float = 0.0


class Program(NamedTuple):
    """The program's main process; `started_at` is in Unix seconds of the control plane's clock."""

    process: Identity
    started_at: float


class Result(NamedTuple):
    """How an attempt ended. Times are Unix seconds of the control plane's clock.

    `exit_code` is as from `os.waitstatus_to_exitcode`: negative is the signal that ended the program.
    `error` is the operating system's error number if the program could not be started; `detail` is for operators.
    """

    reason: str
    started_at: float | None
    finished_at: float
    exit_code: int | None = None
    error: int | None = None
    detail: str | None = None


def publish(directory: str, name: str, document: Mapping[str, object]) -> bool:
    """Make `name` appear in `directory`, complete and on disk. Return False, and change nothing, if it exists already.

    Raises:
        OSError: the directory is gone, the disk is full, or the file system has no hard links.
    """
    descriptor = _publish(directory, name, document, lock=False)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


def publish_locked(directory: str, name: str, document: Mapping[str, object]) -> int | None:
    """Like `publish`, but the file is locked from before it appears until the returned descriptor is closed."""
    return _publish(directory, name, document, lock=True)


def is_locked(directory: str, name: str) -> bool:
    """Whether the process that published `name` with a lock is alive. Pids, which get reused, play no part."""
    try:
        descriptor = os.open(os.path.join(directory, name), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two processes that look at the same time do not take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def request_cancel(directory: str) -> None:
    """Leave a request to end the attempt where its runner finds it, now or later."""
    os.close(os.open(os.path.join(directory, CANCEL), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def cancel_requested(directory: str) -> bool:
    """Whether an end was requested."""
    return os.path.exists(os.path.join(directory, CANCEL))


def make_private_directory(path: str) -> None:
    """Create `path`, for its owner only, and its parents, on disk; one that exists is left as it is."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent != path:
        make_private_directory(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    _synchronise(parent)


def read_claim(directory: str) -> Claim | None:
    """The claim on the attempt, or None while nobody has it."""
    document = _read(directory, CLAIM)
    if document is None:
        return None
    runner = document.get("runner")
    return Claim(
        at=_number(document["at"]),
        runner=None if runner is None else _identity(runner),
        withdrawn=_optional_text(document.get("withdrawn")),
        clock_offset=_number(document.get("clock_offset", 0.0)),
    )


def claim_document(claim: Claim) -> dict[str, object]:
    """The claim as it is stored."""
    return {**claim._asdict(), "runner": None if claim.runner is None else claim.runner._asdict()}


def read_program(directory: str) -> Program | None:
    """The program's main process, or None while it has certainly not been started."""
    document = _read(directory, PROGRAM)
    if document is None:
        return None
    return Program(process=_identity(document["process"]), started_at=_number(document["started_at"]))


def program_document(program: Program) -> dict[str, object]:
    """The program's main process as it is stored."""
    return {"process": program.process._asdict(), "started_at": program.started_at}


def read_result(directory: str) -> Result | None:
    """How the attempt ended, or None if it has not yet."""
    document = _read(directory, RESULT)
    if document is None:
        return None
    started_at = document["started_at"]
    return Result(
        reason=str(document["reason"]),
        started_at=None if started_at is None else _number(started_at),
        finished_at=_number(document["finished_at"]),
        exit_code=_optional_int(document.get("exit_code")),
        error=_optional_int(document.get("error")),
        detail=_optional_text(document.get("detail")),
    )


def result_document(result: Result) -> dict[str, object]:
    """The result as it is stored."""
    return result._asdict()


def _publish(directory: str, name: str, document: Mapping[str, object], *, lock: bool) -> int | None:
    temporary = os.path.join(directory, f".{name}.{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if lock:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) as file:
            json.dump(document, file)
        os.fsync(descriptor)
        # A link rather than a rename: it fails if the name is taken.
        os.link(temporary, os.path.join(directory, name))
        _synchronise(directory)
    except FileExistsError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    finally:
        os.unlink(temporary)
    return descriptor


def _synchronise(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(directory: str, name: str) -> dict[str, object] | None:
    try:
        with open(os.path.join(directory, name), encoding="utf-8") as file:
            document = json.load(file)
    except FileNotFoundError:
        return None
    if not isinstance(document, dict):
        raise ValueError(f"{name} in {directory} is not a record of an attempt")
    return document


def _identity(value: object) -> Identity:
    if not isinstance(value, dict) or not isinstance(value.get("pid"), int):
        raise ValueError("a process is recorded without its pid")
    return Identity(value["pid"], _optional_text(value.get("start_time")), _optional_text(value.get("boot_id")))


def _number(value: object) -> float:
    if not isinstance(value, (int, float)):
        raise ValueError("a time is recorded as something other than a number")
    return float(value)


def _optional_int(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _optional_text(value: object) -> str | None:
    return value if isinstance(value, str) else None
