"""Meter events: one for every settled job, in the shape that a meter takes."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select
from trust_ledger.history import key_of, submit

from nodus_control.testing import LocalControlPlane
from nodus_ledger.database.trust_schema import meter_events
from nodus_ledger.jobs.meter_events import EVENT_NAME
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = pytest.mark.both_engines


def test_a_settled_job_is_metered_with_who_asked_for_it(control_plane: LocalControlPlane) -> None:
    """The payload holds strings alone; the principal's kind is among them. What is simulated is not live."""
    keys, now = control_plane.plane.keys, control_plane.plane.clock.now
    minted = keys.mint(customer_id="acme", label="planner", principal_kind=PrincipalKind.AGENT, now=now(), is_test=True)
    key = key_of(control_plane, minted.api_key)
    job_id = submit(control_plane, key, 1)
    control_plane.advance(3600)
    job = control_plane.plane.jobs.get("acme", job_id)
    assert job.finished_at is not None
    with control_plane.plane.database.read() as connection:
        row = connection.execute(select(meter_events)).one()

    assert (row.identifier, row.customer_id, row.event_name) == (f"job_{job_id}", "acme", EVENT_NAME)
    assert (row.timestamp, row.livemode) == (job.finished_at // 1000, False)
    assert (row.value, row.state, row.first_sent_at) == (job.cost, "pending", None)
    assert json.loads(row.payload) == {
        "stripe_customer_id": "acme",
        "value": str(job.cost),
        "principal_kind": "agent",
        "key_id": key.id,
        "job_id": job_id,
        "gpu": "l40s",
    }


def test_what_costs_nothing_is_never_sent(control_plane: LocalControlPlane) -> None:
    """A job that was cancelled before it ran has an event, which has nothing to say to anybody."""
    key = key_of(control_plane, control_plane.api_key)
    control_plane.plane.jobs.request_cancel(key, submit(control_plane, key, 1), control_plane.plane.clock.now())
    control_plane.advance(3600)
    with control_plane.plane.database.read() as connection:
        row = connection.execute(select(meter_events.c.value, meter_events.c.state)).one()

    assert tuple(row) == (0, "nothing")
