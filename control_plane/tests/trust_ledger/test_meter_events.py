"""Meter events: one for every settled job, in the shape that a meter takes, handed over at least once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from trust_ledger.history import key_of, submit

from nodus_control.testing import LocalControlPlane
from nodus_ledger.jobs.meter_events import EVENT_NAME, MeterEvent, export_pending
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = pytest.mark.both_engines


class Keeper:
    """An exporter that keeps what it is given, or fails."""

    def __init__(self) -> None:
        self.events: list[MeterEvent] = []
        self.is_down = False

    def export(self, events: Sequence[MeterEvent]) -> None:
        if self.is_down:
            raise ConnectionError
        self.events.extend(events)


def test_a_settled_job_is_metered_with_who_asked_for_it(control_plane: LocalControlPlane) -> None:
    """The payload holds strings alone; the principal's kind is among them. What is simulated is not live."""
    keys, now = control_plane.plane.keys, control_plane.plane.clock.now
    minted = keys.mint(customer_id="acme", label="planner", principal_kind=PrincipalKind.AGENT, now=now(), is_test=True)
    key = key_of(control_plane, minted.api_key)
    job_id = submit(control_plane, key, 1)
    control_plane.advance(3600)
    job = control_plane.plane.jobs.get("acme", job_id)
    assert job.finished_at is not None
    keeper = Keeper()
    count = export_pending(control_plane.plane.database, keeper, now=now())

    assert count == 1
    assert keeper.events[0].document() == {
        "object": "billing.meter_event",
        "identifier": f"job_{job_id}",
        "event_name": EVENT_NAME,
        "timestamp": job.finished_at // 1000,
        "livemode": False,
        "payload": {
            "stripe_customer_id": "acme",
            "value": str(job.cost),
            "principal_kind": "agent",
            "key_id": key.id,
            "job_id": job_id,
            "gpu": "l40s",
        },
    }


def test_what_a_test_key_spends_is_not_live(control_plane: LocalControlPlane) -> None:
    """Nobody is billed for a simulation."""
    submit(control_plane, key_of(control_plane, control_plane.api_key), 1)
    control_plane.advance(3600)
    keeper = Keeper()
    export_pending(control_plane.plane.database, keeper, now=0)

    assert [event.livemode for event in keeper.events] == [False]


def test_events_are_handed_over_until_the_exporter_has_them(control_plane: LocalControlPlane) -> None:
    """What fails comes again under the same identifiers; what was taken does not."""
    human = key_of(control_plane, control_plane.api_key)
    ids = {f"job_{submit(control_plane, human, number)}" for number in range(5)}
    control_plane.advance(3600)
    keeper, database = Keeper(), control_plane.plane.database
    keeper.is_down = True
    with pytest.raises(ConnectionError):
        export_pending(database, keeper, now=0)
    keeper.is_down = False
    counts = [export_pending(database, keeper, now=0, limit=2) for _ in range(4)]

    assert counts == [2, 2, 1, 0]
    assert {event.identifier for event in keeper.events} == ids
    assert len(keeper.events) == 5
