"""Sees to their end the commands that an earlier version began, which knew no suppliers files.

Its attempts stand under the suppliers that are simulated now, whether they really ran or not. The records of this
machine tell the two apart: what they know really ran, and everything else was a simulation that nobody goes on with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..protocol import CapacityRefused, Found, LogChunk, Placement, PlacementState, Report, Workload, always
from .driver import ProcessDriver


class EarlierDriver:
    """Goes on with what a driver of this machine knows, and takes nothing new.

    Args:
        driver: it has the records.
    """

    def __init__(self, driver: ProcessDriver) -> None:
        self._driver = driver

    @property
    def name(self) -> str:
        """The driver's."""
        return self._driver.name

    @property
    def runs_commands(self) -> bool:
        """Yes."""
        return True

    def identity(self) -> str:
        """Return the driver's: what this machine does not know may run on the one that has the records.

        An earlier version recorded none, so the first worker that goes on with its jobs is taken for that machine's.

        Raises:
            EngineUnavailable: the driver cannot say it now.
        """
        return self._driver.identity()

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Adopt what was begun before.

        Raises:
            CapacityRefused: nothing was.
        """
        if not self._driver.knows(placement):
            raise CapacityRefused("nothing of an earlier version is begun")
        self._driver.submit(placement, workload, now, holds)

    def poll(self, placement: Placement, workload: Workload, now: float) -> Report:
        """Report what the driver knows; what it does not know is lost."""
        if not self._driver.knows(placement):
            message = "an earlier version simulated the job, which is not simulated any more"
            return Report(PlacementState.LOST, None, now, "lost", message)
        return self._driver.poll(placement, workload, now)

    def cancel(self, placement: Placement, now: float) -> None:
        """Request the end."""
        if self._driver.knows(placement):
            self._driver.cancel(placement, now)

    def logs(self, placement: Placement, offset: int, limit: int) -> LogChunk:
        """Return what it printed; nothing of what did not run."""
        if not self._driver.knows(placement):
            return LogChunk(b"", offset, 0, complete=True)
        return self._driver.logs(placement, offset, limit)

    def forget(self, placement: Placement) -> None:
        """Remove what is kept of it."""
        self._driver.forget(placement)

    def list_placements(self) -> Sequence[Found]:
        """Return nothing: the driver lists them."""
        return ()
