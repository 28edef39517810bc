"""`/v1/jobs`: submit, list, read, cancel, and why a job went where it went."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from starlette.datastructures import QueryParams
from starlette.responses import Response

from nodus_core.job_labels import LABEL_KEY_RULE, LABEL_VALUE_RULE, MAX_LABELS, is_label_key, is_label_value
from nodus_core.lifecycle import JobStatus
from nodus_core.spec import (
    FIELDS,
    InvalidSpec,
    is_idempotency_key,
    parse_spec,
)
from nodus_core.times import read_time
from nodus_ledger.database.rows import JobRecord
from nodus_ledger.jobs.jobs import Jobs
from nodus_ledger.jobs.listing import Filters
from nodus_ledger.keys.keys import KeyRecord

from ..clock import Clock
from ..errors import ApiError
from .requests import ApiRequest
from .views import job_view, page_view, to_json

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

_DIGITS = re.compile(r"[0-9]+\Z")


class Parts(Protocol):
    """What these operations need of a control plane."""

    clock: Clock
    jobs: Jobs

    def wake(self) -> None:
        """Tell the worker that something has fallen due."""


def submit_job(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """Submit a job."""
    idempotency_key = call.require_idempotency_key()
    spec = parse_spec(call.json())
    submitted = parts.jobs.submit(key, spec, idempotency_key, parts.clock.now())
    if submitted.replayed:
        return _json(_view(parts, submitted.job), headers={"Idempotent-Replayed": "true"})
    parts.wake()
    return _json(_view(parts, submitted.job), status=202)


def list_jobs(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """List jobs, newest first."""
    parameters = call.parameters
    page = parts.jobs.list(
        key.customer_id,
        read_filters(parameters),
        limit=read_limit(parameters.get("limit")),
        cursor=parameters.get("cursor") or None,
    )
    return _json(page_view(page.jobs, page.next_cursor, parts.clock.now(), parts.jobs.last_seen(page.jobs)))


def get_job(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """Get a job."""
    return _json(_view(parts, parts.jobs.get(key.customer_id, call.path_params["job_id"])))


def cancel_job(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """Ask for the end of a job."""
    job = parts.jobs.request_cancel(key, call.path_params["job_id"], parts.clock.now())
    parts.wake()
    return _json(_view(parts, job))


def get_routing(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """Say why a job went where it went."""
    job = parts.jobs.get(key.customer_id, call.path_params["job_id"])
    number = call.parameters.get("attempt")
    attempt = None if number is None else _read_attempt(number)
    decision = parts.jobs.decision(job.id, attempt)
    if decision is None and attempt is not None:
        raise ApiError(404, "attempt_not_found", f"The job has no attempt {attempt} on record.")
    return _json(decision or {"attempt": None, "decision_sha256": None, "chosen": None, "candidates": []})


def read_limit(text: str | None) -> int:
    """Read the `limit` of a listing: 50 by default, at most 200.

    Raises:
        ApiError: 422 `invalid_query`.
    """
    if text is None:
        return DEFAULT_LIMIT
    limit = 0
    if _DIGITS.match(text):
        limit = int(text) if len(text) < 9 else MAX_LIMIT
    if limit < 1:
        raise _invalid(f"`limit` must be an integer, 1 or more; above {MAX_LIMIT} it is capped.")
    return min(limit, MAX_LIMIT)


def _read_attempt(text: str) -> int:
    if not _DIGITS.match(text) or not 0 < len(text) < 10:
        raise ApiError(422, "invalid_query", "`attempt` must be the number of an attempt: 1 or more.")
    return int(text)


def _view(parts: Parts, job: JobRecord) -> dict[str, Any]:
    return job_view(job, parts.clock.now(), parts.jobs.last_seen([job]))


def read_filters(parameters: QueryParams) -> Filters:
    """Read the filters of a listing of jobs: a value that no job could have is refused.

    Raises:
        ApiError: 422 `invalid_query`.
    """
    idempotency_key = parameters.get("idempotency_key")
    if idempotency_key is not None and not is_idempotency_key(idempotency_key):
        raise _invalid("`idempotency_key` must be 1 to 128 printable ASCII characters.")
    return Filters(
        statuses=_statuses(parameters.get("status")),
        name=_name(parameters.get("name")),
        labels=read_labels(parameters.getlist("label")),
        idempotency_key=idempotency_key,
        created_after=_time("created_after", parameters.get("created_after")),
        created_before=_time("created_before", parameters.get("created_before")),
    )


def _statuses(text: str | None) -> list[JobStatus]:
    if text is None:
        return []
    try:
        return [JobStatus(part) for part in text.split(",")]
    except ValueError:
        known = ", ".join(status.value for status in JobStatus)
        raise _invalid(f"`status` must be one or several, by comma, of {known}.") from None


def _name(text: str | None) -> str | None:
    try:
        name: str | None = FIELDS["name"].read(text)
    except InvalidSpec as exc:
        raise _invalid(exc.message) from None
    return name


def read_labels(texts: Sequence[str]) -> list[tuple[str, str | None]]:
    """Read the labels that jobs are to have: each a key with its value, or with None for any value.

    Raises:
        ApiError: 422 `invalid_query`.
    """
    if len(texts) > MAX_LABELS:
        raise _invalid(f"`label` may occur {MAX_LABELS} times.")
    labels: list[tuple[str, str | None]] = []
    for text in texts:
        key, colon, value = text.partition(":")
        if not is_label_key(key):
            raise _invalid(f"`label` must be a key, or key:value; a key is {LABEL_KEY_RULE}.")
        if not is_label_value(value):
            raise _invalid(f"`label` must have, after its first colon, {LABEL_VALUE_RULE}.")
        labels.append((key, value if colon else None))
    return labels


def _time(name: str, text: str | None) -> int | None:
    try:
        return None if text is None else read_time(text)
    except ValueError:
        example = "such as 2026-11-01T00:00:00Z or 2026-11-01T02:00:00%2B02:00, or a date, which begins in UTC"
        raise _invalid(f"`{name}` must be a time, {example}.") from None


def _invalid(message: str) -> ApiError:
    return ApiError(422, "invalid_query", message)


def _json(content: dict[str, object], *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json(content), status_code=status, headers=headers, media_type="application/json")
