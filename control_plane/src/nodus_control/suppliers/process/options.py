"""What an operator decides about commands that run on their machine, and what follows from it. Checked at the start."""

from __future__ import annotations

import os
import pathlib
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field

from nodus_control.runner.containment import AUTO, CONTAINMENTS
from nodus_control.runner.specification import Account

KEEP_DAYS = 30
"""How many days what is kept of an attempt stays, its output too, from when it was forgotten."""

GPUS_OF_EACH_MODEL = 8
"""How many GPUs of each model there are, in name only: no device is attached to a job."""

_LEAST_AT_ONCE = 4
_LARGEST_FILE_BYTES = 64 << 30
_MOST_PROCESSES = 4096


def default_at_once() -> int:
    """How many jobs run at once unless an operator says otherwise: two for each core, and four at least."""
    return max(_LEAST_AT_ONCE, 2 * (os.cpu_count() or 1))


@dataclass(frozen=True)
class ProcessOptions:
    """How commands run.

    Args:
        at_once: how many jobs may run at once, over all workers of a database.
        isolation_is_not_needed: keys of several customers may submit. Their jobs can reach each other.
        user: the account that commands run as, if it is not this process's own. Needs root.
        containment: `auto` where the system allows it, `required` or `off`.
        memory_bytes: how much memory one process of a job may fill, if it is limited.
        file_bytes: how large a file that a job writes may become.
        keep_days: for how many days the output of an attempt stays after the attempt was forgotten.
        hidden_files: files of secrets, which a contained program finds empty.
    """

    at_once: int = field(default_factory=default_at_once)
    isolation_is_not_needed: bool = False
    user: str | None = None
    containment: str = AUTO
    memory_bytes: int | None = None
    file_bytes: int = _LARGEST_FILE_BYTES
    keep_days: float = KEEP_DAYS
    hidden_files: tuple[pathlib.Path, ...] = ()

    def __post_init__(self) -> None:
        """Check what can be checked without the machine.

        Raises:
            ValueError: a value is out of range.
        """
        if self.at_once < 1:
            raise ValueError("at least one job must be able to run at once")
        if not self.keep_days >= 0:
            raise ValueError("output is kept for a number of days, 0 or more")
        if self.containment not in CONTAINMENTS:
            raise ValueError(f"the containment of processes is one of {', '.join(CONTAINMENTS)}")

    def limits(self) -> Mapping[str, int]:
        """Return the resource limits of a job's processes, by their names."""
        limits = {"RLIMIT_FSIZE": self.file_bytes, "RLIMIT_NPROC": _MOST_PROCESSES}
        if self.memory_bytes is not None:
            limits["RLIMIT_DATA"] = self.memory_bytes
        return limits


def find_account(user: str) -> Account:
    """Look up the account that commands run as.

    Raises:
        RuntimeError: there is none of that name, it is not for this purpose, or this process may not change to it.
    """
    import pwd

    if os.geteuid() != 0:
        raise RuntimeError("only root can run commands as another user: start as root, or leave the user out")
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise RuntimeError(f"there is no user {user!r}: create a dedicated account for jobs") from None
    if entry.pw_uid == 0 or user == "nobody":
        raise RuntimeError(f"{user} is not an account for jobs: create one that nothing else uses")
    return Account(entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(user, entry.pw_gid)))


def require_reachable(directory: pathlib.Path, user: str) -> None:
    """Check that other users can pass through every parent of `directory`.

    Raises:
        RuntimeError: one of them shuts them out.
    """
    for parent in directory.parents:
        if parent.exists() and not parent.stat().st_mode & stat.S_IXOTH:
            raise RuntimeError(
                f"{user} cannot reach {directory}, because {parent} is closed to other users: keep the database "
                "elsewhere, such as in /var/lib, or open that directory (chmod o+x)"
            )
