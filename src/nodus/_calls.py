"""The REST API as data: one function per endpoint, each returning the call to make."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote as percent_encoded
from urllib.parse import urlencode

from . import _arguments, _bodies

if TYPE_CHECKING:
    from ._models import JobSpec

EVENT_STREAM = "text/event-stream"

MIN_SECRET_LENGTH = 6
"""How long a value of `env` must be to be redacted from an error that repeats it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One logical call: what every attempt at it sends.

    Attributes:
        method: in upper case.
        path: percent-encoded, starting with `/v1/`, without the base URL's prefix.
        query: encoded, without the question mark.
        body: the exact bytes to sign and send.
        idempotency_key: set for every POST.
        authenticated: whether to send credentials.
        repeatable: whether sending it twice has the same effect as sending it once, so that it may be retried after a
            dropped connection; otherwise it is retried only after a response that says that nothing was done.
        secrets: values in the body that no error may show, should the response repeat them.
        accept: the media type to ask for.
        headers: further headers.
        max_bytes: how large the body of the response may be, unpacked.
    """

    method: str
    path: str
    query: str = ""
    body: bytes = b""
    idempotency_key: str | None = None
    authenticated: bool = True
    repeatable: bool = True
    secrets: tuple[str, ...] = field(default=(), repr=False)
    accept: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    max_bytes: int = _bodies.MAX_JSON_BYTES


def healthz() -> Call:
    return Call("GET", "/healthz", authenticated=False)


def submit_job(spec: JobSpec) -> Call:
    """`POST /v1/jobs`. The key goes into the body too, so that a signature covers it."""
    key = spec.idempotency_key if spec.idempotency_key is not None else _arguments.new_idempotency_key()
    body = spec.model_copy(update={"idempotency_key": key}).model_dump_json(exclude_none=True).encode()
    return Call("POST", "/v1/jobs", body=body, idempotency_key=key, secrets=secrets_of(spec))


def quote(spec: JobSpec) -> Call:
    """`POST /v1/quotes`. Asking changes nothing, so it may be repeated."""
    body = spec.model_copy(update={"idempotency_key": None}).model_dump_json(exclude_none=True).encode()
    key = _arguments.new_idempotency_key()
    return Call("POST", "/v1/quotes", body=body, idempotency_key=key, secrets=secrets_of(spec))


def submit_batch(contents: Sequence[bytes], secrets: tuple[str, ...]) -> Call:
    """`POST /v1/jobs/batch`. Each spec, as JSON, has its own idempotency key, so it can be sent again."""
    body = b'{"jobs":[' + b",".join(contents) + b"]}"
    return Call("POST", "/v1/jobs/batch", body=body, idempotency_key=_arguments.new_idempotency_key(), secrets=secrets)


def secrets_of(*specs: JobSpec) -> tuple[str, ...]:
    """Return what no error about these specs may show: the values of `env`."""
    # A shorter value is no secret, and redacting it would garble unrelated text.
    return tuple(value for spec in specs for value in (spec.env or {}).values() if len(value) >= MIN_SECRET_LENGTH)


def get_job(job_id: str) -> Call:
    return Call("GET", f"/v1/jobs/{_segment(job_id)}")


def list_jobs(*, limit: int, cursor: str | None = None, filters: Iterable[tuple[str, str]] = ()) -> Call:
    """`GET /v1/jobs`. The filters are parameters of the query, already checked."""
    query = {"limit": str(_arguments.whole_number("limit", limit, minimum=1))}
    if cursor is not None:
        query["cursor"] = cursor
    return Call("GET", "/v1/jobs", query=urlencode([*query.items(), *filters]))


def cancel_job(job_id: str) -> Call:
    key = _arguments.new_idempotency_key()
    return Call("POST", f"/v1/jobs/{_segment(job_id)}/cancel", idempotency_key=key)


def job_logs(job_id: str) -> Call:
    return Call("GET", f"/v1/jobs/{_segment(job_id)}/logs", max_bytes=_bodies.MAX_LOG_BYTES)


def follow_logs(job_id: str, *, offset: int, follow: bool) -> Call:
    """`GET …/logs` from byte `offset`: as the job prints (`follow`), or what there is."""
    headers = (("Range", f"bytes={offset}-"),) if offset else ()
    query = "follow=true" if follow else ""
    return Call("GET", f"/v1/jobs/{_segment(job_id)}/logs", query=query, accept="text/plain", headers=headers)


def job_routing(job_id: str) -> Call:
    return Call("GET", f"/v1/jobs/{_segment(job_id)}/routing")


def job_events(job_id: str, *, after: str | None) -> Call:
    return Call("GET", f"/v1/jobs/{_segment(job_id)}/events", accept=EVENT_STREAM, headers=_last_event(after))


def all_events(*, after: str | None, resumes: bool) -> Call:
    """`GET /v1/events`. `after` is where the caller wants to begin; in a stream that `resumes`, the last event's id."""
    query = {} if after is None else {"after": after}
    headers = _last_event(after) if resumes else ()
    return Call("GET", "/v1/events", query=urlencode(query), accept=EVENT_STREAM, headers=headers)


