"""Whether a process may trust its clock: pure decisions, from what several clocks say at one moment.

Months of budgets go by the clock, so a wrong one is a money fault: one that is ahead opens the next month early, and
every cap with it. Times are Unix milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from nodus_core.times import timestamp

TOLERANCE_MS = 5_000
"""How far a clock may be from the one that it is held against."""

LONG_IDLE_MS = 24 * 3_600_000
"""A start that is further ahead of the newest row than this is worth a warning: nothing else tells a wrong clock."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What clocks say at one moment.

    Attributes:
        host: the clock of this process's host.
        server: the clock of the database server; None where the database has none (SQLite).
        newest: the newest row of the ledger; None in a new database.
        peer: the clock of the other processes that work on the same file, of several the latest; None for no other.
    """

    host: int
    server: int | None = None
    newest: int | None = None
    peer: int | None = None

    @property
    def reference(self) -> int:
        """The clock that counts: the database server's, else the host's."""
        return self.host if self.server is None else self.server


def refusal(readings: Readings) -> str | None:
    """Say why a process must not start; None if it may."""
    if readings.server is not None and abs(readings.host - readings.server) > TOLERANCE_MS:
        return (
            f"the clock of this host says {timestamp(readings.host)}, which is "
            f"{_difference(readings.host, readings.server)} that of the database server"
        )
    if readings.newest is not None and readings.newest - readings.reference > TOLERANCE_MS:
        whose = "this host" if readings.server is None else "the database server"
        return (
            f"the clock of {whose} says {timestamp(readings.reference)}, which is "
            f"{_difference(readings.reference, readings.newest)} the newest row of the ledger "
            f"({timestamp(readings.newest)})"
        )
    return None


def warning(readings: Readings) -> str | None:
    """Say what is odd about a start that is not refused; None for nothing."""
    # A database server's clock is the reference whatever the rows say; on a file there is nothing else to hold it to.
    if readings.server is None and readings.newest is not None and readings.host - readings.newest > LONG_IDLE_MS:
        return (
            f"the newest row of the ledger is {_span(readings.host - readings.newest)} old: if that is not how long "
            f"this control plane has been idle, the clock of this host ({timestamp(readings.host)}) is wrong"
        )
    return None


def disagreement(readings: Readings, *, accepted: int = 0) -> str | None:
    """Say why a process that runs must take no work; None if it may.

    One that is ahead of its peers would spend next month's budgets; one that is behind only does things late.

    Args:
        readings: of this moment.
        accepted: how far an operator knows the host to be from the database server, in milliseconds.
    """
    if readings.server is not None:
        if abs(readings.host - readings.server - accepted) > TOLERANCE_MS:
            return (
                f"the clock of this host is {_difference(readings.host, readings.server)} that of the database server"
            )
    elif readings.peer is not None and readings.host - readings.peer > TOLERANCE_MS:
        return (
            f"the clock of this process is {_difference(readings.host, readings.peer)} that of another process on "
            "this database"
        )
    return None


def _difference(one: int, other: int) -> str:
    return f"{_span(abs(one - other))} {'ahead of' if one > other else 'behind'}"


def _span(milliseconds: int) -> str:
    seconds = milliseconds / 1000
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
