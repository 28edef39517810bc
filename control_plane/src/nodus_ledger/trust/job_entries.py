"""What the Trust Ledger records about a job: pure functions, from rows that are being written to ledger entries.

Of a command only its fingerprint is recorded, of `env` nothing, and of an error only its code: what a program prints
may be secret. Rows from before hold the plain SHA-256 of the command (`command_sha256`) in place of `command_hmac`.
Every row says whether the job is simulated, so that none of them alone can pass for one about real work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nodus_core.catalogue import Offer
from nodus_core.spec import JobSpec
from nodus_core.times import timestamp

from ..database.rows import JobRecord
from .log import Entry

SUBMITTED = "job.submitted"
RESERVED = "job.reservation"
ATTEMPTED = "attempt.opened"
ATTEMPT_ENDED = "attempt.ended"
TRANSITION = "job.transition"
SETTLED = "job.settled"


def submitted(job: Mapping[str, Any], spec: JobSpec, command_hmac: str | None) -> Entry:
    """Record a submission, which is the job's transition to `queued` too.

    `job` are the columns of the new row; `command_hmac` is the command's fingerprint, which tells those who have the
    sealed key, and nobody else, whether a command is the same.
    """
    return Entry(
        customer_id=job["customer_id"],
        kind=SUBMITTED,
        at=job["created_at"],
        job_id=job["id"],
        key_id=job["key_id"],
        principal_kind=job["principal_kind"],
        payload={
            "simulated": job["simulated"],
            "status": job["status"],
            **spec.recorded(),
            "command_hmac": command_hmac,
            "reserved_micros": job["reserved"],
            "reserved_micros_per_gpu_hour": job["reserved_rate"],
        },
    )


def reserved(job: JobRecord, amount: int, at: int) -> Entry:
    """Record that another amount is reserved for a job, though it is placed nowhere: it waits for budget."""
    return _about(job, RESERVED, at, {"reserved_micros": amount, "reason": "waiting_for_budget"})


def attempted(job: JobRecord, number: int, offer: Offer, amount: int, decision_sha256: str, at: int) -> Entry:
    """Record that a job is about to be given to a supplier, and what is reserved for it from now on.

    `decision_sha256` is the hash of the decision, which the answer about its routing carries whole.
    """
    rate = offer.micros_per_gpu_hour
    payload = {
        "attempt": number,
        "supplier": offer.supplier,
        "region": offer.region,
        "micros_per_gpu_hour": rate,
        "limit_ms": job.limit_ms(rate),
        "reserved_micros": amount,
        "decision_sha256": decision_sha256,
    }
    return _about(job, ATTEMPTED, at, payload)


def attempt_ended(job: JobRecord, outcome: str, started_at: int | None, ended_at: int) -> Entry:
    """Record how an attempt ended: `refused`, `lost`, `outage` or the job's terminal status."""
    payload = {
        "attempt": job.attempt,
        "outcome": outcome,
        "started_at": None if started_at is None else timestamp(started_at),
    }
    return _about(job, ATTEMPT_ENDED, ended_at, payload)


def transitions(job: JobRecord, history: Sequence[Mapping[str, Any]]) -> Iterator[Entry]:
    """Record transitions; `history` are the columns of their rows in `events`."""
    for change in history:
        payload = {
            "number": change["seq"],
            "status": change["status"],
            "placements": change["attempt"],
            "supplier": change["supplier"],
            "region": change["region"],
            "reason": change["reason"],
        }
        yield _about(job, TRANSITION, change["at"], payload)


def settled(job: JobRecord, values: Mapping[str, Any]) -> Entry:
    """Record what a terminal job cost; `values` are the columns that its last transition gives it."""
    payload = {
        "status": values["status"],
        "error_code": values["error_code"],
        "supplier": values["supplier"],
        "region": values["region"],
        "micros_per_gpu_hour": values["rate"],
        "gpu_count": job.gpu_count,
        "duration_ms": values["duration_ms"],
        "cost_micros": values["cost"],
        "retail_micros": values["retail"],
        "released_micros": job.reserved,
    }
    return _about(job, SETTLED, values["finished_at"], payload)


def _about(job: JobRecord, kind: str, at: int, payload: Mapping[str, object]) -> Entry:
    about = {"simulated": job.is_simulated, **payload}
    return Entry(job.customer_id, kind, at, about, job.id, job.key_id, job.principal_kind)
