"""What an operator says of a job whose engine is gone for good."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator

import forked
import pytest
from control.engines import Fleet, silent
from sqlalchemy import select

from nodus_control.suppliers.protocol import PlacementState, Report
from nodus_ledger.database.trust_schema import ledger
from nodus_ledger.trust.log import OPERATOR
from nodus_ledger.verification.verify import verify

UNKNOWN_AFTER_SECONDS = 300

SUPPLIERS = "".join(
    f"""\
[[supplier]]
name = "{name}"
kind = "neocloud"
regions = ["here"]
driver = "slurm"
usd_per_gpu_hour = {{ l40s = {usd}, a10g = {usd} }}
[supplier.slurm]
folder = "/nowhere"
image_command = ["run", "--nv", "{{env}}", "{{image}}"]
"""
    for name, usd in (("cheap", 1), ("dear", 2))
)
"""The suppliers of a fleet, as its operator's file names them."""


def resolve(url: str, *arguments: str, suppliers: str = SUPPLIERS) -> tuple[int, str]:
    """Run the command; return its exit status, and all that it printed."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(suppliers)
        file.flush()
        environment = {**os.environ, "NODUS_SUPPLIERS": file.name if suppliers else ""}
        done = forked.run("control", "attempts", "resolve", "--db", url, *arguments, env=environment)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def fleet(kept_database_url: str) -> Iterator[Fleet]:
    """A control plane of two suppliers, on a database that others can open."""
    made = Fleet(kept_database_url)
    # The command goes by real time, as every process does that operators start; all that follows was before.
    made.clock.advance_to(int((time.time() - 86_400) * 1000))
    yield made
    made.plane.close()


def make_unknown(fleet: Fleet) -> str:
    """Run a job for a minute, and have its engine fall silent."""
    job_id = fleet.submit()
    fleet.advance(60)
    fleet.cheap.reports = fleet.cheap.on_cancel = silent
    fleet.advance(UNKNOWN_AFTER_SECONDS)
    assert fleet.view(job_id)["phase"] == "unknown"
    return job_id


def operators_rows(fleet: Fleet) -> list[str]:
    """The kinds of the rows in the operator's log."""
    query = select(ledger.c.kind).where(ledger.c.customer_id == OPERATOR).order_by(ledger.c.seq)
    with fleet.plane.database.read() as connection:
        return list(connection.execute(query).scalars())


def test_the_prices_of_other_suppliers_do_not_count(fleet: Fleet, kept_database_url: str) -> None:
    """Nor those of the list that comes with the package, where nobody says which file is the right one."""
    job_id = make_unknown(fleet)
    status, said = resolve(kept_database_url, job_id, "--ended", suppliers="")

    assert status == 3
    assert "not the suppliers that were accepted" in said
    assert fleet.view(job_id)["phase"] == "unknown"


@pytest.mark.both_engines
def test_what_has_ended_goes_elsewhere_and_is_free(fleet: Fleet, kept_database_url: str) -> None:
    """The operator's ledger records who said so, and every sum still adds up."""
    job_id = make_unknown(fleet)
    assert resolve(kept_database_url, job_id, "--ended") == (0, f"job {job_id} is queued\n")
    fleet.clock.advance_to(int((time.time() + 60) * 1000))
    fleet.worker.run_due()

    assert (fleet.job(job_id).status, fleet.job(job_id).supplier) == ("running", "dear")
    assert fleet.outcomes(job_id) == [("cheap", "lost"), ("dear", None)]
    assert operators_rows(fleet)[-1] == "operator.attempt_resolved"
    assert verify(fleet.plane.database).faults == []


def test_what_was_to_be_cancelled_ends_at_its_last_proof_of_life(fleet: Fleet, kept_database_url: str) -> None:
    """And costs what it did then."""
    job_id = make_unknown(fleet)
    cost = fleet.view(job_id)["cost_so_far_usd"]
    fleet.cancel(job_id)
    assert resolve(kept_database_url, job_id, "--ended") == (0, f"job {job_id} is cancelled\n")

    assert fleet.view(job_id)["cost_usd"] == cost
    assert fleet.job(job_id).duration_ms == 60_000


def test_what_was_not_seen_to_run_may_never_have(fleet: Fleet, kept_database_url: str) -> None:
    """It was late to start when its engine was lost."""
    fleet.cheap.reports = lambda placement, now: Report(PlacementState.PROVISIONING, next_poll_at=now + 10)
    job_id = fleet.submit()
    fleet.advance(60)
    fleet.cheap.reports = fleet.cheap.on_cancel = silent
    fleet.advance(3600)

    assert resolve(kept_database_url, job_id, "--never-ran") == (0, f"job {job_id} is queued\n")


def test_nothing_is_resolved_that_is_known(fleet: Fleet, kept_database_url: str) -> None:
    """Each mistake is said, and changes nothing."""
    known = fleet.submit()
    fleet.worker.run_due()
    unknown = make_unknown(fleet)
    mistakes = [
        resolve(kept_database_url, known, "--never-ran"),
        resolve(kept_database_url, unknown, "--never-ran"),
        resolve(kept_database_url, "no-such-job", "--ended"),
        resolve(kept_database_url, unknown),
        resolve(kept_database_url, unknown, "--ended", "--never-ran"),
    ]

    assert [status for status, _ in mistakes] == [3, 3, 3, 2, 2]
    assert "was seen to run at cheap" in mistakes[1][1]
    assert "there is no job no-such-job" in mistakes[2][1]
    assert fleet.view(unknown)["phase"] == "unknown"
