"""Metering: one record for every settled job, in the shape of a Stripe meter event, written with the settlement.

Nothing here calls anybody: `meter_queue` has the way out for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, insert

from nodus_core.meter_rules import NOTHING, PENDING

from ..database.rows import JobRecord
from ..database.trust_schema import meter_events

EVENT_NAME = "nodus_spend_micro_usd"
"""The meter: what `value` counts."""


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
        "value": values["cost"],
        "state": PENDING if values["cost"] else NOTHING,
    }


def identifier_of(job_id: str) -> str:
    """Return the identifier of a job's meter event: the same, however often it is sent."""
    return f"job_{job_id}"


def payload_of(job: Metered, cost: int) -> str:
    """Return the payload of a job's meter event: who pays what (micro-USD), and who asked for it.

    Our own name of the customer is replaced by Stripe's when it is sent.
    """
    payload = {
        "stripe_customer_id": job.customer_id,
        "value": str(cost),
        "principal_kind": job.principal_kind,
        "key_id": job.key_id,
        "job_id": job.id,
        "gpu": job.gpu,
    }
    return json.dumps(payload, separators=(",", ":"), sort_keys=True)
