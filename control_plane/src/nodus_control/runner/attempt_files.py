"""The files of an attempt: their names, how they appear (whole, once, for ever) and what they hold.

Where the program of a job can reach these files, it can write what it likes into them. So every record carries an HMAC
under a key of its attempt, which the runner gets with its specification and no program ever sees: what was not written
by a runner or a driver is `Forged`, and says nothing about the job.

Used by the runner and by the driver alike, so that the two cannot disagree. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import json
import os
import shutil
import stat
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
NOT_CONTAINED = "not_contained"
SILENT = "silent"
LOST = "lost"


_SAFELY = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
_LARGEST_RECORD_BYTES = 65_536
_MAC = "mac"
# What an open fails with where a program has put something else in a record's place, or taken its rights away.
_IN_THE_WAY = frozenset(
    {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ENXIO, errno.EMLINK}
)


class Forged(Exception):
    """A record was not written by a runner or a driver, or has been changed since."""


class Identity(NamedTuple):
    """A process, told apart from a later one with the same pid. Times and boot are None without /proc."""

    pid: int
    start_time: str | None
    boot_id: str | None


class Claim(NamedTuple):
    """Who holds the attempt: a runner, or (without `runner`) a driver that withdrew it for `withdrawn`.

    `is_contained` says that the program cannot reach these files, and that all of it dies with its runner.
    """

    at: float
    runner: Identity | None = None
    withdrawn: str | None = None
    clock_offset: float = 0.0
    is_contained: bool = False


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


def attempt_key(secret: bytes, job_id: str, attempt: int) -> bytes:
    """The key under which the records of one attempt are authenticated."""
    return hmac.digest(secret, f"{job_id}/{attempt}".encode(), "sha256")


def publish(directory: str, name: str, document: Mapping[str, object], key: bytes) -> bool:
    """Make `name` appear in `directory`, complete and on disk. Return False, and change nothing, if it exists already.

    Raises:
        OSError: the directory is gone, the disk is full, or the file system has no hard links.
    """
    descriptor = _publish(directory, name, document, key, lock=False)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


def publish_locked(directory: str, name: str, document: Mapping[str, object], key: bytes) -> int | None:
    """Like `publish`, but the file is locked from before it appears until the returned descriptor is closed."""
    return _publish(directory, name, document, key, lock=True)


def is_locked(directory: str, name: str) -> bool:
    """Whether some process holds the lock with which `publish_locked` made the file."""
    descriptor = _open(directory, name)
    if descriptor is None:
        return False
    try:
        # Shared, so that two processes that look at the same time do not take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def read_record(directory: str, name: str, key: bytes) -> dict[str, object] | None:
    """Return a record of any kind that `publish` wrote, or None where there is none.

    Raises:
        Forged: what is there was not written under this key, or has been changed since.
        OSError: it cannot be read.
    """
    return _read(directory, name, key)


def request_cancel(directory: str, key: bytes) -> None:
    """Leave a request to end the attempt where its runner finds it, now or later."""
    try:
        publish(directory, CANCEL, {}, key)
    except OSError as exc:
        if exc.errno not in _IN_THE_WAY:
            raise


def cancel_requested(directory: str, key: bytes) -> bool:
    """Whether an end was requested, by a driver: a job that could ask for its own end would be placed again, for free.

    Raises:
        Forged: what is there is no driver's.
    """
    return _read(directory, CANCEL, key) is not None


def open_output(directory: str) -> int | None:
    """Open the output for reading; None where there is none, or something that is not a plain file."""
    try:
        return _open(directory, OUTPUT)
    except Forged:
        return None


def remove_program_directories(directory: str) -> None:
    """Remove what the program wrote into its own directories. Its output stays."""
    for name in (TEMPORARY_DIRECTORY, WORK_DIRECTORY):
        # A program can make a tree that is deeper than Python can follow: it is left where it is then.
        with contextlib.suppress(OSError, RecursionError):
            if os.geteuid() != 0:
                _open_directories(os.path.join(directory, name))
            shutil.rmtree(os.path.join(directory, name), ignore_errors=True)


def _open_directories(root: str) -> None:
    """Make directories writable again that a program has closed to its own user, so that they can be emptied."""
    for path, directories, _ in os.walk(root):
        for name in directories:
            child = os.path.join(path, name)
            if not os.path.islink(child):
                os.chmod(child, 0o700)


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


def read_claim(directory: str, key: bytes) -> Claim | None:
    """The claim on the attempt, or None while nobody has it.

    Raises:
        Forged: what is there is no runner's or driver's.
    """
    document = _read(directory, CLAIM, key)
    if document is None:
        return None
    runner = document.get("runner")
    return Claim(
        at=_number(document["at"]),
        runner=None if runner is None else _identity(runner),
        withdrawn=_optional_text(document.get("withdrawn")),
        clock_offset=_number(document["clock_offset"]),
        is_contained=document["is_contained"] is True,
    )


def claim_document(claim: Claim) -> dict[str, object]:
    """The claim as it is stored."""
    return {**claim._asdict(), "runner": None if claim.runner is None else claim.runner._asdict()}


def read_program(directory: str, key: bytes) -> Program | None:
    """The program's main process, or None while it has not been started.

    Raises:
        Forged: what is there is no runner's.
    """
    document = _read(directory, PROGRAM, key)
    if document is None:
        return None
    return Program(process=_identity(document["process"]), started_at=_number(document["started_at"]))


def program_document(program: Program) -> dict[str, object]:
    """The program's main process as it is stored."""
    return {"process": program.process._asdict(), "started_at": program.started_at}


def read_result(directory: str, key: bytes) -> Result | None:
    """How the attempt ended, or None if it has not yet.

    Raises:
        Forged: what is there is no runner's or driver's.
    """
    document = _read(directory, RESULT, key)
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


def _publish(directory: str, name: str, document: Mapping[str, object], key: bytes, *, lock: bool) -> int | None:
    temporary = os.path.join(directory, f".{name}.{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if lock:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) as file:
            json.dump({**document, _MAC: _mac(name, document, key)}, file)
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


def _open(directory: str, name: str) -> int | None:
    """Open a plain file for reading, whatever a program has put in its place: without waiting, and not by a link."""
    try:
        descriptor = os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NONBLOCK | _SAFELY)
    except FileNotFoundError:
        return None
    except OSError as exc:
        if exc.errno in _IN_THE_WAY:
            raise Forged(f"{name} is not a file that can be read") from exc
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Forged(f"{name} is not a plain file")
    return descriptor


def _read(directory: str, name: str, key: bytes) -> dict[str, object] | None:
    descriptor = _open(directory, name)
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as file:
        message = file.read(_LARGEST_RECORD_BYTES + 1)
    try:
        document = json.loads(message) if len(message) <= _LARGEST_RECORD_BYTES else None
        if isinstance(document, dict):
            mac = str(document.pop(_MAC, ""))
            if hmac.compare_digest(mac.encode(), _mac(name, document, key).encode()):
                return document
    except (ValueError, RecursionError):
        pass
    raise Forged(f"{name} was not written by the runner of this attempt, or has been changed since")


def _mac(name: str, document: Mapping[str, object], key: bytes) -> str:
    # The name is part of it: one record of an attempt cannot stand in for another.
    canonical = json.dumps([name, document], sort_keys=True, separators=(",", ":"))
    return hmac.digest(key, canonical.encode("ascii"), "sha256").hex()


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
