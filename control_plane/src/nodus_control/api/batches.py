"""`POST /v1/jobs/batch`: many jobs in one request, each accepted, refused or found again by itself.

They are submitted in order, in transactions of a few jobs each, so that nobody else waits long for the locks that they
take. Whoever gets no answer may find any number of them accepted, counted from the first; the same request, sent
again, finds those and submits the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from nodus_core.spec import IDEMPOTENCY_KEY, InvalidSpec, JobSpec, is_idempotency_key, parse_spec
from nodus_ledger.errors import Refused
from nodus_ledger.jobs.submission import Submitted
from nodus_ledger.keys.keys import KeyRecord

from ..errors import ApiError, translate
from .jobs import Parts
from .requests import ApiRequest, in_writing_thread
from .views import job_view, to_json

MOST_JOBS = 200
AT_ONCE = 16
"""How many of them share a transaction."""

_Item = dict[str, Any]


def count_jobs(call: ApiRequest) -> int:
    """Return how many jobs a batch has, each of which counts for the rate limit; 1 for what is no batch."""
    try:
        return len(_jobs_of(call))
    except ApiError:
        return 1


def submit_batch(parts: Parts, call: ApiRequest, key: KeyRecord) -> BatchAnswer:
    """Submit several jobs.

    Raises:
        ApiError: 400 `invalid_json`; 422 `invalid_spec`, where the body is no batch, or `batch_too_large`.
    """
    return BatchAnswer(parts, key, [_read(each) for each in _jobs_of(call)])


@dataclass
class BatchAnswer:
    """Submits a batch in the event loop, a transaction after the other, and sends the results.

    Attributes:
        parts: what takes the jobs.
        key: the caller's.
        jobs: each with its idempotency key, or why it cannot be submitted.
    """

    parts: Parts
    key: KeyRecord
    jobs: Sequence[tuple[JobSpec, str] | ApiError]
    _results: list[_Item] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request.

        Raises:
            ApiError: 503 `busy` or `database_unavailable`, where not even the first jobs could be submitted.
        """
        for start in range(0, len(self.jobs), AT_ONCE):
            try:
                self._results += await in_writing_thread(self._submit, self.jobs[start : start + AT_ONCE])
            except ApiError as exc:
                if start == 0:
                    raise
                # What has been accepted is told; the others are to be sent again.
                self._results += [exc.as_item()] * (len(self.jobs) - start)
                break
        response = Response(to_json({"results": self._results}), media_type="application/json")
        await response(scope, receive, send)

    def _submit(self, jobs: Sequence[tuple[JobSpec, str] | ApiError]) -> list[_Item]:
        """Submit some of them in one transaction; return what is told of each."""
        now = self.parts.clock.now()
        good = [each for each in jobs if not isinstance(each, ApiError)]
        submitted = iter(self.parts.jobs.submit_all(self.key, good, now) if good else ())
        outcomes = [each if isinstance(each, ApiError) else next(submitted) for each in jobs]
        if any(isinstance(each, Submitted) and not each.replayed for each in outcomes):
            self.parts.wake()
        return [self._item(each, now) for each in outcomes]

    def _item(self, outcome: Submitted | Refused | ApiError, now: int) -> _Item:
        if isinstance(outcome, ApiError):
            return outcome.as_item()
        if isinstance(outcome, Refused):
            return translate(outcome).as_item()
        job = outcome.job
        last_seen = self.parts.jobs.last_seen([job])
        return {"job": job_view(job, now, last_seen), "replayed": outcome.replayed}


def _jobs_of(call: ApiRequest) -> list[dict[str, object]]:
    content = call.json()
    jobs = content.get("jobs") if isinstance(content, dict) and set(content) == {"jobs"} else None
    if not isinstance(jobs, list) or not jobs or not all(isinstance(each, dict) for each in jobs):
        raise ApiError(
            422,
            "invalid_spec",
            f"The body must be a JSON object with `jobs` alone, a list of 1 to {MOST_JOBS} objects that each describe "
            "a job.",
            extra={"field": "jobs"},
        )
    if len(jobs) > MOST_JOBS:
        raise ApiError(422, "batch_too_large", f"A batch may have {MOST_JOBS} jobs: send several.")
    return jobs


def _read(payload: dict[str, object]) -> tuple[JobSpec, str] | ApiError:
    """Return a job's spec and idempotency key, or why it has none that can be used."""
    own_key = payload.get(IDEMPOTENCY_KEY)
    if not is_idempotency_key(own_key):
        return ApiError(
            400,
            "invalid_idempotency_key",
            "Each job of a batch needs an `idempotency_key` of its own, 1 to 128 printable ASCII characters.",
        )
    try:
        return parse_spec(payload), str(own_key)
    except InvalidSpec as exc:
        return translate(exc)
