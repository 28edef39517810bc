"""The suppliers that the processes of a database agree on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane
from nodus_control.suppliers.agreement import OK
from nodus_core.catalogue import Catalogue, shipped_suppliers
from nodus_core.spec import parse_spec
from nodus_core.suppliers_file import DriverName, SlurmOptions, SupplierEntry, SuppliersFile
from nodus_ledger.database.schema import attempts
from nodus_ledger.jobs.accepted_suppliers import (
    SUPPLIERS_ACCEPTED,
    AcceptedSuppliers,
    SuppliersDiffer,
    SuppliersInUse,
)
from nodus_ledger.keys.keys import KeyRecord, PrincipalKind
from nodus_ledger.trust.log import OPERATOR
from nodus_ledger.verification.verify import verify

pytestmark = pytest.mark.both_engines

FILE = shipped_suppliers()
SPEC = {"image": "x", "gpu": "h100_80gb", "env": {"NODUS_SIM_DURATION_SECONDS": "600"}}
CHEAPEST = "hyperbolic"


def without(name: str, file: SuppliersFile = FILE) -> SuppliersFile:
    """A file without one of its suppliers."""
    return replace(file, suppliers=tuple(entry for entry in file.suppliers if entry.name != name))


def only(*names: str) -> SuppliersFile:
    """A file of some of the suppliers."""
    return replace(FILE, suppliers=tuple(entry for entry in FILE.suppliers if entry.name in names))


class Processes:
    """Several control planes on one database, each with its suppliers, on one clock."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = ManualClock()
        self.planes: list[ControlPlane] = []

    def start(self, file: SuppliersFile, *, accept: str | None = None) -> ControlPlane:
        """Start one, whose worker works when it is told to."""
        control_plane = ControlPlane(
            self.url,
            clock=self.clock,
            is_alone=False,
            is_reliable=True,
            suppliers=file,
            accept_suppliers=accept,
        )
        self.planes.append(control_plane)
        return control_plane

    def key(self) -> KeyRecord:
        """Make a key for simulations."""
        keys = self.planes[0].keys
        minted = keys.mint(
            customer_id="acme", label="", principal_kind=PrincipalKind.HUMAN, now=self.clock.now(), is_test=True
        )
        found = keys.find(minted.api_key)
        assert found is not None
        return found

    def submit(self, **changes: Any) -> str:
        """Submit a job; return its id."""
        spec = parse_spec({**SPEC, **changes})
        return self.planes[0].jobs.submit(self.key(), spec, None, self.clock.now()).job.id

    def job(self, job_id: str) -> tuple[str, str | None, str | None]:
        """Return a job's status, supplier and error code."""
        job = self.planes[0].jobs.get("acme", job_id)
        return job.status, job.supplier, job.error_code


def operators_rows(control_plane: ControlPlane) -> list[tuple[str, dict[str, Any]]]:
    """What the operator's own ledger records: kinds and payloads."""
    page = control_plane.trust_ledger.entries(OPERATOR, job_id=None, after=0, limit=100)
    return [(row["kind"], row["payload"]) for row in (json.loads(entry.leaf) for entry in page.entries)]


@pytest.fixture
def processes(kept_database_url: str) -> Iterator[Processes]:
    """Processes on a database."""
    made = Processes(kept_database_url)
    yield made
    for control_plane in made.planes:
        control_plane.close()


def test_the_first_suppliers_are_accepted_as_they_come(processes: Processes) -> None:
    """Others with the same join, however their file is written."""
    first = processes.start(FILE)
    processes.start(replace(FILE, suppliers=FILE.suppliers[::-1]))

    assert AcceptedSuppliers(first.database).sha256() == Catalogue(FILE).sha256


