"""What the `process` driver keeps of attempts: whose they are, which are there, and what stays of one that is over.

Of an attempt that is forgotten, its output stays, and the records that say that it was claimed and how it ended: with
them, submitting it once more starts nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...runner import attempt_files, processes
from ...runner.attempt_files import Forged, Identity
from ...runner.output import image_notice
from ..protocol import EngineUnavailable, Found

LOOK_SECONDS = 3600.0
"""How often a driver looks for what has been kept for long enough, at most."""

OWNER = "owner.json"
FORGOTTEN = "forgotten"

# No job can have this name: the names of jobs do not begin with a full stop.
_ENGINE = ".engine.json"
_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_NO_LONGER_NEEDED = (attempt_files.PROGRAM, attempt_files.CANCEL)


@dataclass(frozen=True)
class AttemptOwner:
    """Whose attempts a driver makes: a database, and which life of it, since a restore begins another."""

    database_id: str = ""
    incarnation: str = ""


def engine_identity(state_directory: str, key: bytes, machine: Callable[[], str] | None = None) -> str:
    """Return what tells this machine and this state directory from all others; made at the first question.

    The machine's id is not given away: only what is computed from it.

    Raises:
        EngineUnavailable: the record of it cannot be read, or is not this database's.
    """
    try:
        document = attempt_files.read_record(state_directory, _ENGINE, key)
        if document is None:
            attempt_files.publish(state_directory, _ENGINE, {"name": secrets.token_hex(16)}, key)
            document = attempt_files.read_record(state_directory, _ENGINE, key) or {}
        name = str(document["name"])
        machine_id = (machine or read_machine_id)()
    except Forged:
        raise EngineUnavailable(
            "the state directory of the process driver is another database's, or its record of itself was changed"
        ) from None
    except (OSError, KeyError):
        raise EngineUnavailable("the state directory of the process driver cannot be used") from None
    hashed = hashlib.sha256(f"nodus process driver\0{machine_id}".encode()).hexdigest()[:32]
    return f"{hashed if machine_id else 'unnamed'}:{name}"


def is_marked(state_directory: str, key: bytes, identity: str | None) -> bool:
    """Whether a state directory is one of this database's, and the one of that identity, where it is known."""
    try:
        if attempt_files.read_record(state_directory, _ENGINE, key) is None:
            return False
        return identity is None or engine_identity(state_directory, key) == identity
    except (Forged, OSError, EngineUnavailable):
        return False


def read_machine_id() -> str:
    """Return the id that the system gave this machine; empty where it gives none, as in some containers.

    Raises:
        OSError: it cannot be read now.
    """
    for path in _MACHINE_IDS:
        with processes.if_there(), open(path, encoding="ascii", errors="replace") as file:
            if text := file.read(256).strip():
                return text
    return ""


def record_owner(directory: str, owner: AttemptOwner, key: bytes, now: float) -> None:
    """Put on record whose an attempt is, unless that is known."""
    document = {"database_id": owner.database_id, "incarnation": owner.incarnation, "at": now}
    attempt_files.publish(directory, OWNER, document, key)


def find_attempts(state_directory: str, key_of: Callable[[str, int], bytes], default: AttemptOwner) -> Iterator[Found]:
    """Find the attempts that are not forgotten.

    Args:
        state_directory: where they are.
        key_of: the key of an attempt's records.
        default: whose those are that do not say it; of no known incarnation.
    """
    for job_id, attempt, directory in list(_directories(state_directory)):
        key = key_of(job_id, attempt)
        if _forgotten_at(directory, key) is not None:
            continue
        owner, made_at = AttemptOwner(default.database_id), 0.0
        is_running = True
        with contextlib.suppress(Forged, ValueError, KeyError, TypeError):
            document = attempt_files.read_record(directory, OWNER, key)
            if document is not None:
                owner = AttemptOwner(str(document["database_id"]), str(document["incarnation"]))
                made_at = float(str(document["at"]))
        try:
            claim = attempt_files.read_claim(directory, key)
            if claim is None and not os.path.lexists(os.path.join(directory, OWNER)):
                continue  # Nothing was begun here.
            made_at = made_at if claim is None else claim.at
            has_ended = attempt_files.read_result(directory, key) is not None
            is_running = claim is not None and not has_ended and is_watched(directory, claim.runner)
        except Forged:
            pass  # Its records were changed: for all that is known, something of it runs.
        yield Found(job_id, attempt, owner.database_id, owner.incarnation, made_at, is_running)


