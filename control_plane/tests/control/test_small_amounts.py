"""Amounts of a micro-dollar: plain decimals in answers, refusals and webhooks, which the SDK reads."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import select

import nodus
from nodus_control.testing import LocalControlPlane
from nodus_ledger.database.webhook_schema import outbox
from nodus_ledger.keys.keys import PrincipalKind


def test_a_micro_dollar_has_no_exponent() -> None:
    """A cap of one, and a job that does not fit it."""
    with LocalControlPlane() as control_plane:
        plane = control_plane.plane
        now = plane.clock.now()
        minted = plane.keys.mint(
            customer_id="acme", label="", principal_kind=PrincipalKind.AGENT, now=now, monthly_cap=1, is_test=True
        )
        plane.webhooks.endpoints.register("acme", "http://127.0.0.1:9/hook", ["budget.exceeded"], None, now)
        headers = {"Authorization": f"Bearer {minted.api_key}"}
        key = httpx.get(f"{control_plane.base_url}/v1/key", headers=headers)
        refusal = httpx.post(
            f"{control_plane.base_url}/v1/jobs", headers=headers, json={"image": "x", "gpu": "h100_80gb"}
        )
        with nodus.Client(minted.api_key, base_url=control_plane.base_url) as client:
            read = client.key()
            with pytest.raises(nodus.BudgetExceededError) as raised:
                client.run(image="x", gpu="h100_80gb")
        with plane.database.read() as connection:
            told = list(connection.execute(select(outbox.c.body)).scalars())

    assert '"headroom_usd":0.000001' in key.text
    assert '"monthly_spend_cap_usd": 0.000001' in refusal.text
    assert len(told) == 2
    assert all('"monthly_spend_cap_usd":0.000001' in body for body in told)
    assert read.headroom_usd == raised.value.payload["monthly_spend_cap_usd"] == 1e-6
