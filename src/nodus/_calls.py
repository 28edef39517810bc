"""The REST API as data: one function an endpoint, each giving the call to make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from . import _arguments
from ._enums import JobStatus

if TYPE_CHECKING:
    from ._models import JobSpec


@dataclass(frozen=True, slots=True)
class Call:
    """One logical call: what every attempt at it sends.

    Attributes:
        method: in upper case.
        path: percent-encoded, from `/v1/` on, without the base URL's prefix.
        query: encoded, without the question mark.
        body: the exact bytes to sign and send.
        idempotency_key: on every POST.
        authenticated: whether credentials go with it.
        repeatable: whether sending it twice does no more than sending it once, so that it may be sent again after a
            drop; else only after an answer that says that nothing was done.
    """

    method: str
    path: str
    query: str = ""
    body: bytes = b""
    idempotency_key: str | None = None
    authenticated: bool = True
    repeatable: bool = True


def healthz() -> Call:
    return Call("GET", "/healthz", authenticated=False)


def submit_job(spec: JobSpec) -> Call:
    """`POST /v1/jobs`. The key goes into the body too, so that a signature covers it."""
    key = spec.idempotency_key if spec.idempotency_key is not None else _arguments.new_idempotency_key()
    body = spec.model_copy(update={"idempotency_key": key}).model_dump_json(exclude_none=True).encode()
    return Call("POST", "/v1/jobs", body=body, idempotency_key=key)


def get_job(job_id: str) -> Call:
    return Call("GET", f"/v1/jobs/{_segment(job_id)}")


def list_jobs(*, limit: int, cursor: str | None = None, statuses: Iterable[JobStatus] = ()) -> Call:
    query = {"limit": str(_arguments.whole_number("limit", limit, minimum=1))}
    if cursor is not None:
        query["cursor"] = cursor
    wanted = ",".join(status.value for status in statuses)
    if wanted:
        query["status"] = wanted
    return Call("GET", "/v1/jobs", query=urlencode(query))


def cancel_job(job_id: str) -> Call:
    key = _arguments.new_idempotency_key()
    return Call("POST", f"/v1/jobs/{_segment(job_id)}/cancel", idempotency_key=key)


def job_logs(job_id: str) -> Call:
    return Call("GET", f"/v1/jobs/{_segment(job_id)}/logs")


def key() -> Call:
    return Call("GET", "/v1/key")


def _segment(job_id: str) -> str:
    return quote(_arguments.job_id(job_id), safe="")
