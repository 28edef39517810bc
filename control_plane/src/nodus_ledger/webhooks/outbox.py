"""The transactional outbox: an event is written in the same transaction as the change that it reports.

One row is written for every endpoint that should get the event, and none if nobody subscribed to it. The body is fixed
here, to the byte, so that every attempt sends the same.
"""

from __future__ import annotations

import json
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select

from nodus_core.json_numbers import plain_numbers
from nodus_core.times import timestamp
from nodus_core.webhook_events import EventType

from ..database.prepared import Prepared
from ..database.webhook_schema import deliveries, endpoints, outbox

PENDING = "pending"

_LIVE = select(endpoints.c.customer_id, endpoints.c.id, endpoints.c.events).where(
    endpoints.c.disabled_at.is_(None), endpoints.c.deleted_at.is_(None)
)
_LIVE_OF_ONE = Prepared(_LIVE.where(endpoints.c.customer_id == bindparam("customer")))
_LIVE_OF_SEVERAL = _LIVE.where(endpoints.c.customer_id.in_(bindparam("customers", expanding=True)))
_INSERT_EVENT = insert(outbox)
_INSERT_DELIVERY = insert(deliveries)


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """An event to publish: `at` in Unix milliseconds, `data` as it goes on the wire.

    `job_id` and `principal_kind` are added to the data; the key's id stays in the row.
    """

    type: EventType
    customer_id: str
    key_id: str
    principal_kind: str
    at: int
    data: Mapping[str, object]
    job_id: str | None = None


def publish(connection: Connection, webhook_events: Sequence[WebhookEvent]) -> None:
    """Write events and their deliveries, due at once, inside the caller's transaction."""
    if not webhook_events:
        return
    subscribers = _subscribers(connection, webhook_events)
    event_rows: list[dict[str, Any]] = []
    delivery_rows: list[dict[str, Any]] = []
    for webhook_event in webhook_events:
        receivers = subscribers.get((webhook_event.customer_id, webhook_event.type.value))
        if not receivers:
            continue
        event_id = "evt_" + secrets.token_hex(16)
        event_rows.append(_event_row(event_id, webhook_event))
        delivery_rows += [_delivery_row(event_id, endpoint_id, webhook_event.at) for endpoint_id in receivers]
    if event_rows:
        connection.execute(_INSERT_EVENT, event_rows)
        connection.execute(_INSERT_DELIVERY, delivery_rows)


def _subscribers(connection: Connection, webhook_events: Sequence[WebhookEvent]) -> dict[tuple[str, str], list[str]]:
    """Return the live endpoints by customer and event type."""
    customers = sorted({webhook_event.customer_id for webhook_event in webhook_events})
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    rows: Iterable[Sequence[Any]]
    if len(customers) == 1:
        rows = _LIVE_OF_ONE.all(connection, {"customer": customers[0]})
    else:
        rows = connection.execute(_LIVE_OF_SEVERAL, {"customers": customers})
    for customer_id, endpoint_id, types in rows:
        for kind in types.split(","):
            found[customer_id, kind].append(endpoint_id)
    return found


def _event_row(event_id: str, webhook_event: WebhookEvent) -> dict[str, Any]:
    envelope = {
        "id": event_id,
        "type": webhook_event.type.value,
        "created_at": timestamp(webhook_event.at),
        "data": {"job_id": webhook_event.job_id, "principal_kind": webhook_event.principal_kind, **webhook_event.data},
    }
    return {
        "id": event_id,
        "customer_id": webhook_event.customer_id,
        "type": webhook_event.type.value,
        "created_at": webhook_event.at,
        "job_id": webhook_event.job_id,
        "key_id": webhook_event.key_id,
        "principal_kind": webhook_event.principal_kind,
        "body": plain_numbers(json.dumps(envelope, separators=(",", ":"))),
    }


def _delivery_row(event_id: str, endpoint_id: str, at: int) -> dict[str, Any]:
    return {
        "id": "dlv_" + secrets.token_hex(16),
        "event_id": event_id,
        "endpoint_id": endpoint_id,
        "status": PENDING,
        "tries": 0,
        "due_at": at,
        "generation": 0,
    }
