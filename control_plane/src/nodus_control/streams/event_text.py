"""Transitions as server-sent events. Pure."""

from __future__ import annotations

import json

from nodus_core.times import timestamp
from nodus_ledger.jobs.event_log import EventRecord


def encode(event: EventRecord, *, of_job: bool) -> bytes:
    """Return an event as it is sent on the stream of its job, or of all of its customer's."""
    data = {
        "seq": event.seq,
        "job_id": event.job_id,
        "status": event.status,
        "at": timestamp(event.at),
        "attempt": event.attempt,
        "supplier": event.supplier,
        "region": event.region,
        "reason": event.reason,
        "simulated": event.is_simulated,
    }
    number = event.seq if of_job else event.position
    return f"id: {number}\nevent: status\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
