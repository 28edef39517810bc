"""What is on record of a placement before any driver learns of it, and of a job that nobody can take."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from nodus_core import routing
from nodus_core.catalogue import Offer
from nodus_core.decisions import decision_document
from nodus_core.lifecycle import Change, JobStatus
from nodus_core.money import usd
from nodus_core.routing import Decision

from ..database.rows import UNPRICED, JobRecord
from ..database.schema import api_keys, attempts
from .settlement import AttemptEnd
from .wants import ClosedAttempt


class Decided(NamedTuple):
    """A decision as it is kept, and its hash."""

    text: str
    sha256: str


@lru_cache(maxsize=256)
def decided(decision: Decision, gpu: str, catalogue_sha256: str) -> Decided:
    """Write a decision down; the same one is written once."""
    document = decision_document(decision, gpu, catalogue_sha256)
    return Decided(json.dumps(document, separators=(",", ":")), document["decision_sha256"])


def attempt_row(
    job_id: str,
    number: int,
    offer: Offer | None,
    now: int,
    written: Decided,
    indices: Sequence[int] | None = None,
    retail_rate: int | None = None,
) -> dict[str, Any]:
    """Return the columns of an attempt that begins now; of one that nobody takes, without an offer.

    `retail_rate` is what retail is now, in micro-USD per GPU-hour; None where nobody knows. It stays what it was, like
    the offer's own rate.
    """
    return {
        "job_id": job_id,
        "attempt": number,
        "supplier": "" if offer is None else offer.supplier,
        "region": "" if offer is None else offer.region,
        "rate": 0 if offer is None else offer.micros_per_gpu_hour,
        "placed_at": now,
        "decision": written.text,
        "gpu_indices": None if indices is None else ",".join(map(str, indices)),
        "retail_rate": UNPRICED if retail_rate is None else retail_rate,
    }


def no_supplier(now: int, decision: Decision) -> Change:
    """Return the end of a job that nobody can take."""
    rejections = {each.rejected for each in decision.candidates}.difference(routing.NOT_OFFERED)
    code = "no_supplier"
    message = "Every supplier that offers this is out, was full, or has lost this job before."
    if not rejections:
        message = "No supplier offers this any more."
    elif routing.OVER_MAX_COST in rejections:
        code = "max_cost_too_low"
        message = "Where the job could go, its first minute alone costs more than its max_cost_usd."
    elif rejections == {routing.CANNOT_RUN}:
        code = "cannot_run"
        message = "No supplier that offers this can run the job, or takes jobs of this customer."
    return Change(to=JobStatus.FAILED, at=now, error_code=code, error_message=message, reason=code)


def over_budget(now: int, needs: int, cap: int) -> Change:
    """Return the end of a job for which more would have to be reserved than its key's whole cap."""
    message = (
        f"The job needs ${usd(needs):.2f} at least, which is more than its key's monthly cap of ${usd(cap):.2f}: "
        "raise the cap, or submit it with a lower max_runtime_seconds or max_cost_usd."
    )
    return Change(to=JobStatus.FAILED, at=now, error_code="over_budget", error_message=message, reason="over_budget")


def waited_too_long(now: int, seconds: int) -> Change:
    """Return the end of a job that has not run within its `queue_timeout_seconds`."""
    return Change(
        to=JobStatus.FAILED,
        at=now,
        error_code="queue_timeout",
        error_message=f"The job did not run within its queue_timeout_seconds of {seconds}.",
        reason="queue_timeout",
    )


def nowhere(now: int) -> AttemptEnd:
    """Return the end of the attempt that such a job has not had."""
    return AttemptEnd(outcome="refused", started_at=None, ended_at=now)


def closed_attempts(connection: Connection, job_ids: Sequence[str]) -> dict[str, list[ClosedAttempt]]:
    """Read the attempts of jobs that are over, by job id."""
    found: dict[str, list[ClosedAttempt]] = defaultdict(list)
    if job_ids:
        query = select(
            attempts.c.job_id, attempts.c.supplier, attempts.c.region, attempts.c.outcome, attempts.c.ended_at
        ).where(attempts.c.job_id.in_(job_ids), attempts.c.outcome.is_not(None))
        for row in connection.execute(query):
            found[row.job_id].append(ClosedAttempt(row.supplier, row.region, row.outcome, row.ended_at or 0))
    return found


def orphans(connection: Connection, jobs: Sequence[JobRecord], *, simulated: bool) -> set[str]:
    """Return which jobs nobody may begin, of those from before it was recorded what is simulated.

    A live key's was promised more than a simulation; and one that counts as simulated must not run anything.
    """
    unrecorded = [job for job in jobs if job.simulated is None]
    if not unrecorded:
        return set()
    key_ids = {job.key_id for job in unrecorded}
    query = select(api_keys.c.id).where(api_keys.c.id.in_(key_ids), api_keys.c.is_test)
    test_keys = set(connection.execute(query).scalars()) if simulated else set()
    return {job.id for job in unrecorded if job.key_id not in test_keys}
