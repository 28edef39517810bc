"""Records as callers see them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nodus_core.json_numbers import plain_numbers
from nodus_core.lifecycle import JobStatus, running_milliseconds
from nodus_core.money import cost_micros, usd
from nodus_core.spec import echoed
from nodus_core.times import timestamp
from nodus_ledger.database.rows import JobRecord
from nodus_ledger.errors import BudgetFigures
from nodus_ledger.jobs.jobs import UNKNOWN
from nodus_ledger.keys.keys import KeyRecord

# `json.dumps` would make one at every call.
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def job_view(job: JobRecord, now: int, last_seen: Mapping[str, int]) -> dict[str, Any]:
    """Return the JobView of a job: never its env or command.

    Args:
        job: which.
        now: until when one that runs has cost something; Unix milliseconds.
        last_seen: the last proof of life of those whose phase is `unknown`, by id: until then they have.
    """
    saved = None if job.retail is None or job.cost is None else usd(job.retail - job.cost)
    return {
        "id": job.id,
        "status": job.status,
        "supplier": job.supplier,
        "region": job.region,
        "cost_usd": _usd(job.cost),
        "cost_so_far_usd": _usd(cost_so_far(job, last_seen.get(job.id, now))),
        "usd_per_gpu_hour": _usd(job.rate),
        "phase": phase_of(job),
        "phase_detail": None if job.is_terminal else job.phase_detail,
        "error_code": job.error_code,
        "error_message": job.error_message,
        **echoed(job),
        "created_at": timestamp(job.created_at),
        "started_at": _timestamp(job.started_at),
        "finished_at": _timestamp(job.finished_at),
        "duration_s": None if job.duration_ms is None else job.duration_ms / 1000,
        "estimated_cost_usd": usd(job.estimate),
        "retail_cost_usd": _usd(job.retail),
        "saved_usd": saved,
        "attempts": job.placements,
        "principal_kind": job.principal_kind,
        "simulated": job.is_simulated,
        "ledger": None if job.ledger_hash is None else {"seq": job.ledger_seq, "leaf_hash": job.ledger_hash.hex()},
    }


def phase_of(job: JobRecord) -> str | None:
    """Return a short word for what becomes of a job where its status alone does not say it; None where it does."""
    if job.is_terminal:
        return None
    if job.phase != UNKNOWN and job.cancel_requested_at is not None:
        return "ending"
    return job.phase


def cost_so_far(job: JobRecord, until: int) -> int | None:
    """Return what a job costs, or would cost if it ended at a time; None for one that is not running yet. Micro-USD."""
    if job.is_terminal:
        return job.cost
    if job.status != JobStatus.RUNNING.value or job.started_at is None:
        return None
    state = replace(job.state, finished_at=max(until, job.started_at))
    rate = job.rate or 0
    return cost_micros(rate, job.gpu_count, running_milliseconds(state, job.limit_ms(rate)))


def page_view(
    jobs: Sequence[JobRecord], next_cursor: str | None, now: int, last_seen: Mapping[str, int]
) -> dict[str, Any]:
    """Return a page of a listing; `now` and `last_seen` as for `job_view`."""
    return {"jobs": [job_view(job, now, last_seen) for job in jobs], "next_cursor": next_cursor}


def key_view(key: KeyRecord, figures: BudgetFigures) -> dict[str, Any]:
    """Return what a caller may know about its own key."""
    return {
        "id": key.id,
        "label": key.label,
        "principal_kind": key.principal_kind,
        "signing_required": key.signing_required,
        "monthly_spend_cap_usd": _usd(figures.cap),
        "month_to_date_usd": usd(figures.month_to_date),
        "realised_usd": usd(figures.realised),
        "in_flight_usd": usd(figures.in_flight),
        "headroom_usd": _usd(figures.headroom),
        "resets_at": timestamp(figures.resets_at),
    }


def to_json(content: dict[str, Any]) -> bytes:
    """Encode an answer."""
    return plain_numbers(_ENCODER.encode(content)).encode()


def _usd(micros: int | None) -> float | None:
    return None if micros is None else usd(micros)


def _timestamp(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else timestamp(milliseconds)
