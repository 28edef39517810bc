"""Events about a job tell what it is called, and its labels."""

from __future__ import annotations

import pytest
from webhooks.receiver import Receiver

import nodus
from nodus_control.testing import LocalControlPlane

pytestmark = pytest.mark.both_engines


def test_events_about_a_job_tell_its_name_and_labels(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """When it is placed and when it ends; null, and an empty object, where it has none."""
    hook = client.webhooks.create(receiver.url, ["job.placed", "job.completed", "job.cancelled"])
    labels = {"team": "夜", "gpu-test": ""}
    client.run(
        image="a/b",
        name="夜間 1",
        labels=labels,
        env={"NODUS_SIM_DURATION_SECONDS": "60", "NODUS_SIM_OUTCOME": "completed"},
    )
    client.run(image="a/b").cancel()
    control_plane.advance(3600)

    told = [request.event(str(hook.secret)) for request in receiver.requests]

    assert sorted((event.type, event.name or "") for event in told) == [
        ("job.cancelled", ""),
        ("job.completed", "夜間 1"),
        ("job.placed", ""),
        ("job.placed", "夜間 1"),
    ]
    assert all("name" in event.data for event in told)
    assert all(event.data["labels"] == event.labels == (labels if event.name else {}) for event in told)
