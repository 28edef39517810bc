"""Which jobs a supplier takes whose commands run on the worker's own machine, and whose it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nodus_control.control_plane import ControlPlane
from nodus_control.errors import translate
from nodus_control.suppliers.process.options import ProcessOptions
from nodus_core.spec import InvalidSpec, parse_spec
from nodus_ledger.errors import Refused
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = pytest.mark.both_engines
SPEC = {"image": "x", "gpu": "a10g", "command": ["true"]}
MakeControlPlane = Callable[..., ControlPlane]


@pytest.fixture
def make_control_plane(kept_database_url: str) -> Iterator[MakeControlPlane]:
    """Makes control planes whose worker does not work."""
    made: list[ControlPlane] = []

    def make(**options: Any) -> ControlPlane:
        control_plane = ControlPlane(
            kept_database_url, driver="process", seed=None, is_alone=False, process=ProcessOptions(**options)
        )
        made.append(control_plane)
        return control_plane

    yield make
    for control_plane in made:
        control_plane.close()


def submit(control_plane: ControlPlane, customer: str, **changes: Any) -> tuple[int, str]:
    """Submit a job with a new key of a customer's; return the status and the error's code, if it is one."""
    minted = control_plane.keys.mint(
        customer_id=customer,
        label="",
        principal_kind=PrincipalKind.HUMAN,
        now=control_plane.clock.now(),
        monthly_cap=10**8,
    )
    key = control_plane.keys.find(minted.api_key)
    assert key is not None
    try:
        control_plane.jobs.submit(key, parse_spec({**SPEC, **changes}), None, control_plane.clock.now())
    except (Refused, InvalidSpec) as exc:
        answer = translate(exc)
        return answer.status, answer.code
    return 202, ""


def test_a_job_without_a_command_is_refused_when_it_is_submitted(make_control_plane: MakeControlPlane) -> None:
    """It would fail later, and images are not run."""
    control_plane = make_control_plane()

    assert submit(control_plane, "acme", command=None) == (422, "cannot_run")
    assert submit(control_plane, "acme", command=[]) in [(422, "cannot_run"), (422, "invalid_spec")]
    assert submit(control_plane, "acme") == (202, "")


def test_the_machine_belongs_to_the_customer_whose_job_it_takes_first(make_control_plane: MakeControlPlane) -> None:
    """In every process that answers for the database, and after a restart; what was refused claims nothing."""
    control_plane, another = make_control_plane(), make_control_plane()
    assert submit(control_plane, "refused", command=None) == (422, "cannot_run")
    assert submit(control_plane, "poor", gpu_count=8, max_runtime_seconds=172_800)[0] == 402

    assert submit(control_plane, "acme") == (202, "")
    control_plane.worker.run_due()
    assert submit(another, "acme") == (202, "")
    assert submit(another, "bank") == (422, "cannot_run")
    assert submit(make_control_plane(), "bank") == (422, "cannot_run")


def test_an_operator_can_do_without_isolation(make_control_plane: MakeControlPlane) -> None:
    """An option says that isolation is not needed."""
    control_plane = make_control_plane(isolation_is_not_needed=True)

    assert submit(control_plane, "acme") == (202, "")
    assert submit(control_plane, "bank") == (202, "")


def test_a_worker_that_needs_isolation_runs_nothing_of_another_customer(make_control_plane: MakeControlPlane) -> None:
    """Whatever the process took that answered the submission, and whoever placed the job there."""
    generous, strict = make_control_plane(isolation_is_not_needed=True), make_control_plane()
    assert submit(strict, "acme") == (202, "")
    strict.worker.run_due()
    assert submit(generous, "bank") == (202, "")
    strict.worker.run_due()
    key = next(key for key in strict.keys.all("bank"))
    job = strict.jobs.list(key.customer_id, limit=1).jobs[0]

    assert (job.status, job.error_code, job.cost) == ("failed", "cannot_run", 0)


def test_a_control_plane_that_was_emptied_is_free_again(make_control_plane: MakeControlPlane) -> None:
    """A reset removes the jobs, and with them whose machine it was."""
    control_plane = make_control_plane()
    submit(control_plane, "acme")
    control_plane.worker.run_due()
    control_plane.reset()

    assert submit(control_plane, "bank") == (202, "")