def offers(*, gpu: str | None = None) -> Call:
    query = {} if gpu is None else {"gpu": _arguments.gpu_model("gpu", gpu)}
    return Call("GET", "/v1/offers", query=urlencode(query))


def usage(query: Iterable[tuple[str, str]]) -> Call:
    """`GET /v1/usage`. The parameters are already checked."""
    return Call("GET", "/v1/usage", query=urlencode(list(query)))


def key() -> Call:
    return Call("GET", "/v1/key")


def create_webhook(url: str, events: Iterable[str]) -> Call:
    body = json.dumps({"url": url, "events": list(events)}, ensure_ascii=False).encode()
    return _post_once("/v1/webhooks", body)


def list_webhooks() -> Call:
    return Call("GET", "/v1/webhooks")


def get_webhook(webhook_id: str) -> Call:
    return Call("GET", _webhook(webhook_id))


def delete_webhook(webhook_id: str) -> Call:
    return Call("DELETE", _webhook(webhook_id))


def rotate_webhook(webhook_id: str) -> Call:
    return _post_once(f"{_webhook(webhook_id)}/rotate")


def enable_webhook(webhook_id: str) -> Call:
    # Enabling an endpoint twice has the same effect as once, so it is repeatable.
    return Call("POST", f"{_webhook(webhook_id)}/enable", idempotency_key=_arguments.new_idempotency_key())


def list_deliveries(webhook_id: str, *, limit: int, cursor: str | None = None) -> Call:
    query = {"limit": str(_arguments.whole_number("limit", limit, minimum=1))}
    if cursor is not None:
        query["cursor"] = cursor
    return Call("GET", f"{_webhook(webhook_id)}/deliveries", query=urlencode(query))


def replay_delivery(webhook_id: str, delivery_id: str) -> Call:
    delivery = percent_encoded(_arguments.identifier("delivery", delivery_id), safe="")
    return _post_once(f"{_webhook(webhook_id)}/deliveries/{delivery}/replay")


def ledger_entries(*, job_id: str | None = None, after: int = 0, limit: int | None = None) -> Call:
    query = {"after": str(_arguments.whole_number("after", after, minimum=0))}
    if job_id is not None:
        query["job_id"] = _arguments.job_id(job_id)
    if limit is not None:
        query["limit"] = str(_arguments.whole_number("limit", limit, minimum=1))
    return Call("GET", "/v1/ledger", query=urlencode(query))


def ledger_key() -> Call:
    return Call("GET", "/v1/ledger/key")


def ledger_checkpoint() -> Call:
    return Call("GET", "/v1/ledger/checkpoint")


def ledger_statement(month: str) -> Call:
    return Call("GET", "/v1/ledger/statement", query=urlencode({"month": _arguments.month(month)}))


def ledger_proof(seq: int, *, size: int | None = None) -> Call:
    row = _arguments.whole_number("seq", seq, minimum=1)
    query = {} if size is None else {"size": str(_arguments.whole_number("size", size, minimum=row))}
    return Call("GET", f"/v1/ledger/{row}/proof", query=urlencode(query))


def ledger_consistency(from_size: int, to_size: int) -> Call:
    start = _arguments.whole_number("from_size", from_size, minimum=1)
    query = {"from": str(start), "to": str(_arguments.whole_number("to_size", to_size, minimum=start))}
    return Call("GET", "/v1/ledger/consistency", query=urlencode(query))


def _last_event(id: str | None) -> tuple[tuple[str, str], ...]:
    # An id that a header cannot carry is left out: the server then repeats events, which `_reconnect.Progress` drops.
    return (("Last-Event-ID", id),) if id is not None and id.isascii() and id.isprintable() else ()


def _post_once(path: str, body: bytes = b"") -> Call:
    """A POST that would be done twice if it were sent twice: the server does not look at its idempotency key."""
    return Call("POST", path, body=body, idempotency_key=_arguments.new_idempotency_key(), repeatable=False)


def _webhook(webhook_id: str) -> str:
    return f"/v1/webhooks/{percent_encoded(_arguments.identifier('webhook', webhook_id), safe='')}"


def _segment(job_id: str) -> str:
    return percent_encoded(_arguments.job_id(job_id), safe="")
