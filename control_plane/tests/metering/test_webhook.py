"""`POST /stripe/webhook`: only what Stripe signed is taken in, and only its id is believed."""

from __future__ import annotations

import json

import anyio
import httpx
import pytest
from metering.fake_stripe import SECRET, sign
from metering.yard import Yard

from nodus_control.api.app import create_app
from nodus_control.api.stripe import stripe_webhook
from nodus_control.testing import LocalControlPlane
from nodus_ledger.jobs.meter_reports import MeterReports

NOW = 1_800_000_000
REPORT = {"id": "evt_1", "type": "v1.billing.meter.error_report_triggered", "livemode": True}


@pytest.fixture
def anyio_backend() -> str:
    """The one that the control plane is served on."""
    return "asyncio"


async def post(
    control_plane: LocalControlPlane, body: bytes, header: str | None = None, secret: str = SECRET
) -> httpx.Response:
    """Send a webhook, by default with its own signature."""
    reports = MeterReports(control_plane.plane.database)
    handled = stripe_webhook(reports, [SECRET], control_plane.plane.clock.now, real_time=lambda: NOW)
    transport = httpx.ASGITransport(app=create_app(control_plane.plane, more=[handled]))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        headers = {"Stripe-Signature": sign(body, NOW, secret) if header is None else header}
        return await client.post("/stripe/webhook", content=body, headers=headers)


@pytest.mark.anyio
async def test_a_report_is_announced_once(memory: LocalControlPlane) -> None:
    """The same event again, and events of other types, are 200 and change nothing."""
    bodies = [REPORT, REPORT, {"id": "evt_2", "type": "customer.created"}, {"type": REPORT["type"], "id": "../x"}]
    answers = [await post(memory, json.dumps(body).encode()) for body in bodies]
    reports, now = MeterReports(memory.plane.database), memory.plane.clock.now()
    first = reports.claim(livemode=True, now=now)

    assert [answer.status_code for answer in answers] == [200] * 4
    assert first is not None
    assert first.id == "evt_1"
    assert reports.claim(livemode=True, now=now) is None


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "header", "secret", "status"),
    [
        (json.dumps(REPORT).encode(), None, "whsec_other", 400),
        (json.dumps(REPORT).encode(), sign(b"other", NOW), SECRET, 400),
        (json.dumps(REPORT).encode(), "", SECRET, 400),
        (json.dumps(REPORT).encode(), sign(json.dumps(REPORT).encode(), NOW - 301), SECRET, 400),
        (b"x", None, SECRET, 400),
        (b"[]", None, SECRET, 400),
        (b" " * (64 * 1024 + 1), None, SECRET, 413),
    ],
)
async def test_what_is_not_stripes_is_refused(
    memory: LocalControlPlane, body: bytes, header: str | None, secret: str, status: int
) -> None:
    """Nothing of it is kept."""
    answer = await post(memory, body, header, secret)

    assert answer.status_code == status
    assert MeterReports(memory.plane.database).claim(livemode=True, now=memory.plane.clock.now()) is None


def test_without_a_secret_there_is_nothing_at_the_path(memory: LocalControlPlane) -> None:
    """It is mounted only where somebody can sign."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=memory.asgi_app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post("/stripe/webhook", content=b"{}")

    assert anyio.run(ask).status_code == 404


def test_a_report_whose_id_nobody_knows_is_not_booked(yard: Yard) -> None:
    """Whoever has the secret can announce what never was; nothing is rejected for it."""
    yard.name_customer("acme", "cus_1")
    identifier = yard.add("acme", 1)
    yard.reports.announce("evt_forged", livemode=True, now=yard.time)
    exporter = yard.exporter()
    yard.run_for(exporter, 60_000, 60_000)

    assert yard.states() == {identifier: "delivered"}
    assert yard.reports.claim(livemode=True, now=yard.time + 600_000) is not None
