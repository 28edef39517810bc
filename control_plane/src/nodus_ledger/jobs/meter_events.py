"""Metering: one record for every settled job, in the shape of a Stripe meter event, and the way out for them.

Nothing here calls anybody. Whoever sends meter events implements `MeterExporter`; `export_pending` hands them over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, bindparam, insert, select, update

from ..database.database import Database
from ..database.rows import JobRecord
from ..database.trust_schema import meter_events

EVENT_NAME = "nodus_spend_micro_usd"
"""The meter: what `value` counts."""

_PENDING = (
    select(
        meter_events.c.identifier,
        meter_events.c.event_name,
        meter_events.c.timestamp,
        meter_events.c.livemode,
        meter_events.c.payload,
    )
    .where(meter_events.c.exported_at.is_(None))
    .order_by(meter_events.c.timestamp, meter_events.c.identifier)
    .limit(bindparam("at_most"))
)
_MARK = (
    update(meter_events)
    .where(meter_events.c.identifier == bindparam("of_identifier"))
    .values(exported_at=bindparam("to_exported_at"))
)


@dataclass(frozen=True, slots=True)
class MeterEvent:
    """One meter event. The same identifier is the same event, however often it is sent; `timestamp` is Unix seconds."""

    identifier: str
    event_name: str
    timestamp: int
    livemode: bool
    payload: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """Return the event as JSON that a meter takes."""
        return {
            "object": "billing.meter_event",
            "identifier": self.identifier,
            "event_name": self.event_name,
            "timestamp": self.timestamp,
            "livemode": self.livemode,
            "payload": dict(self.payload),
        }


class Metered(Protocol):
    """What a meter event says of a job."""

    @property
    def id(self) -> str: ...

    @property
    def customer_id(self) -> str: ...

    @property
    def key_id(self) -> str: ...

    @property
    def principal_kind(self) -> str: ...

    @property
    def gpu(self) -> str: ...


class MeterExporter(Protocol):
    """Takes meter events to where they are billed."""

    def export(self, events: Sequence[MeterEvent]) -> None:
        """Take these events over for good, or raise: then they come again, under the same identifiers."""
        ...


def record(connection: Connection, settled: Sequence[tuple[JobRecord, Mapping[str, Any]]]) -> None:
    """Write a meter event for each job that is being settled, given with its new columns."""
    if not settled:
        return
    connection.execute(insert(meter_events), [meter_event_values(job, values) for job, values in settled])


def meter_event_values(job: JobRecord, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of `meter_events` for a job that is being settled; `values` are its new columns."""
    return {
        "identifier": identifier_of(job.id),
        "customer_id": job.customer_id,
        "event_name": EVENT_NAME,
        "timestamp": values["finished_at"] // 1000,
        "livemode": not job.is_simulated,
        "payload": payload_of(job, values["cost"]),
    }


def identifier_of(job_id: str) -> str:
    """Return the identifier of a job's meter event: the same, however often it is sent."""
    return f"job_{job_id}"


def payload_of(job: Metered, cost: int) -> str:
    """Return the payload of a job's meter event: who pays what (micro-USD), and who asked for it."""
    payload = {
        "stripe_customer_id": job.customer_id,
        "value": str(cost),
        "principal_kind": job.principal_kind,
        "key_id": job.key_id,
        "job_id": job.id,
        "gpu": job.gpu,
    }
    return json.dumps(payload, separators=(",", ":"), sort_keys=True)


def export_pending(database: Database, exporter: MeterExporter, *, now: int, limit: int = 100) -> int:
    """Hand over the oldest events that no exporter has; return how many there were.

    An event is marked once the exporter has returned: after a crash in between it comes again, and the identifier
    tells. What the exporter raises goes on to the caller, and nothing is marked.
    """
    with database.read() as connection:
        rows = connection.execute(_PENDING, {"at_most": limit}).all()
    events = [
        MeterEvent(row.identifier, row.event_name, row.timestamp, row.livemode, json.loads(row.payload)) for row in rows
    ]
    if not events:
        return 0
    exporter.export(events)
    with database.write() as connection:
        connection.execute(_MARK, [{"of_identifier": event.identifier, "to_exported_at": now} for event in events])
    return len(events)
