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

from nodus_core.times import timestamp
from nodus_core.webhook_events import EventType

from .prepared import Prepared
from .webhook_schema import deliveries, endpoints, outbox

PENDING = "pending"

_LIVE = select(endpoints.c.customer_id, endpoints.c.id, endpoints.c.events).where(
    endpoints.c.disabled_at.is_(None), endpoints.c.deleted_at.is_(None)
)
_LIVE_OF_ONE = Prepared(_LIVE.where(endpoints.c.customer_id == bindparam("customer")))
_LIVE_OF_SEVERAL = _LIVE.where(endpoints.c.customer_id.in_(bindparam("customers", expanding=True)))
_INSERT_EVENT = insert(outbox)
_INSERT_DELIVERY = insert(deliveries)


@dataclass(frozen=True, slots=True)
class Notice:
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


def publish(connection: Connection, notices: Sequence[Notice]) -> None:
    """Write events and their deliveries, due at once, inside the caller's transaction."""
    if not notices:
        return
    subscribers = _subscribers(connection, notices)
    event_rows: list[dict[str, Any]] = []
    delivery_rows: list[dict[str, Any]] = []
    for notice in notices:
        receivers = subscribers.get((notice.customer_id, notice.type.value))
        if not receivers:
            continue
        event_id = "evt_" + secrets.token_hex(16)
        event_rows.append(_event_row(event_id, notice))
        delivery_rows += [_delivery_row(event_id, endpoint_id, notice.at) for endpoint_id in receivers]
    if event_rows:
        connection.execute(_INSERT_EVENT, event_rows)
        connection.execute(_INSERT_DELIVERY, delivery_rows)


def _subscribers(connection: Connection, notices: Sequence[Notice]) -> dict[tuple[str, str], list[str]]:
    """Return the live endpoints by customer and event type."""
    customers = sorted({notice.customer_id for notice in notices})
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


def _event_row(event_id: str, notice: Notice) -> dict[str, Any]:
    envelope = {
        "id": event_id,
        "type": notice.type.value,
        "created_at": timestamp(notice.at),
        "data": {"job_id": notice.job_id, "principal_kind": notice.principal_kind, **notice.data},
    }
    return {
        "id": event_id,
        "customer_id": notice.customer_id,
        "type": notice.type.value,
        "created_at": notice.at,
        "job_id": notice.job_id,
        "key_id": notice.key_id,
        "principal_kind": notice.principal_kind,
        "body": json.dumps(envelope, separators=(",", ":")),
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
