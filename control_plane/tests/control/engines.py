"""Engines that do what a test says, and count what is asked of them, and a control plane of two of them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from entries import file_of, supplier
from sqlalchemy import select

from nodus_control.api.views import job_view
from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane
from nodus_control.dispatch.worker import Worker
from nodus_control.suppliers.drivers import DriverContext, Service, Terms
from nodus_control.suppliers.protocol import (
    Driver,
    EngineUnavailable,
    Found,
    LogChunk,
    Placement,
    PlacementState,
    Report,
    Workload,
    always,
)
from nodus_core.spec import parse_spec
from nodus_ledger.database.rows import JobRecord
from nodus_ledger.database.schema import attempts, slots
from nodus_ledger.keys.keys import KeyRecord, PrincipalKind

Holds = Callable[[], bool]


def running(placement: Placement, now: float) -> Report:
    """Say that it runs since it was placed."""
    return Report(PlacementState.RUNNING, started_at=placement.placed_at, next_poll_at=now + 10)


class EngineStub:
    """Takes everything and says that it runs, unless it is told otherwise.

    Attributes:
        reports: what it says of a placement.
        on_submit: what happens when one is submitted; likewise `on_cancel` and `on_list`.
        submitted: the placements that it was given; likewise `polled`, `cancelled` and `forgotten`.
    """

    name = "stub"
    runs_commands = True

    def __init__(self) -> None:
        self.reports: Callable[[Placement, float], Report] = running
        self.on_submit: Callable[[Placement, Holds], None] = lambda placement, holds: None
        self.on_cancel: Callable[[Placement], None] = lambda placement: None
        self.on_list: Callable[[], Sequence[Found]] = lambda: ()
        self.engine: Callable[[], str | None] = lambda: "engine 1"
        self.output = b""
        self.submitted: list[Placement] = []
        self.polled: list[Placement] = []
        self.cancelled: list[Placement] = []
        self.forgotten: list[Placement] = []
        self._lock = threading.Lock()

    def identity(self) -> str | None:
        """Return its name."""
        return self.engine()

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Holds = always) -> None:
        """Count, then do as told."""
        with self._lock:
            self.submitted.append(placement)
        self.on_submit(placement, holds)

    def poll(self, placement: Placement, workload: Workload, now: float) -> Report:
        """Count, then report as told; what was cancelled is."""
        with self._lock:
            self.polled.append(placement)
            ended = any((each.job_id, each.attempt) == (placement.job_id, placement.attempt) for each in self.cancelled)
        report = self.reports(placement, now)
        if ended and report.state in (PlacementState.RUNNING, PlacementState.PROVISIONING):
            started_at = report.started_at
            return Report(PlacementState.CANCELLED, started_at, now if started_at is None else max(now, started_at))
        return report

    def cancel(self, placement: Placement, now: float) -> None:
        """Do as told, then count."""
        self.on_cancel(placement)
        with self._lock:
            self.cancelled.append(placement)

    def logs(self, placement: Placement, offset: int, limit: int) -> LogChunk:
        """Return what it was given."""
        return LogChunk(self.output[offset : offset + limit], offset, len(self.output), complete=True)

    def forget(self, placement: Placement) -> None:
        """Count."""
        with self._lock:
            self.forgotten.append(placement)

    def list_placements(self) -> Sequence[Found]:
        """Return what it was told."""
        return self.on_list()


def give(stub: EngineStub, _context: DriverContext) -> Driver:
    """Make no other driver."""
    return stub


class Fleet:
    """A control plane without a thread of its own, of two suppliers with an engine each, and one live key.

    Where `gpus` says how many of each model, they are counted.
    """

    def __init__(self, database_url: str, terms: Terms | None = None, gpus: Mapping[str, int] | None = None) -> None:
        self.cheap, self.dear = EngineStub(), EngineStub()
        stubs = {"cheap": self.cheap, "dear": self.dear}
        services = {
            name: Service("stub", functools.partial(give, stub), terms or Terms()) for name, stub in stubs.items()
        }
        suppliers = file_of(
            *(
                supplier(name, {"l40s": price, "a10g": price}, gpus)
                for name, price in (("cheap", 1_000_000), ("dear", 2_000_000))
            )
        )
        self.clock = ManualClock()
        self.plane = ControlPlane(database_url, clock=self.clock, suppliers=suppliers, services=services)
        minted = self.plane.keys.mint(customer_id="acme", label="", principal_kind=PrincipalKind.HUMAN, now=0)
        key = self.plane.keys.find(minted.api_key)
        assert key is not None
        self.key: KeyRecord = key

    @property
    def worker(self) -> Worker:
        """The control plane's."""
        return self.plane.worker

    def submit(self, **changes: Any) -> str:
        """Submit a job."""
        spec = parse_spec({"image": "x", "gpu": "l40s", "max_runtime_seconds": 3600, **changes})
        return self.plane.jobs.submit(self.key, spec, None, self.clock.now()).job.id

    def job(self, job_id: str) -> JobRecord:
        """Read a job."""
        return self.plane.jobs.get("acme", job_id)

    def view(self, job_id: str) -> dict[str, Any]:
        """Read a job as its customer does."""
        job = self.job(job_id)
        return job_view(job, self.clock.now(), self.plane.jobs.last_seen([job]))

    def cancel(self, job_id: str) -> None:
        """Ask for the end of a job."""
        self.plane.jobs.request_cancel(self.key, job_id, self.clock.now())

    def advance(self, seconds: float) -> None:
        """Let so much time pass, and do what falls due in it."""
        self.plane.advance(seconds)

    def holders(self, supplier: str) -> set[str]:
        """Read which jobs have GPUs of a supplier."""
        query = select(slots.c.job_id).where(slots.c.supplier == supplier, slots.c.job_id.is_not(None))
        with self.plane.database.read() as connection:
            return set(connection.execute(query).scalars())

    def outcomes(self, job_id: str) -> list[tuple[str, str | None]]:
        """Read where a job has been, and how that ended."""
        query = select(attempts.c.supplier, attempts.c.outcome).where(attempts.c.job_id == job_id)
        with self.plane.database.read() as connection:
            return [tuple(row) for row in connection.execute(query.order_by(attempts.c.attempt))]


def silent(*_arguments: object) -> NoReturn:
    """Do not answer."""
    raise EngineUnavailable("The engine does not answer.")


def unsent(*_arguments: object) -> NoReturn:
    """There is no connection."""
    raise EngineUnavailable("The engine cannot be reached.", never_sent=True)
