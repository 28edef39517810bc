"""What processes on one database say of their clocks, so that one whose clock is wrong is noticed by the others.

A mark is wall-clock time together with the host's monotonic clock, which no setting of the time changes and which all
processes of a host share: two marks of one host are comparable, whatever the wall clock did in between. Marks of other
hosts, and from before the last start of this one, say nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, select

from nodus_core.times import at_one_moment

from . import schema
from .database import Database
from .settings import Settings

LIVING_MS = 30_000
"""How long a process counts as living after its last mark. Each makes one every ten seconds."""

_PREFIX = "clock mark "
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Mark:
    """One reading of both clocks of a host, in milliseconds; `boot` names the host's run since it was started."""

    boot: str
    monotonic: int
    wall: int

    def wall_now(self, here: Mark) -> int | None:
        """Return what its process's wall clock says at the moment of another mark; None if it is not known to live."""
        age = here.monotonic - self.monotonic
        if not self.boot or self.boot != here.boot or not 0 <= age <= LIVING_MS:
            return None
        return self.wall + age


def boot_id() -> str:
    """Name the host's run since it was started; empty where the system does not tell."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def mark_here(
    wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic, boot: str | None = None
) -> Mark:
    """Read both clocks of this host."""
    now, passed = at_one_moment(wall, monotonic)
    return Mark(boot_id() if boot is None else boot, round(passed * 1000), round(now * 1000))


class ClockMarks:
    """The marks of all processes on a database."""

    def __init__(self, database: Database, owner: str) -> None:
        """`owner` names this process among the others."""
        self._database = database
        self._settings = Settings(database)
        self._name = _PREFIX + owner

    def put(self, mark: Mark) -> None:
        """Make this process's mark, in place of the one before."""
        self._settings.put(self._name, json.dumps([mark.boot, mark.monotonic, mark.wall]))

    def latest_of_others(self, here: Mark) -> int | None:
        """Return what the wall clock of the others says now, of several the latest; None if nobody else lives."""
        stored = schema.settings.c
        others = select(stored.value).where(stored.name.like(_PREFIX + "%"), stored.name != self._name)
        with self._database.read() as connection:
            values = connection.execute(others).scalars().all()
        walls = [wall for value in values if (wall := Mark(*json.loads(value)).wall_now(here)) is not None]
        return max(walls, default=None)

    def forget_the_dead(self, here: Mark) -> None:
        """Remove the marks of this host's processes that ended without removing them."""
        stored = schema.settings.c
        with self._database.write() as connection:
            rows = connection.execute(select(stored.name, stored.value).where(stored.name.like(_PREFIX + "%"))).all()
            dead = [name for name, value in rows if _is_dead(Mark(*json.loads(value)), here)]
            if dead:
                connection.execute(delete(schema.settings).where(stored.name.in_(dead)))

    def remove(self) -> None:
        """Remove this process's mark, as it ends."""
        with self._database.write() as connection:
            connection.execute(delete(schema.settings).where(schema.settings.c.name == self._name))


def _is_dead(mark: Mark, here: Mark) -> bool:
    return mark.boot != here.boot or mark.wall_now(here) is None
