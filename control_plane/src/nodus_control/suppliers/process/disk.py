"""Whether the file system is there that the state directory of the `process` driver is on.

A disk can go away, and leave an empty directory where it was mounted, or none. What is not found then was not removed
by a job, and nothing may be begun, or taken back, in what is there instead: the attempt may run, by records that are
only out of sight.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from ..protocol import EngineUnavailable

_AWAY = "the state directory of the process driver is not where it was: is its disk mounted?"


class Place(NamedTuple):
    """A directory, told apart from another one of the same name."""

    device: int
    inode: int


def place_of(path: str) -> Place | None:
    """Return what is there under that name; None where there is nothing.

    Raises:
        OSError: that cannot be said, as on a disk that fails.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Place(status.st_dev, status.st_ino)


class Disk:
    """Remembers where a directory was.

    Args:
        directory: it is there now.
        look: as `place_of`.
    """

    def __init__(self, directory: str, look: Callable[[str], Place | None] = place_of) -> None:
        self._directory = directory
        self._look = look
        self._place = look(directory)

    def require(self, is_ours: Callable[[], bool], *, itself: bool) -> None:
        """Check that the directory's file system is there.

        Args:
            is_ours: whether what is there now holds our mark: then it is the same one, mounted again.
            itself: whether the directory itself has to be there. Otherwise it may have been removed, as a job can do.

        Raises:
            EngineUnavailable: it is away.
        """
        try:
            place = self._look(self._directory)
            if place is not None and place == self._place:
                return
            if place is not None and is_ours():
                self._place = place
                return
            if not itself and self._place is not None and self._nearest().device == self._place.device:
                return
        except PermissionError:
            if not itself:
                return  # A job has closed a directory above its own.
        except OSError:
            pass
        raise EngineUnavailable(_AWAY)

    def _nearest(self) -> Place:
        """Return the directory itself, or the nearest one above it that is there."""
        path = self._directory
        while (place := self._look(path)) is None:
            path = os.path.dirname(path)
        return place
