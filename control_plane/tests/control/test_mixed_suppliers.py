"""Suppliers with several drivers at once: each job goes where it can run, and may."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from control.mixed import GPU, Mixed
from entries import supplier
from patience import PATIENCE_SECONDS
from sqlalchemy import select

from nodus_control.api.views import job_view
from nodus_control.errors import translate
from nodus_core.suppliers_file import (
    DockerOptions,
    DriverName,
    Options,
    ProcessSupplierOptions,
    SimulatedOptions,
    SlurmOptions,
    SupplierEntry,
    UnixEndpoint,
)
from nodus_ledger.database.schema import attempts, slots
from nodus_ledger.database.trust_schema import ledger, meter_events
from nodus_ledger.database.webhook_schema import outbox
from nodus_ledger.errors import CannotRun, NoSuchOffer
from nodus_ledger.jobs.event_log import EventLog
from nodus_ledger.verification.verify import verify

pytestmark = pytest.mark.both_engines


def entry(
    name: str, usd: int, driver: DriverName, gpus: int | None = None, options: Options | None = None
) -> SupplierEntry:
    """Make a supplier of one model."""
    usual: dict[DriverName, Options] = {
        DriverName.DOCKER: DockerOptions(UnixEndpoint("/nowhere")),
        DriverName.SLURM: SlurmOptions("/nowhere", image_command=("run", "{image}")),
        DriverName.PROCESS: ProcessSupplierOptions(),
        DriverName.SIMULATED: SimulatedOptions(),
    }
    made = supplier(name, {GPU: usd * 1_000_000}, None if gpus is None else {GPU: gpus})
    return replace(made, driver=driver, options=options or usual[driver])


MOCK = entry("mock", 1, DriverName.SIMULATED)
DESK = entry("desk", 2, DriverName.PROCESS, 4)
CAMPUS = entry("campus", 3, DriverName.SLURM)
LAB = entry("lab", 4, DriverName.DOCKER, 2)

Make = Callable[..., Mixed]


@pytest.fixture
def make(kept_database_url: str) -> Iterator[Make]:
    """Makes control planes of one database."""
    made: list[Mixed] = []

    def make(*entries: SupplierEntry, **options: Any) -> Mixed:
        made.append(Mixed(kept_database_url, entries or (MOCK, DESK, CAMPUS, LAB), **options))
        return made[-1]

    yield make
    for mixed in made:
        mixed.plane.close()


def test_each_kind_of_key_has_its_own_suppliers(make: Make) -> None:
    """What is simulated is the cheapest here, and no live job sees it; nor does a test job see what runs."""
    mixed = make()
    live, test = mixed.submit(), mixed.submit(is_test=True)
    mixed.plane.worker.run_due()

    assert mixed.job(live).supplier == "desk"
    assert mixed.rejected(live) == {"desk": None, "campus": None, "lab": None}
    assert mixed.job(test).supplier == "mock"
    assert mixed.rejected(test) == {"mock": None}


def test_what_is_simulated_says_so_beside_what_is_not(make: Make) -> None:
    """In the job, its events, webhooks, the ledger and the meter: and it alone."""
    mixed = make()
    events = ["job.placed", "job.completed", "job.cancelled"]
    mixed.plane.webhooks.endpoints.register("acme", "http://127.0.0.1:9/", events, None, 0)
    test = mixed.submit(is_test=True, env={"NODUS_SIM_DURATION_SECONDS": "5"})
    live = mixed.submit(env={"NODUS_SIM_DURATION_SECONDS": "5"})
    mixed.plane.advance(6)
    mixed.plane.jobs.request_cancel(mixed.key(), live, mixed.clock.now())
    mixed.plane.advance(1)
    with mixed.plane.database.read() as connection:
        of_jobs = select(ledger.c.leaf).where(ledger.c.kind != "webhook.attempted")
        leaves = [json.loads(leaf) for leaf in connection.execute(of_jobs).scalars()]
        metered = {row.identifier: row.livemode for row in connection.execute(select(meter_events))}
        told = [json.loads(body) for body in connection.execute(select(outbox.c.body)).scalars()]
    happened = EventLog(mixed.plane.database).of_customer("acme", after=0, limit=100)

    def said(job_id: str) -> set[bool]:
        return {
            job_view(mixed.job(job_id), 0, {})["simulated"],
            *(event.is_simulated for event in happened if event.job_id == job_id),
            *(
                leaf["payload"]["simulated"]
                for leaf in leaves
                if leaf["job_id"] == job_id and leaf["kind"] != "webhook.attempted"
            ),
            *(event["data"]["simulated"] for event in told if event["data"]["job_id"] == job_id),
        }

    assert (mixed.job(test).status, mixed.job(live).status) == ("completed", "cancelled")
    assert (said(test), said(live)) == ({True}, {False})
    assert metered == {f"job_{test}": False, f"job_{live}": True}
    assert verify(mixed.plane.database).is_sound


def test_what_only_the_other_kind_of_key_can_have_is_no_offer(make: Make) -> None:
    """And the models that are named are those that this key can have."""
    mixed = make(MOCK, replace(LAB, micros_per_gpu_hour={"a10g": 1}, gpus={"a10g": 1}))
    with pytest.raises(NoSuchOffer) as of_live:
        mixed.submit()
    with pytest.raises(NoSuchOffer) as of_test:
        mixed.submit(is_test=True, gpu="a10g")

    assert "a10g" in translate(of_live.value).message
    assert GPU in translate(of_test.value).message


def test_a_supplier_that_takes_one_customer_takes_the_first_whose_job_it_takes(make: Make) -> None:
    """The other's jobs go elsewhere, and the routing answer says why not there; nobody else is touched by it."""
    mixed = make(DESK, LAB, one_customer=["desk"])
    first = mixed.submit("acme")
    mixed.plane.worker.run_due()
    other, again = mixed.submit("bank"), mixed.submit("acme")
    mixed.plane.worker.run_due()

    assert [mixed.job(first).supplier, mixed.job(again).supplier] == ["desk", "desk"]
    assert mixed.job(other, "bank").supplier == "lab"
    assert mixed.rejected(other) == {"desk": "cannot_run", "lab": None}
    assert mixed.rejected(first) == {"desk": None, "lab": None}


