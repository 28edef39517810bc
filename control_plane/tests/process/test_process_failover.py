"""A job that this machine cannot have, or go on with, goes on at a supplier with another driver."""

from __future__ import annotations

import functools
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from control.engines import EngineStub, give
from control.mixed import GPU
from control.test_mixed_suppliers import CAMPUS, DESK
from entries import file_of
from patience import eventually
from process.conftest import TOKEN, processes_with
from sqlalchemy import select

from nodus_control.control_plane import ControlPlane
from nodus_control.suppliers.drivers import DriverContext, Service
from nodus_control.suppliers.process.driver import ProcessDriver
from nodus_control.suppliers.process.options import ProcessOptions
from nodus_control.suppliers.protocol import Driver, Placement, PlacementState, Report
from nodus_control.suppliers.services import services_of
from nodus_core.spec import parse_spec
from nodus_ledger.database.schema import attempts
from nodus_ledger.keys.keys import PrincipalKind
from nodus_ledger.verification.verify import verify


class OneJob:
    """A job that sleeps, on a control plane of this machine, which is the cheapest, and of a cluster that is a stub.

    Attributes:
        token: what the environment of its processes holds.
    """

    def __init__(self, place: Path, *, desk: Callable[[DriverContext], Driver] | None = None) -> None:
        file = file_of(DESK, CAMPUS)
        options = ProcessOptions()
        self.cluster = EngineStub()
        self.cluster.reports = _done
        services = services_of(file, is_reliable=True, process=options)
        if desk is not None:
            services["desk"] = replace(services["desk"], make=desk)
        services["campus"] = Service("stub", functools.partial(give, self.cluster))
        self.plane = ControlPlane(
            f"sqlite:///{place / 'nodus.db'}", seed=None, suppliers=file, services=services, process=options
        )
        minted = self.plane.keys.mint(customer_id="acme", label="", principal_kind=PrincipalKind.HUMAN, now=0)
        key = self.plane.keys.find(minted.api_key)
        assert key is not None
        self.token = uuid.uuid4().hex
        spec = {"image": "x", "gpu": GPU, "command": ["sleep", "600"], "env": {TOKEN: self.token}}
        self.id = self.plane.jobs.submit(key, parse_spec(spec), None, self.plane.clock.now()).job.id
        self.plane.start_worker()

    @property
    def status(self) -> tuple[str, str | None]:
        """Its status, and where it is."""
        job = self.plane.jobs.get("acme", self.id)
        return job.status, job.supplier

    def processes(self) -> list[int]:
        """Those of its command on this machine."""
        return processes_with(self.token)

    def outcomes(self) -> list[tuple[str, str | None]]:
        """Where it has been, and how that ended."""
        query = select(attempts.c.supplier, attempts.c.outcome).where(attempts.c.job_id == self.id)
        with self.plane.database.read() as connection:
            return [tuple(row) for row in connection.execute(query.order_by(attempts.c.attempt))]


def _done(placement: Placement, now: float) -> Report:
    return Report(PlacementState.COMPLETED, started_at=placement.placed_at, finished_at=placement.placed_at)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[OneJob]:
    """A job that really runs on this machine."""
    made = OneJob(tmp_path)
    try:
        eventually(lambda: made.status == ("running", "desk") and made.processes() != [])
        yield made
    finally:
        for pid in made.processes():
            os.kill(pid, signal.SIGKILL)
        made.plane.close()


def test_a_machine_that_is_out_ends_its_command_before_another_supplier_has_the_job(job: OneJob) -> None:
    """Nothing runs twice: what ran here is gone, and only then it was placed there."""
    left: list[list[int]] = []
    job.cluster.on_submit = lambda placement, holds: left.append(job.processes())
    job.plane.set_outage("desk", on=True)
    eventually(lambda: job.status == ("completed", "campus"))

    assert left == [[]]
    assert job.outcomes() == [("desk", "outage"), ("campus", "completed")]
    assert verify(job.plane.database).is_sound


def _without_python(context: DriverContext) -> Driver:
    assert context.directory is not None
    return ProcessDriver(context.directory, secret=context.secret, python="/nowhere/python")


def test_a_machine_that_cannot_start_a_job_leaves_it_to_another_supplier(tmp_path: Path) -> None:
    """Its runner does not begin, so nothing has run: the next one has the job at once."""
    job = OneJob(tmp_path, desk=_without_python)
    try:
        eventually(lambda: job.status == ("completed", "campus"))
        assert job.outcomes() == [("desk", "refused"), ("campus", "completed")]
        assert job.processes() == []
    finally:
        job.plane.close()
