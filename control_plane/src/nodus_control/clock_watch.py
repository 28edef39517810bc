"""The clock of a self-hosted process, held against the database server's and against its peers', all the time.

What the readings mean is decided in `clock_checks`.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Callable

import sqlalchemy.exc

from nodus_ledger.database.clock_marks import ClockMarks, mark_here
from nodus_ledger.database.database import Database
from nodus_ledger.errors import DatabaseUnavailable
from nodus_ledger.trust.row_times import RowTimes

from .clock import RunningClock
from .clock_checks import TOLERANCE_MS, Readings, disagreement, refusal, warning
from .concurrency.watching import Watching

WATCH_SECONDS = 10.0
"""How often the clocks are compared, in real seconds."""

_SLOWEST_ANSWER_SECONDS = 1.0
"""An answer that took longer says too little about when it was given."""

_MOST_QUESTIONS = 5
"""How often a process that starts asks for an answer that says enough; then the best one has to do."""

_logger = logging.getLogger(__name__)


class UntrustedClock(Exception):
    """A process whose clock is wrong does not start; the message says what differs, and what to do."""


class ServerTime:
    """A database server's clock as this process goes by it: its own monotonic clock, set by what the server says."""

    def __init__(self, database: Database, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._monotonic = monotonic
        self._ahead = self._ask(patient=True)

    def now(self) -> float:
        """Return Unix time, in seconds."""
        return self.at(self._monotonic())

    def at(self, monotonic: float) -> float:
        """Return Unix time at a moment of the monotonic clock, in seconds."""
        return monotonic + self._ahead

    def compare(self) -> None:
        """Ask the server again."""
        self._ahead = self._ask(patient=False)

    def _ask(self, *, patient: bool) -> float:
        answers: list[tuple[float, float]] = []
        for _ in range(_MOST_QUESTIONS if patient else 1):
            before = self._monotonic()
            said = self._database.server_time()
            after = self._monotonic()
            if said is None:
                raise ValueError("this database has no server")
            answers.append((after - before, said - (before + after) / 2))
            if after - before < _SLOWEST_ANSWER_SECONDS:
                break
        took, ahead = min(answers)
        return ahead if patient or took < _SLOWEST_ANSWER_SECONDS else self._ahead


class ClockWatch:
    """Gives a self-hosted process its clock, refuses one that is wrong, and goes on comparing.

    Attributes:
        real_time: what leases go by, in Unix seconds: the database server's clock, else the host's, without its steps
            back.
    """

    def __init__(
        self,
        database: Database,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._wall = wall
        self._monotonic = monotonic
        self._row_times = RowTimes(database)
        self._server = ServerTime(database, monotonic) if database.is_server else None
        self._marks = None if self._server or database.path is None else ClockMarks(database, secrets.token_hex(8))
        self._accepted = 0
        self._problem: str | None = None
        self._watching = Watching("nodus-clock", self.look, WATCH_SECONDS)
        self.clock = RunningClock(real_time=wall if self._server is None else self._server.now, monotonic=monotonic)

    def real_time(self) -> float:
        """Return the time that leases go by, in Unix seconds."""
        return self._server.now() if self._server else self.clock.now() / 1000

    @property
    def problem(self) -> str | None:
        """Why this process must take no work for now; None if it may."""
        return self._problem

    def may_work(self) -> bool:
        """Say whether the clock is fit for work."""
        return self._problem is None

    def require(self, *, accept: str | None = None) -> None:
        """Hold the clock against all there is at the start.

        Args:
            accept: the name of the command, where its operator says that the clock is right whatever differs.

        Raises:
            UntrustedClock: it is wrong.
        """
        readings = self._read(with_newest=True)
        problem = refusal(readings)
        if problem is not None:
            if accept is None:
                raise UntrustedClock(
                    f"{problem}: set the clock right (NTP); where it is right, and the rest is wrong, start once with "
                    "--accept-clock"
                )
            self._accepted = 0 if readings.server is None else readings.host - readings.server
            self._row_times.accept_clock(readings.reference, accept, self._accepted)
            _logger.warning("%s: accepted", problem)
        odd = warning(readings)
        if odd is not None:
            _logger.warning("%s", odd)
        self._judge(readings)

    def start(self) -> None:
        """Go on comparing, in a thread."""
        if self._server or self._marks:
            self._watching.start()

    def stop(self) -> None:
        """Stop comparing; say to the others that this process has ended."""
        self._watching.stop()
        if self._marks is not None:
            # Otherwise it is forgotten when another process starts.
            with contextlib.suppress(DatabaseUnavailable, sqlalchemy.exc.DBAPIError):
                self._marks.remove()

    def look(self) -> None:
        """Compare once."""
        if self._server is not None:
            self._server.compare()
        self._judge(self._read())

    def _read(self, *, with_newest: bool = False) -> Readings:
        # Before the clocks: rows that others write meanwhile are not ahead of them, however long this takes.
        newest = self._row_times.newest_row_ms() if with_newest else None
        here = mark_here(self._wall, self._monotonic)
        return Readings(
            host=here.wall,
            server=None if self._server is None else round(self._server.at(here.monotonic / 1000) * 1000),
            newest=newest,
            peer=None if self._marks is None else self._marks.latest_of_others(here),
        )

    def _judge(self, readings: Readings) -> None:
        problem = disagreement(readings, accepted=self._accepted)
        if problem is not None and self._problem is None:
            _logger.warning("%s: no work is taken until they agree to %d s", problem, TOLERANCE_MS // 1000)
        elif problem is None and self._problem is not None:
            _logger.warning("the clocks agree again: work is taken")
        self._problem = problem
        if self._marks is not None and problem is None:
            here = mark_here(self._wall, self._monotonic)
            self._marks.forget_the_dead(here)
            self._marks.put(here)