def test_each_supplier_that_takes_one_customer_has_its_own(make: Make) -> None:
    """Whether it counts GPUs or not; the next control plane on the database knows whose each is."""
    mixed = make(DESK, CAMPUS, one_customer=["desk", "campus"])
    of_acme = mixed.submit("acme")
    mixed.plane.worker.run_due()
    of_bank = mixed.submit("bank")
    mixed.plane.worker.run_due()
    with pytest.raises(CannotRun) as caught:
        mixed.submit("cobalt")
    mixed.plane.close()
    later = make(DESK, CAMPUS, one_customer=["desk", "campus"])
    with pytest.raises(CannotRun):
        later.submit("cobalt")

    assert later.job(of_acme).supplier == "desk"
    assert later.job(of_bank, "bank").supplier == "campus"
    assert "belongs to another one" in translate(caught.value).message
    assert later.plane.jobs.get("bank", later.submit("bank")).status == "queued"


def test_a_job_whose_last_supplier_became_anothers_ends_and_says_why(make: Make) -> None:
    """It waited for that supplier, as somebody else did, who had the turn."""
    mixed = make(DESK, one_customer=["desk"])
    first, second = mixed.submit("acme"), mixed.submit("bank")
    mixed.plane.worker.run_due()
    ended = mixed.job(second, "bank")

    assert mixed.job(first).status == "running"
    assert (ended.status, ended.error_code, ended.cost) == ("failed", "cannot_run", 0)
    assert mixed.rejected(second) == {"desk": "cannot_run"}


