"""`GET /v1/offers`: what can be had, where, and for how much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from nodus_control.api.app import create_app
from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane
from nodus_control.errors import translate
from nodus_control.testing import LocalControlPlane
from nodus_core.spec import parse_spec
from nodus_core.suppliers_reading import read_suppliers
from nodus_ledger.errors import NoSuchOffer
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = pytest.mark.anyio

FILE = """\
[[supplier]]
name = "lab"
kind = "own"
regions = ["basement", "attic"]
driver = "simulated"
gpus = { rtx_4090 = 4, l4 = 1 }
usd_per_gpu_hour = { rtx_4090 = 0.25, l4 = 0 }
[[supplier]]
name = "cloud"
kind = "neocloud"
regions = ["moon"]
driver = "simulated"
usd_per_gpu_hour = { rtx_4090 = 0.2 }
"""
"""Simulated suppliers, one of which has so many GPUs."""


@pytest.fixture
def lab() -> Iterator[ControlPlane]:
    """A control plane with suppliers of its own."""
    control_plane = ControlPlane(clock=ManualClock(), is_reliable=True, suppliers=read_suppliers(FILE, "x"))
    yield control_plane
    control_plane.close()


def mint(control_plane: ControlPlane, kind: PrincipalKind, *, is_test: bool = True) -> str:
    """Make a key."""
    return control_plane.keys.mint(
        customer_id="acme", label="", principal_kind=kind, now=control_plane.clock.now(), is_test=is_test
    ).api_key


async def ask(control_plane: ControlPlane, api_key: str, **parameters: str) -> list[dict[str, Any]]:
    """Ask for the offers."""
    transport = httpx.ASGITransport(app=create_app(control_plane))
    headers = {"Authorization": f"Bearer {api_key}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        answer = await client.get("/v1/offers", params=parameters)
    assert answer.status_code == 200
    offers: list[dict[str, Any]] = answer.json()["offers"]
    return offers


def submit(control_plane: ControlPlane, api_key: str, **spec: Any) -> None:
    """Submit a job that runs for ten minutes, and place it."""
    key = control_plane.keys.find(api_key)
    assert key is not None
    env = {"NODUS_SIM_DURATION_SECONDS": "600"}
    control_plane.jobs.submit(key, parse_spec({"image": "x", "env": env, **spec}), None, control_plane.clock.now())
    control_plane.worker.run_due()


async def test_offers_are_listed_by_gpu_the_cheapest_first(lab: ControlPlane) -> None:
    """Every region, with what is free there, or null where nobody counts."""
    offers = await ask(lab, mint(lab, PrincipalKind.HUMAN))

    assert [(each["gpu"], each["supplier"], each["region"], each["free_gpus"]) for each in offers] == [
        ("l4", "lab", "attic", 1),
        ("l4", "lab", "basement", 1),
        ("rtx_4090", "cloud", "moon", None),
        ("rtx_4090", "lab", "attic", 4),
        ("rtx_4090", "lab", "basement", 4),
    ]
    assert offers[3] == {
        "supplier": "lab",
        "kind": "own",
        "region": "attic",
        "gpu": "rtx_4090",
        "usd_per_gpu_hour": 0.25,
        "free_gpus": 4,
        "available": True,
        "simulated": True,
    }


async def test_offers_of_one_gpu(lab: ControlPlane) -> None:
    """None of one that nobody has."""
    key = mint(lab, PrincipalKind.SERVICE)

    assert [each["gpu"] for each in await ask(lab, key, gpu="l4")] == ["l4", "l4"]
    assert await ask(lab, key, gpu="H 200") == []


async def test_what_jobs_hold_is_not_free(lab: ControlPlane) -> None:
    """Until they end; where nothing is left, nothing is available."""
    key = mint(lab, PrincipalKind.HUMAN)
    submit(lab, key, gpu="rtx_4090", gpu_count=3, require_tiers=["own"])
    submit(lab, key, gpu="l4")
    during = {(each["gpu"], each["free_gpus"], each["available"]) for each in await ask(lab, key)}
    lab.advance(601)
    after = {(each["gpu"], each["free_gpus"], each["available"]) for each in await ask(lab, key)}

    assert during == {("l4", 0, False), ("rtx_4090", 1, True), ("rtx_4090", None, True)}
    assert after == {("l4", 1, True), ("rtx_4090", 4, True), ("rtx_4090", None, True)}


async def test_an_agent_sees_whether_something_is_free_but_not_how_much(lab: ControlPlane) -> None:
    """What others have there is not its business."""
    human, agent = mint(lab, PrincipalKind.HUMAN), mint(lab, PrincipalKind.AGENT)
    submit(lab, human, gpu="l4")
    offers = await ask(lab, agent)

    assert {each["free_gpus"] for each in offers} == {None}
    assert {(each["gpu"], each["available"]) for each in offers} == {("l4", False), ("rtx_4090", True)}


async def test_a_supplier_that_is_out_is_not_available(lab: ControlPlane) -> None:
    """Its offers stay in the list."""
    lab.set_outage("cloud", on=True)
    offers = await ask(lab, mint(lab, PrincipalKind.HUMAN), gpu="rtx_4090")

    assert [(each["supplier"], each["available"]) for each in offers] == [
        ("cloud", False),
        ("lab", True),
        ("lab", True),
    ]


async def test_more_gpus_than_anybody_has_are_no_offer(lab: ControlPlane) -> None:
    """422, not a job that waits for ever: in one place there are never so many."""
    key = mint(lab, PrincipalKind.HUMAN)
    with pytest.raises(NoSuchOffer) as caught:
        submit(lab, key, gpu="l4", gpu_count=2)
    refused = translate(caught.value)
    submit(lab, key, gpu="rtx_4090", gpu_count=8)
    placed = lab.jobs.list("acme", limit=1).jobs[0]

    assert (refused.status, refused.code) == (422, "no_such_offer")
    assert "so many" in refused.message
    assert placed.supplier == "cloud"


async def test_a_key_sees_only_what_it_may_use(lab: ControlPlane) -> None:
    """Live keys never see what is simulated, nor test keys what is not."""
    live = mint(lab, PrincipalKind.HUMAN, is_test=False)
    with LocalControlPlane(driver="process", serve=False) as real:
        of_live = await ask(real.plane, real.api_key, gpu="h100_80gb")
        test = mint(real.plane, PrincipalKind.HUMAN)
        of_test = await ask(real.plane, test)

    assert await ask(lab, live) == []
    assert {each["simulated"] for each in of_live} == {False}
    assert of_test == []