def test_other_suppliers_are_refused(processes: Processes) -> None:
    """Both hashes are named, and nothing changes."""
    first = processes.start(FILE)
    with pytest.raises(SuppliersDiffer) as caught:
        processes.start(without("aws"))

    assert caught.value.accepted == Catalogue(FILE).sha256
    assert caught.value.own == Catalogue(without("aws")).sha256
    assert all(sha in str(caught.value) for sha in (caught.value.accepted, caught.value.own))
    assert AcceptedSuppliers(first.database).sha256() == Catalogue(FILE).sha256


def test_suppliers_that_an_operator_accepts_are_the_new_ones(processes: Processes) -> None:
    """It is a row in the operator's own ledger, and whoever comes with those from before is refused."""
    processes.start(FILE)
    second = processes.start(without("aws"), accept="serve")
    with pytest.raises(SuppliersDiffer):
        processes.start(FILE)
    before, after = Catalogue(FILE).sha256, Catalogue(without("aws")).sha256

    assert operators_rows(second) == [(SUPPLIERS_ACCEPTED, {"process": "serve", "before": before, "after": after})]
    assert verify(second.database).is_sound


def test_accepting_what_is_accepted_already_writes_nothing(processes: Processes) -> None:
    """An operator may leave the option in a unit file."""
    first = processes.start(FILE)
    processes.start(FILE, accept="worker")

    assert operators_rows(first) == []


def test_a_supplier_with_jobs_cannot_leave(processes: Processes) -> None:
    """The jobs are named; once they have ended, it can."""
    first = processes.start(FILE)
    job_id = processes.submit()
    first.worker.run_due()
    with pytest.raises(SuppliersInUse) as caught:
        processes.start(without(CHEAPEST), accept="serve")
    accepted = AcceptedSuppliers(first.database).sha256()
    first.advance(3600)
    processes.start(without(CHEAPEST), accept="serve")

    assert caught.value.jobs == {CHEAPEST: [job_id]}
    assert job_id in str(caught.value)
    assert accepted == Catalogue(FILE).sha256
    assert processes.job(job_id) == ("completed", CHEAPEST, None)


def test_a_process_with_the_suppliers_from_before_places_nothing_and_polls_what_is_open(processes: Processes) -> None:
    """It says why it is not ready, until it is restarted, or its suppliers are accepted again."""
    first = processes.start(FILE)
    running = processes.submit()
    first.worker.run_due()
    second = processes.start(without("aws"), accept="serve")
    waiting = processes.submit()
    assert first.agreement is not None
    assert second.agreement is not None
    first.agreement.look()
    second.agreement.look()
    said = first.agreement.check()
    ready = [control_plane.readiness.check()["suppliers"] for control_plane in (first, second)]
    first.advance(3600)
    by_first = [processes.job(each)[0] for each in (running, waiting)]
    second.worker.run_due()

    assert "another suppliers file was accepted" in said
    assert ready == [said, OK]
    assert by_first == ["completed", "queued"]
    assert processes.job(waiting)[0] == "placed"


def test_suppliers_that_are_accepted_again_are_placed_by(processes: Processes) -> None:
    """Who had them all the time goes on without a restart."""
    first = processes.start(FILE)
    processes.start(without("aws"), accept="serve")
    waiting = processes.submit()
    assert first.agreement is not None
    first.agreement.look()
    first.worker.run_due()
    before = processes.job(waiting)[0]
    processes.start(FILE, accept="serve")
    first.agreement.look()
    first.worker.run_due()

    assert (before, processes.job(waiting)[0]) == ("queued", "placed")
    assert first.agreement.check() == OK


def test_a_queued_job_whose_last_offer_went_ends(processes: Processes) -> None:
    """`failed`, `no_supplier`, at no cost."""
    first = processes.start(only("aws", "lambda"))
    gone = processes.submit(gpu="a100_40gb", require_tiers=["tier3"])
    second = processes.start(only("aws"), accept="serve")
    second.worker.run_due()
    job = first.jobs.get("acme", gone)

    assert (job.status, job.supplier, job.error_code, job.cost) == ("failed", None, "no_supplier", 0)
    assert job.error_message == "No supplier offers this any more."


