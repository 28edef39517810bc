"""Who asked for it: the principal's kind goes from the key to everything that is told of what it did."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest
from keys.callers import Minted
from sqlalchemy import select
from webhooks.receiver import Receiver

import nodus
from nodus_control.testing import LocalControlPlane
from nodus_ledger.database.trust_schema import meter_events
from nodus_ledger.keys.keys import PrincipalKind

KINDS = [kind.value for kind in PrincipalKind]
EVENTS = ["job.placed", "job.completed", "job.failed", "job.cancelled", "budget.threshold_reached", "budget.exceeded"]
QUICK = {"NODUS_SIM_DURATION_SECONDS": "60"}


def mint(
    control_plane: LocalControlPlane,
    kind: str,
    customer_id: str,
    cap_usd: float | None = 30,
    threshold: float | None = None,
) -> Minted:
    """Mint a test key."""
    minted = control_plane.plane.keys.mint(
        customer_id=customer_id,
        label=f"{kind}'s",
        principal_kind=PrincipalKind(kind),
        now=control_plane.plane.clock.now(),
        monthly_cap=None if cap_usd is None else round(cap_usd * 1_000_000),
        is_test=True,
        threshold=threshold,
    )
    return Minted(minted.id, minted.api_key, minted.signing_secret)


@pytest.mark.both_engines
@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_is_told_of_a_job_says_who_asked(control_plane: LocalControlPlane, kind: str) -> None:
    """Ledger rows, webhooks, meter events, views: each names the key and its principal's kind."""
    owner, key = mint(control_plane, "human", "acme", None), mint(control_plane, kind, "acme", 3.1)
    with ExitStack() as stack:
        receiver = stack.enter_context(Receiver())
        owning = stack.enter_context(nodus.Client(owner.api_key, base_url=control_plane.base_url))
        client = stack.enter_context(nodus.Client(key.api_key, base_url=control_plane.base_url))
        owning.webhooks.create(receiver.url, EVENTS)
        jobs = [
            client.run(image="train", env=QUICK),
            client.run(image="train", env={**QUICK, "NODUS_SIM_OUTCOME": "failed"}),
        ]
        with pytest.raises(nodus.BudgetExceededError):
            client.run(image="train", gpu_count=8)
        control_plane.advance(3600)
        jobs.append(client.run(image="train", env=QUICK))
        jobs[-1].cancel()
        control_plane.advance(3600)
        bodies = [json.loads(request.body) for request in receiver.wait_for(8)]
        entries = [entry for entry in owning.ledger.entries() if entry.key_id == key.key_id]
        shown = client.key()
        views = [control_plane.plane.jobs.get("acme", job.id).principal_kind for job in jobs]
    with control_plane.plane.database.read() as connection:
        metered = [json.loads(payload) for payload in connection.execute(select(meter_events.c.payload)).scalars()]

    assert {body["type"] for body in bodies} == set(EVENTS)
    assert {body["data"]["principal_kind"] for body in bodies} == {kind}
    assert {entry.kind for entry in entries} >= {
        "key.minted",
        "job.submitted",
        "attempt.opened",
        "attempt.ended",
        "job.transition",
        "job.settled",
        "budget.threshold_reached",
        "budget.exceeded",
    }
    assert {str(entry.principal_kind.value) for entry in entries if entry.principal_kind} == {kind}
    assert all(entry.principal_kind is not None for entry in entries)
    assert {payload["principal_kind"] for payload in metered} == {kind}
    assert {payload["key_id"] for payload in metered} == {key.key_id}
    assert len(metered) == 3
    assert (shown.principal_kind, set(views)) == (nodus.PrincipalKind(kind), {kind})


@pytest.mark.parametrize(("own", "expected"), [(None, 0.8), (0.3, 0.3), (1.0, None)])
def test_a_key_may_have_a_threshold_of_its_own(
    control_plane: LocalControlPlane, own: float | None, expected: float | None
) -> None:
    """Else the control plane's; it is told as it was configured, once, whatever else the month brings."""
    owner, key = mint(control_plane, "human", "acme", None), mint(control_plane, "agent", "acme", 3.1, own)
    with (
        Receiver() as receiver,
        nodus.Client(owner.api_key, base_url=control_plane.base_url) as owning,
        nodus.Client(key.api_key, base_url=control_plane.base_url) as client,
    ):
        owning.webhooks.create(receiver.url, ["budget.threshold_reached"])
        for _ in range(2):
            client.run(image="train", gpu_count=2, env=QUICK)
            control_plane.advance(7200)
        told = [json.loads(request.body)["data"] for request in receiver.requests]
        rows = [entry for entry in owning.ledger.entries() if entry.kind == "budget.threshold_reached"]

    assert [data["fraction"] for data in told] == ([] if expected is None else [expected])
    assert [row.payload["fraction"] for row in rows] == ([] if expected is None else [f"{expected:g}"])


def test_a_cap_that_comes_meanwhile_counts(control_plane: LocalControlPlane) -> None:
    """A submission that was authenticated before the operator set it is held to it all the same."""
    from nodus_core.spec import parse_spec
    from nodus_ledger.errors import BudgetExceeded

    minted = mint(control_plane, "agent", "acme", None)
    keys, jobs, now = control_plane.plane.keys, control_plane.plane.jobs, control_plane.plane.clock.now()
    before = keys.find(minted.api_key)
    assert before is not None
    spec = parse_spec({"image": "train", "gpu": "h100_80gb"})
    keys.set_cap(minted.key_id, 1_000_000, now)
    with pytest.raises(BudgetExceeded):
        jobs.submit(before, spec, None, now)
    keys.set_cap(minted.key_id, None, now)
    capped = keys.find(minted.api_key)
    assert capped is not None

    assert jobs.submit(capped, spec, None, now).job.reserved == 1_290_000
