"""What a customer is shown of a job: what it costs so far, at which price, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from nodus_control.api.views import job_view
from nodus_core.lifecycle import JobStatus
from nodus_ledger.database.rows import JobRecord, new_record

NOW = 1_700_000_000_000
HOUR_MS = 3_600_000


def make_job(status: JobStatus, **values: Any) -> JobRecord:
    """A job of two GPUs at $1.50, which began to run an hour ago if it runs."""
    began = NOW - HOUR_MS if status is JobStatus.RUNNING else None
    placed = {"supplier": "lab", "region": "here", "rate": 1_500_000, "placed_at": NOW - HOUR_MS}
    base = {
        "seq": 1,
        "id": "job",
        "status": status.value,
        "gpu_count": 2,
        "max_runtime_seconds": 7200,
        "require_tiers": "",
        "created_at": NOW - 2 * HOUR_MS,
        "reserved": 6_000_000,
        "placements": 0,
        "started_at": began,
    }
    return new_record({**base, **({} if status is JobStatus.QUEUED else placed), **values})


def shown(job: JobRecord, now: int = NOW, last_seen: int | None = None) -> dict[str, Any]:
    return job_view(job, now, {} if last_seen is None else {job.id: last_seen})


def test_a_running_job_costs_what_it_would_if_it_ended_now() -> None:
    """By the control plane's clock, at the price of its placement, and never more than its limit allows."""
    job = make_job(JobStatus.RUNNING)

    assert shown(job)["cost_so_far_usd"] == 3.0
    assert shown(job)["usd_per_gpu_hour"] == 1.5
    assert shown(job)["cost_usd"] is None
    assert shown(job, NOW - 2 * HOUR_MS)["cost_so_far_usd"] == 0
    assert shown(job, NOW + 100 * HOUR_MS)["cost_so_far_usd"] == 6.0


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.PLACED])
def test_what_does_not_run_costs_nothing_yet(status: JobStatus) -> None:
    """Waiting and preparing a machine are free."""
    view = shown(make_job(status))

    assert view["cost_so_far_usd"] is None
    assert view["usd_per_gpu_hour"] == (None if status is JobStatus.QUEUED else 1.5)


def test_what_is_over_costs_what_it_cost() -> None:
    """However late it is looked at."""
    job = make_job(JobStatus.FAILED, started_at=NOW - HOUR_MS, finished_at=NOW, cost=42, phase="pulling")
    view = shown(job, NOW + HOUR_MS)

    assert view["cost_so_far_usd"] == view["cost_usd"] == 0.000042
    assert view["phase"] is None


def test_the_cost_of_what_may_run_no_more_stands_at_its_last_proof_of_life() -> None:
    """Nobody is shown an amount that grows by a silence."""
    job = make_job(JobStatus.RUNNING, phase="unknown")

    assert shown(job, last_seen=NOW - HOUR_MS // 2)["cost_so_far_usd"] == 1.5


def test_the_phase_says_what_the_status_does_not() -> None:
    """A requested end is `ending`, unless the engine cannot be asked for it."""
    assert shown(make_job(JobStatus.RUNNING))["phase"] is None
    assert shown(make_job(JobStatus.PLACED, phase="pulling", phase_detail="3 of 7"))["phase_detail"] == "3 of 7"
    assert shown(make_job(JobStatus.PLACED, phase="pulling", cancel_requested_at=1))["phase"] == "ending"
    assert shown(make_job(JobStatus.RUNNING, phase="unknown", cancel_requested_at=1))["phase"] == "unknown"