def forget(directory: str, key: bytes) -> None:
    """Remove what is of no more use of an attempt that has ended; what is gone already is not missed."""
    attempt_files.remove_program_directories(directory)
    for name in _NO_LONGER_NEEDED:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(directory, name))
    with contextlib.suppress(OSError):
        attempt_files.publish(directory, FORGOTTEN, {}, key)


class Retention:
    """Removes what is kept of attempts that were forgotten long ago, their output too; looks once an hour at most.

    An attempt that nobody has forgotten is kept, however old it is: the control plane may still ask for it.

    Args:
        state_directory: where attempts are.
        key_of: the key of an attempt's records.
        keep_seconds: for how long what is forgotten is kept.
    """

    def __init__(self, state_directory: str, key_of: Callable[[str, int], bytes], keep_seconds: float) -> None:
        self._state_directory = state_directory
        self._key_of = key_of
        self._keep_seconds = keep_seconds
        self._next_look = -math.inf
        self._lock = threading.Lock()

    def apply(self, now: float) -> None:
        """Remove what is old enough, if it is time to look. `now` is this machine's wall clock, in Unix seconds."""
        with self._lock:
            if time.monotonic() < self._next_look:
                return
            self._next_look = time.monotonic() + LOOK_SECONDS
        with contextlib.suppress(OSError):
            for job_id, attempt, directory in list(_directories(self._state_directory)):
                at = _forgotten_at(directory, self._key_of(job_id, attempt))
                if at is not None and at < now - self._keep_seconds:
                    shutil.rmtree(directory, ignore_errors=True)
                    with contextlib.suppress(OSError):  # Another attempt of the job is still there.
                        os.rmdir(os.path.dirname(directory))


def is_watched(directory: str, runner: Identity | None) -> bool:
    """Whether the runner lives. Its lock says so to those who cannot see it, in another container for example."""
    if runner is None:
        return False
    try:
        return processes.is_running(runner) or attempt_files.is_locked(directory, attempt_files.CLAIM)
    except Forged:
        return False


def own_directories(directory: str) -> tuple[str, ...]:
    """Return the directories of an attempt that are its program's."""
    return tuple(
        os.path.join(directory, name) for name in (attempt_files.WORK_DIRECTORY, attempt_files.TEMPORARY_DIRECTORY)
    )


def last_sign(directory: str) -> float:
    """When the runner was last known to be alive, by this machine's wall clock."""
    return max(_signs(directory), default=0.0)


def sign_of_life(directory: str) -> str:
    """What changes whenever the runner shows that it lives.

    All of its signs are in it: once the wall clock was set back, one that is renewed can be older than one that is not.
    """
    return " ".join(map(str, _signs(directory)))


def has_printed(directory: str, image: str) -> bool:
    """Whether the output is more than the line about the image."""
    try:
        return os.path.getsize(os.path.join(directory, attempt_files.OUTPUT)) > len(image_notice(image))
    except OSError:
        return False


def _forgotten_at(directory: str, key: bytes) -> float | None:
    """When it was forgotten, by this machine's wall clock; None where it was not, or only its program says so."""
    try:
        if attempt_files.read_record(directory, FORGOTTEN, key) is None:
            return None
        return os.stat(os.path.join(directory, FORGOTTEN), follow_symlinks=False).st_mtime
    except (Forged, OSError):
        return None


def _directories(state_directory: str) -> Iterator[tuple[str, int, str]]:
    for job in os.scandir(state_directory):
        if job.name.startswith(".") or not job.is_dir(follow_symlinks=False):
            continue
        with processes.if_there():  # One that goes meanwhile, or that a program has closed.
            for attempt in os.scandir(job.path):
                if attempt.name.isascii() and attempt.name.isdigit() and attempt.is_dir(follow_symlinks=False):
                    yield job.name, int(attempt.name), attempt.path


def _signs(directory: str) -> list[float]:
    """When the runner wrote each of the files that it writes all along, by this machine's wall clock."""
    signs = []
    for name in (attempt_files.CLAIM, attempt_files.OUTPUT):
        with contextlib.suppress(OSError):
            signs.append(os.stat(os.path.join(directory, name), follow_symlinks=False).st_mtime)
    return signs
