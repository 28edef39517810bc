"""Commands that an earlier version began, which knew no suppliers files: they are seen to their end, and no more."""

from __future__ import annotations

import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from patience import eventually
from sqlalchemy import select, update

from nodus_control.clock import RunningClock
from nodus_control.control_plane import ControlPlane
from nodus_core.catalogue import default_catalogue
from nodus_core.spec import parse_spec
from nodus_core.suppliers_reading import read_suppliers
from nodus_ledger.database.schema import IS_OPEN, attempts, jobs
from nodus_ledger.jobs.accepted_suppliers import SuppliersInUse
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the process driver is at its best there")

DESK = """
[[supplier]]
name = "desk"
kind = "own"
regions = ["here"]
driver = "process"
gpus = { h100_80gb = 2 }
usd_per_gpu_hour = { h100_80gb = 1 }
[supplier.process]
isolation_is_not_needed = true
"""
RACK = """
[[supplier]]
name = "rack"
kind = "own"
regions = ["here"]
driver = "docker"
gpus = { h100_80gb = 1 }
usd_per_gpu_hour = { h100_80gb = 1 }
[supplier.docker]
endpoint = "unix:///nowhere/docker.sock"
"""

SIMULATED = """
[[supplier]]
name = "hyperbolic"
kind = "neocloud"
regions = ["here"]
driver = "simulated"
usd_per_gpu_hour = { h100_80gb = 1 }
"""


EARLIER = sorted(default_catalogue().suppliers)
"""What an earlier version's jobs stand under."""


@contextmanager
def opened(database: pathlib.Path, text: str) -> Iterator[ControlPlane]:
    """Open a control plane by a suppliers file."""
    made = ControlPlane(
        f"sqlite:///{database}",
        clock=RunningClock(),
        seed=None,
        is_alone=True,
        suppliers=read_suppliers(text, "file"),
        accept_suppliers="serve",
    )
    try:
        yield made
    finally:
        made.close()


def begin(control_plane: ControlPlane, script: str, begun: Callable[[], bool], count: int = 1) -> list[str]:
    """Begin jobs as an earlier version did, under a supplier that is simulated by now."""
    minted = control_plane.keys.mint(customer_id="c", label="", principal_kind=PrincipalKind.AGENT, now=0)
    key = control_plane.keys.find(minted.api_key)
    assert key is not None
    spec = parse_spec({"image": "x", "gpu": "h100_80gb", "command": ["sh", "-c", script]})
    made = [control_plane.jobs.submit(key, spec, None, control_plane.clock.now()).job.id for _ in range(count)]

    def have_begun() -> bool:
        control_plane.worker.run_due()
        return {control_plane.jobs.get("c", each).status for each in made} == {"running"} and begun()

    eventually(have_begun, lambda: f"it is {control_plane.jobs.get('c', made[0])}")
    with control_plane.database.write() as connection:
        connection.execute(update(jobs).values(simulated=None, supplier="hyperbolic"))
        connection.execute(update(attempts).values(supplier="hyperbolic"))
    return made


def test_what_an_earlier_version_ran_is_seen_to_its_end_and_what_it_simulated_is_not(tmp_path: pathlib.Path) -> None:
    """Both stand under suppliers that are simulated by now; who runs no commands here may not take them over."""
    database, count, go = tmp_path / "nodus.db", tmp_path / "count", tmp_path / "go"
    script = f"echo ran >> '{count}'; until test -e '{go}'; do sleep 0.05; done; exit 7"
    with opened(database, DESK) as control_plane:
        ran, simulated = begin(
            control_plane, script, lambda: count.exists() and count.read_text() == "ran\n" * 2, count=2
        )
    for text in (RACK, SIMULATED, DESK + SIMULATED):
        with pytest.raises(SuppliersInUse, match=ran), opened(database, text):
            pass
    (kept,) = tmp_path.rglob(f"{simulated}/1")
    apart = tmp_path / "apart"
    kept.rename(apart)
    with opened(database, RACK + DESK) as later:
        go.touch()

        def are_over() -> bool:
            later.worker.run_due()
            return all(later.jobs.get("c", each).is_terminal for each in (ran, simulated))

        eventually(are_over, lambda: f"it is {later.jobs.get('c', ran)}")
        first, second = (later.jobs.get("c", each) for each in (ran, simulated))

    assert (first.status, first.error_code) == ("failed", "nonzero_exit")
    assert "code 7" in (first.error_message or "")
    assert (second.status, second.error_code) == ("failed", "no_supplier")
    assert count.read_text() == "ran\n" * 2


def ask_about(control_plane: ControlPlane, job_id: str) -> None:
    """Have a worker deal with a job now."""
    with control_plane.database.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job_id, IS_OPEN).values(due_at=0))

    def is_dealt_with() -> bool:
        control_plane.worker.run_due()
        with control_plane.database.read() as connection:
            return (
                connection.execute(select(jobs.c.due_at).where(jobs.c.id == job_id, jobs.c.due_at == 0)).first() is None
            )

    eventually(is_dealt_with, lambda: "no worker deals with the job")


def test_what_an_earlier_version_ran_is_not_lost_on_another_host(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker there has no records of it, which says nothing of what goes on where they are."""
    database, go = tmp_path / "nodus.db", tmp_path / "go"
    script = f"until test -e '{go}'; do sleep 0.05; done; exit 7"
    with opened(database, DESK) as control_plane:
        (ran,) = begin(control_plane, script, lambda: True)
    with opened(database, RACK + DESK) as control_plane:
        ask_about(control_plane, ran)
    (records,) = tmp_path.rglob(f"{ran}/1")
    state, apart = records.parent.parent, tmp_path / "apart"
    state.rename(apart)
    with opened(database, RACK + DESK) as elsewhere:
        with elsewhere.database.write() as connection:
            connection.execute(update(jobs).where(IS_OPEN).values(due_at=0))

        def is_refused() -> bool:
            elsewhere.worker.run_due()
            return "supplier hyperbolic: the engine that is reached here is not" in caplog.text

        eventually(is_refused, lambda: f"it is {elsewhere.jobs.get('c', ran)}")
        job = elsewhere.jobs.get("c", ran)
    shutil.rmtree(state)
    apart.rename(state)
    with opened(database, RACK + DESK) as later:
        go.touch()

        def is_over() -> bool:
            later.worker.run_due()
            return later.jobs.get("c", ran).is_terminal

        eventually(is_over, lambda: f"it is {later.jobs.get('c', ran)}")
        ended = later.jobs.get("c", ran)

    assert job.status == "running"
    assert (ended.status, ended.error_code) == ("failed", "nonzero_exit")
    assert "code 7" in (ended.error_message or "")


def test_no_machine_becomes_the_engine_of_suppliers_that_only_an_earlier_version_had(tmp_path: pathlib.Path) -> None:
    """One that is begun anew has nothing of theirs; a supplier of such a name may be another machine's one day."""
    with opened(tmp_path / "nodus.db", DESK) as control_plane:
        control_plane.worker.run_due()
        swept = control_plane.drivers.one_of_each()
        for supplier, driver in swept:
            control_plane.sweeper.sweep(supplier, driver)
        pinned = [name for name in ("desk", *EARLIER) if control_plane.settings.recorded_engine(name) is not None]
        served = [control_plane.drivers.suppliers_of(driver) for _, driver in swept]

        assert all(control_plane.drivers.of(name) is not None for name in EARLIER)
    assert pinned == ["desk"]
    assert served == [["desk", *EARLIER]]
