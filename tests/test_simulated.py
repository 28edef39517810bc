"""What is simulated says so: nothing ran, and nothing was charged."""

from __future__ import annotations

import json

import pytest

import nodus

SECRET = "whsec_4a9e000000000000000000000000a1"


def delivered(kind: str, **data: object) -> nodus.WebhookEvent:
    """The event of a genuine delivery."""
    body = json.dumps({"id": "evt_1", "type": kind, "created_at": "2026-01-01T00:00:03Z", "data": data}).encode()
    signed = nodus.sign_request(signing_secret=SECRET, method="POST", path="/nodus", body=body)
    return nodus.construct_event(
        body=body, signature_header=signed["Nodus-Signature"], signing_secret=SECRET, path="/nodus"
    )


@pytest.mark.parametrize(("said", "expected"), [(True, True), (False, False), (None, None), ("yes", None), (1, None)])
def test_a_delivery_says_whether_its_job_was_simulated(said: object, expected: bool | None) -> None:
    """An older server does not; what is neither true nor false is not taken for it."""
    assert delivered("job.completed", simulated=said).simulated is expected
    assert delivered("job.failed").simulated is None


def test_a_view_says_whether_its_job_is_simulated() -> None:
    """The value is None if the server does not say."""
    views = [
        nodus.JobView.model_validate({"id": "a", "status": "running", **more})
        for more in ({"simulated": True}, {"simulated": False}, {})
    ]

    assert [view.simulated for view in views] == [True, False, None]
