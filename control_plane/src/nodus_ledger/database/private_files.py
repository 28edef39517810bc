"""Files that only their owner may read and write: the database, what SQLite keeps beside it, and the key file.

A new file is private from the moment it exists, whatever the umask. One from before is made so, if it is this user's;
another user's is left as it is, and reported: whoever shares files between users has to decide about them.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from pathlib import Path

_BESIDE = ("-wal", "-shm", "-journal")
_OTHERS = 0o077

_logger = logging.getLogger(__name__)
_creating = threading.Lock()


def keep_database_private(path: Path) -> None:
    """Create the file of an SQLite database, empty and private, if there is none; make those that there are private.

    SQLite gives what it keeps beside the file the file's own mode.
    """
    file = Path(os.path.realpath(path))
    _create(file)
    for each in (file, *(file.with_name(file.name + ending) for ending in _BESIDE)):
        keep_private(each)


def keep_private(path: Path) -> None:
    """Take a file from everybody but its owner, if it exists and is this user's; warn if it is another user's."""
    if os.name == "nt":
        return
    try:
        found = path.stat()
        if not found.st_mode & _OTHERS or not stat.S_ISREG(found.st_mode):
            return
        if found.st_uid == os.geteuid():
            path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
            return
        reason = "belongs to another user"
    except FileNotFoundError:
        return
    except OSError as exc:
        reason = str(exc.strerror)
    _logger.warning(
        "%s may be open to other users of this machine, and cannot be made private (%s): chmod it to 600, as its owner",
        path,
        reason,
    )


def give_to_owner(descriptor: int) -> None:
    """Let the owner of a new file read and write it, and nobody else, whatever the umask took away."""
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, 0o600)


def _create(file: Path) -> None:
    # Of threads, one at a time: who closes a file gives up every lock that its process has on it, those that SQLite
    # took for another thread too. Nobody can have one yet on a file that is just being made.
    with _creating:
        if file.exists():
            return
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError:
            # Another process was first; or it cannot be made, which SQLite is about to say in its own words.
            return
        try:
            give_to_owner(descriptor)
        finally:
            os.close(descriptor)