def test_a_queued_job_of_a_gpu_that_went_ends(processes: Processes) -> None:
    """Likewise."""
    first = processes.start(only("aws", "vast"))
    gone = processes.submit(gpu="a10g")
    second = processes.start(only("vast"), accept="serve")
    second.worker.run_due()
    job = first.jobs.get("acme", gone)

    assert (job.status, job.error_code, job.cost) == ("failed", "no_supplier", 0)
    assert job.error_message == "No supplier offers this any more."


def test_an_attempt_keeps_its_price(processes: Processes) -> None:
    """What a running job costs follows from the price at its placement."""
    first = processes.start(only("vast"))
    running = processes.submit()
    first.worker.run_due()

    def dearer(entry: SupplierEntry) -> SupplierEntry:
        return replace(entry, micros_per_gpu_hour=dict.fromkeys(entry.micros_per_gpu_hour, 10**9))

    file = replace(FILE, suppliers=tuple(dearer(entry) for entry in only("vast").suppliers))
    second = processes.start(file, accept="serve")
    second.advance(3600)
    job = first.jobs.get("acme", running)

    assert (job.status, job.duration_ms, job.cost) == ("completed", 600_000, 400_000)


OWN = replace(only("vast").suppliers[0], micros_per_gpu_hour={"homemade": 1_000_000})


@pytest.mark.parametrize(
    ("at_first", "later", "is_recorded", "expected"),
    [
        ({"homemade": 6_000_000}, {"homemade": 12_000_000}, True, 1_000_000),
        ({}, {"homemade": 12_000_000}, True, None),
        ({"homemade": 6_000_000}, {}, True, 1_000_000),
        ({"homemade": 6_000_000}, {"homemade": 12_000_000}, False, 2_000_000),
    ],
)
def test_an_attempt_keeps_its_retail(
    processes: Processes, at_first: dict[str, int], later: dict[str, int], is_recorded: bool, expected: int | None
) -> None:
    """Known or not; of one from before it was recorded, it is what retail is when the job ends."""
    first = processes.start(SuppliersFile((OWN,), at_first))
    running = processes.submit(gpu="homemade")
    first.worker.run_due()
    if not is_recorded:
        with first.database.write() as connection:
            connection.execute(update(attempts).values(retail_rate=None))
    processes.start(SuppliersFile((OWN,), later), accept="serve").advance(3600)
    job = first.jobs.get("acme", running)

    assert (job.status, job.duration_ms, job.retail) == ("completed", 600_000, expected)
    assert verify(first.database).is_sound


def test_a_supplier_with_jobs_cannot_become_simulated(processes: Processes) -> None:
    """Under the same name: what nobody ran would end a job that really runs, and be billed; nor the other way round."""
    first = processes.start(only("vast"))
    job_id = processes.submit()
    first.worker.run_due()
    real = replace(OWN, driver=DriverName.SLURM, options=SlurmOptions("/nowhere", image_command=("run", "{image}")))
    with pytest.raises(SuppliersInUse) as caught:
        processes.start(SuppliersFile((real,)), accept="serve")

    assert caught.value.jobs == {"vast": [job_id]}


def test_a_queued_job_whose_suppliers_all_became_real_ends(processes: Processes) -> None:
    """Nobody simulates anything any more, so nobody will ever take it; what can be had is for live keys."""
    first = processes.start(only("aws", "vast"))
    gone = processes.submit(gpu="a10g")
    real = replace(OWN, driver=DriverName.SLURM, options=SlurmOptions("/nowhere", image_command=("run", "{image}")))
    second = processes.start(SuppliersFile((real,)), accept="serve")
    second.worker.run_due()
    job = first.jobs.get("acme", gone)

    assert (job.status, job.error_code, job.cost) == ("failed", "no_supplier", 0)
