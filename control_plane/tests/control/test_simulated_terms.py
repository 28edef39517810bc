"""What a suppliers file says of simulated suppliers' terms holds, as it does for others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select

from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane
from nodus_core.spec import parse_spec
from nodus_core.suppliers_reading import read_suppliers
from nodus_ledger.database.schema import attempts
from nodus_ledger.keys.keys import PrincipalKind

FILE = """\
[[supplier]]
name = "slow"
kind = "neocloud"
regions = ["moon"]
driver = "simulated"
usd_per_gpu_hour = { l4 = 1 }
{TERMS}
[supplier.simulated]
provisioning_seconds = [100, 200]
[[supplier]]
name = "prompt"
kind = "neocloud"
regions = ["moon"]
driver = "simulated"
usd_per_gpu_hour = { l4 = 2 }
"""

LOSING = """\
[[supplier]]
name = "losing"
kind = "neocloud"
regions = ["moon"]
driver = "simulated"
usd_per_gpu_hour = { l4 = 1 }
{TERMS}
[supplier.simulated]
loss_per_hour = 3600
"""

Run = Callable[[str, str], list[tuple[str, str | None]]]


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs a job for an hour of suppliers that have such terms; returns where it has been, and how that ended."""
    made: list[ControlPlane] = []

    def run(file: str, terms: str) -> list[tuple[str, str | None]]:
        suppliers = read_suppliers(file.replace("{TERMS}", terms), "x")
        control_plane = ControlPlane(clock=ManualClock(), suppliers=suppliers)
        made.append(control_plane)
        minted = control_plane.keys.mint(customer_id="acme", label="", principal_kind=PrincipalKind.HUMAN, now=0)
        key = control_plane.keys.find(minted.api_key)
        assert key is not None
        spec = parse_spec({"image": "x", "gpu": "l4", "env": {"NODUS_SIM_DURATION_SECONDS": "600"}})
        job_id = control_plane.jobs.submit(key, spec, None, control_plane.clock.now()).job.id
        control_plane.advance(3600)
        query = select(attempts.c.supplier, attempts.c.outcome).where(attempts.c.job_id == job_id)
        with control_plane.database.read() as connection:
            return [tuple(row) for row in connection.execute(query.order_by(attempts.c.attempt))]

    yield run
    for control_plane in made:
        control_plane.close()


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("", [("slow", "completed")]),
        ("start_deadline_seconds = 300", [("slow", "completed")]),
        ("start_deadline_seconds = 50", [("slow", "not_started"), ("prompt", "completed")]),
    ],
)
def test_what_is_late_to_start_goes_elsewhere(run: Run, terms: str, expected: list[tuple[str, str | None]]) -> None:
    """After the deadline, if there is one; however far the clock leaps."""
    assert run(FILE, terms) == expected


@pytest.mark.parametrize(("terms", "times"), [("", 1), ("retry_after_loss = 2", 3)])
def test_what_was_lost_is_tried_again_as_often_as_the_file_says(run: Run, terms: str, times: int) -> None:
    """Then nobody takes it any more."""
    assert run(LOSING, terms) == [("losing", "lost")] * times + [("", "refused")]
