"""The operations of the API, in one table. `openapi.json` describes them; a test holds the two equal."""

from __future__ import annotations

from . import batches, events, health, jobs, keys, ledger, logs, offers, quotes, statements, usage, webhooks
from .openapi import get_document
from .operations import Access, Endpoint, OpenOperation, Operation
from .requests import Work

_NO_WEBHOOKS_OF_AGENTS = "create, rotate, enable or delete webhooks, nor replay their deliveries"


def _of_owners(method: str, path: str, endpoint: Endpoint) -> Operation:
    """Return an operation that changes webhooks: an agent may not decide where a customer's events go."""
    return Operation(method, path, endpoint, Access.NO_AGENTS, work=Work.WRITES, refusal=_NO_WEBHOOKS_OF_AGENTS)


# Paths are tried in this order, so what is asked for most comes first.
OPERATIONS: tuple[Operation | OpenOperation, ...] = (
    Operation("GET", "/v1/jobs/{job_id}", jobs.get_job, work=Work.LOOKS_UP),
    Operation("GET", "/v1/jobs", jobs.list_jobs),
    Operation("POST", "/v1/jobs", jobs.submit_job, work=Work.RECORDS),
    Operation("POST", "/v1/jobs/batch", batches.submit_batch, work=Work.WRITES, tokens=batches.count_jobs),
    Operation("POST", "/v1/jobs/{job_id}/cancel", jobs.cancel_job, work=Work.RECORDS),
    Operation("GET", "/v1/jobs/{job_id}/routing", jobs.get_routing),
    Operation("GET", "/v1/jobs/{job_id}/events", events.follow_job),
    Operation("GET", "/v1/jobs/{job_id}/logs", logs.get_logs),
    Operation("GET", "/v1/events", events.follow_events),
    Operation("GET", "/v1/key", keys.get_key),
    Operation("GET", "/v1/offers", offers.list_offers),
    Operation("GET", "/v1/usage", usage.get_usage),
    Operation("POST", "/v1/quotes", quotes.quote, work=Work.WRITES),
    Operation("GET", "/v1/ledger", ledger.list_entries),
    Operation("GET", "/v1/ledger/key", ledger.get_key),
    Operation("GET", "/v1/ledger/checkpoint", ledger.get_checkpoint, work=Work.WRITES),
    Operation("GET", "/v1/ledger/consistency", ledger.get_consistency),
    Operation("GET", "/v1/ledger/{seq}/proof", ledger.get_proof),
    Operation(
        "GET",
        "/v1/ledger/statement",
        statements.get_statement,
        Access.NO_AGENTS,
        work=Work.WRITES,
        refusal="read statements, which show what all keys of the customer did: ask for the rows of its own jobs",
    ),
    _of_owners("POST", "/v1/webhooks", webhooks.create_webhook),
    Operation("GET", "/v1/webhooks", webhooks.list_webhooks),
    Operation("GET", "/v1/webhooks/{webhook_id}", webhooks.get_webhook),
    _of_owners("DELETE", "/v1/webhooks/{webhook_id}", webhooks.delete_webhook),
    _of_owners("POST", "/v1/webhooks/{webhook_id}/rotate", webhooks.rotate_webhook),
    _of_owners("POST", "/v1/webhooks/{webhook_id}/enable", webhooks.enable_webhook),
    Operation("GET", "/v1/webhooks/{webhook_id}/deliveries", webhooks.list_deliveries),
    _of_owners("POST", "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay", webhooks.replay_delivery),
    OpenOperation("GET", "/healthz", health.healthz),
    OpenOperation("GET", "/readyz", health.readyz),
    OpenOperation("GET", "/openapi.json", get_document),
    OpenOperation("HEAD", "/openapi.json", get_document),
)