def test_of_two_customers_whose_first_jobs_come_at_once_one_has_the_supplier(make: Make) -> None:
    """Of two models, which are placed at the same time by two workers: the other's job is placed elsewhere."""
    models = (GPU, "a10g")
    desk, lab = (
        replace(each, micros_per_gpu_hour=dict.fromkeys(models, price), gpus=dict.fromkeys(models, 4))
        for each, price in ((DESK, 1), (LAB, 2))
    )
    planes = [make(desk, lab, one_customer=["desk"], is_alone=False) for _ in range(2)]
    submitted = [(customer, planes[0].submit(customer, gpu=gpu)) for customer, gpu in zip("ab", models, strict=True)]
    begin = threading.Barrier(2)

    def work(mixed: Mixed) -> None:
        begin.wait(PATIENCE_SECONDS)
        mixed.plane.worker.run_due()

    threads = [threading.Thread(target=work, args=(mixed,)) for mixed in planes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    planes[0].plane.worker.run_due()
    places = [planes[0].job(job_id, customer).supplier for customer, job_id in submitted]
    with planes[0].plane.database.read() as connection:
        query = select(slots.c.supplier).where(slots.c.job_id.is_not(None), slots.c.gpu.in_(models))
        held = connection.execute(query).scalars().all()

    assert sorted(filter(None, places)) == ["desk", "lab"]
    assert sorted(held) == ["desk", "lab"]


def test_an_emptied_control_plane_leaves_its_suppliers_to_whoever_comes(make: Make) -> None:
    """A reset removes the jobs, and with them whose each supplier was."""
    mixed = make(DESK, one_customer=["desk"])
    mixed.submit("acme")
    mixed.plane.worker.run_due()
    mixed.plane.reset()
    job_id = mixed.submit("bank")
    mixed.plane.worker.run_due()

    assert mixed.job(job_id, "bank").supplier == "desk"


def test_a_job_goes_where_its_image_can_run(make: Make) -> None:
    """Without a command not to where only commands run; nor to a registry, or an image, that a supplier has not."""
    picky = replace(LAB, options=DockerOptions(UnixEndpoint("/nowhere"), registries=("ghcr.io",)))
    bare = replace(CAMPUS, options=SlurmOptions("/nowhere", images={"acme/eval:v2": ("run",)}))
    mixed = make(DESK, bare, picky)
    known = mixed.submit(image="acme/eval:v2", command=None)
    allowed = mixed.submit(image="ghcr.io/acme/train:1", command=None)
    with pytest.raises(CannotRun) as caught:
        mixed.submit(image="python:3.12", command=None)
    mixed.plane.worker.run_due()

    assert mixed.job(known).supplier == "campus"
    assert mixed.rejected(known) == {"campus": None, "desk": "cannot_run", "lab": "cannot_run"}
    assert mixed.job(allowed).supplier == "lab"
    for part in ("desk: The supplier runs commands", "campus: The supplier runs no containers", "registry docker.io"):
        assert part in translate(caught.value).message


@pytest.mark.parametrize("changes", [{"env": {"PWD": "/x"}}, {"env": {"SLURM_JOB_ID": "7"}}, {"command": ["", "x"]}])
def test_a_job_goes_where_its_variables_and_command_can_be_handed_on(make: Make, changes: dict[str, Any]) -> None:
    """A cluster takes fewer than a container, and is the cheapest: at submission, after a loss and by a later file."""
    cheapest = replace(CAMPUS, micros_per_gpu_hour={GPU: 1})
    mixed = make(cheapest, LAB)
    job_id = mixed.submit(**changes)
    mixed.plane.worker.run_due()
    at_first = mixed.job(job_id).supplier, mixed.rejected(job_id)
    mixed.plane.set_outage("lab", on=True)
    mixed.plane.worker.run_due()
    mixed.plane.set_outage("lab", on=False)
    mixed.plane.worker.run_due()

    assert at_first == ("lab", {"lab": None, "campus": "cannot_run"})
    assert mixed.job(job_id).supplier in ("lab", None)
    assert mixed.rejected(job_id)["campus"] == "cannot_run"


def test_what_waits_is_judged_by_its_variables_when_a_supplier_comes(make: Make) -> None:
    """They are known from the job as it was submitted."""
    job_id = make(LAB).submit(env={"PWD": "/x"})
    later = make(LAB, replace(CAMPUS, micros_per_gpu_hour={GPU: 1}), is_alone=False)
    later.plane.worker.run_due()

    assert later.job(job_id).supplier == "lab"
    assert later.rejected(job_id) == {"lab": None, "campus": "cannot_run"}


def test_a_submission_whose_variables_no_supplier_takes_names_each_and_no_value(make: Make) -> None:
    """With what is to be changed at each."""
    mixed = make(CAMPUS, replace(CAMPUS, name="castle"))
    with pytest.raises(CannotRun) as caught:
        mixed.submit(env={"PWD": "a secret"})
    message = translate(caught.value).message

    assert "campus: Env sets PWD" in message
    assert "castle: Env sets PWD" in message
    assert "a secret" not in message


def test_a_lost_job_goes_on_only_where_it_can_run(make: Make) -> None:
    """What it needs of a supplier is still known when it comes back into the queue."""
    mixed = make(DESK, CAMPUS, LAB)
    job_id = mixed.submit(command=None)
    mixed.plane.worker.run_due()
    at_first = mixed.job(job_id).supplier
    mixed.plane.set_outage("campus", on=True)
    mixed.plane.worker.run_due()

    assert (at_first, mixed.job(job_id).supplier) == ("campus", "lab")
    assert mixed.rejected(job_id) == {"campus": "outage", "desk": "cannot_run", "lab": None}


def test_what_nobody_takes_any_more_ends(make: Make) -> None:
    """A queued job whose last offer went with the suppliers of its kind."""
    mixed = make(replace(MOCK, gpus={GPU: 1}), LAB)
    placed, waiting = mixed.submit(is_test=True), mixed.submit(is_test=True)
    mixed.plane.worker.run_due()
    mixed.plane.jobs.request_cancel(mixed.key(is_test=True), placed, mixed.clock.now())
    mixed.plane.set_outage("mock", on=True)
    mixed.plane.advance(1)
    with mixed.plane.database.read() as connection:
        tried = connection.execute(select(attempts.c.supplier).where(attempts.c.job_id == waiting)).scalars().all()

    assert (mixed.job(waiting).status, mixed.job(waiting).error_code) == ("failed", "no_supplier")
    assert tried == [""]


def test_a_job_that_waits_goes_only_where_it_can_run_by_a_later_file(make: Make) -> None:
    """A supplier has come that could not run it, and is the cheapest."""
    job_id = make(LAB).submit(command=None)
    later = make(LAB, DESK, is_alone=False)
    later.plane.worker.run_due()

    assert later.job(job_id).supplier == "lab"
    assert later.rejected(job_id) == {"lab": None, "desk": "cannot_run"}


def test_a_job_that_waits_goes_where_a_later_file_lets_it(make: Make) -> None:
    """The supplier that could run it has left, and another one takes its registry now."""
    picky = replace(LAB, options=DockerOptions(UnixEndpoint("/nowhere"), registries=("ghcr.io",)))
    job_id = make(picky, replace(LAB, name="rack")).submit()
    later = make(LAB, is_alone=False)
    later.plane.worker.run_due()

    assert (later.job(job_id).status, later.job(job_id).supplier) == ("running", "lab")
