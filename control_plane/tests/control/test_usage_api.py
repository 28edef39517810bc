"""`GET /v1/usage`: what jobs have cost, as callers see it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from nodus_control.api.openapi import document
from nodus_control.testing import LocalControlPlane
from nodus_core.usage import GROUPINGS
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = pytest.mark.anyio

AMOUNTS = {"jobs", "gpu_seconds", "cost_usd", "retail_cost_usd", "saved_usd"}
MONTH_SECONDS = 31 * 86_400


@pytest.fixture
async def spent(client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: dict[str, Any]) -> str:
    """Jobs of a person and an agent in two months, cheap and dear; return the agent's key."""
    person = control_plane.plane.keys.find(control_plane.api_key)
    assert person is not None
    agent = control_plane.plane.keys.mint(
        customer_id=person.customer_id,
        label="agent",
        principal_kind=PrincipalKind.AGENT,
        now=control_plane.plane.clock.now(),
        is_test=True,
    ).api_key
    for month in range(2):
        for number, gpu in enumerate(["h100_80gb", "l40s", "a10g"]):
            env = {"NODUS_SIM_DURATION_SECONDS": str(61 + 7 * number), "NODUS_SIM_ERROR": "boom" if number > 1 else ""}
            body = {**spec, "gpu": gpu, "gpu_count": 1 + number, "env": env}
            await client.post("/v1/jobs", json=body)
            await client.post("/v1/jobs", json={**body, "env": {}}, headers={"Authorization": f"Bearer {agent}"})
        control_plane.advance(MONTH_SECONDS if month == 0 else 86_400)
    return agent


async def ask(client: httpx.AsyncClient, **parameters: str) -> dict[str, Any]:
    """Ask, and expect an answer."""
    response = await client.get("/v1/usage", params={name.rstrip("_"): text for name, text in parameters.items()})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def settled(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """The rows of the ledger that say what jobs cost."""
    rows: list[dict[str, Any]] = []
    after = 0
    while after is not None:
        page = (await client.get("/v1/ledger", params={"after": after, "limit": 200})).json()
        rows += [{"at": row["at"], **row["payload"]} for row in page["entries"] if row["kind"] == "job.settled"]
        after = page["next_after"]
    return rows


async def test_totals_are_those_of_the_ledger(client: httpx.AsyncClient, spent: str) -> None:
    """To the micro-dollar, of every span and by whatever they are grouped."""
    rows = await settled(client)
    first = min(row["at"] for row in rows)
    spans = [{"month": first[:7]}, {"from_": first, "to": "2100-01-01"}, {"from_": "2000-01-01", "to": first}]
    spans += [{"from_": "2000-01-01", "to": rows[5]["at"]}, {"from_": rows[4]["at"], "to": "2100-01-01"}]

    assert len(rows) == 12
    for span in spans:
        for group_by in ("", *GROUPINGS, "day,supplier,key"):
            answer = await ask(client, **span, group_by=group_by)
            inside = [row for row in rows if answer["from"] <= row["at"] < answer["to"]]
            total = answer["total"]

            assert total["jobs"] == len(inside)
            assert round(total["cost_usd"] * 1e6) == sum(row["cost_micros"] for row in inside)
            assert round(total["gpu_seconds"] * 1000) == sum(row["gpu_count"] * row["duration_ms"] for row in inside)
            assert round(total["saved_usd"] * 1e6) == sum(row["retail_micros"] - row["cost_micros"] for row in inside)
            for name in AMOUNTS:
                added = sum(round(group[name] * 1e6) for group in answer["groups"])
                assert added == round(total[name] * 1e6)
            for group in answer["groups"]:
                assert set(group) - AMOUNTS == set(filter(None, group_by.split(",")))


async def test_an_agent_sees_its_own_jobs_only(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spent: str
) -> None:
    """As everywhere."""
    span = {"from_": "2000-01-01", "to": "2100-01-01", "group_by": "principal_kind,key"}
    everything = await ask(client, **span)
    client.headers["authorization"] = f"Bearer {spent}"
    own = await ask(client, **span)

    assert [group["principal_kind"] for group in own["groups"]] == ["agent"]
    assert own["groups"][0] in everything["groups"]
    assert (own["total"]["jobs"], everything["total"]["jobs"]) == (6, 12)


async def test_labels_group_and_filter(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: dict[str, Any]
) -> None:
    """By their values; jobs without one are a group, and have none."""
    for labels in ({"team": "search", "run": "1"}, {"team": "search"}, {"team": ""}, {"run": "2"}, None):
        await client.post("/v1/jobs", json={**spec, **({} if labels is None else {"labels": labels})})
    control_plane.advance(3600)

    async def jobs_by(**parameters: Any) -> dict[tuple[str | None, ...], int]:
        answer = (await client.get("/v1/usage", params=parameters)).json()
        names = [name for name in parameters["group_by"].split(",") if name.startswith("label:")]
        assert answer["total"]["jobs"] == sum(group["jobs"] for group in answer["groups"])
        return {tuple(group[name] for name in names): group["jobs"] for group in answer["groups"]}

    assert await jobs_by(group_by="label:team") == {("search",): 2, ("",): 1, (None,): 2}
    assert await jobs_by(group_by="gpu,label:run,month,label:team") == {
        ("1", "search"): 1,
        (None, "search"): 1,
        (None, ""): 1,
        ("2", None): 1,
        (None, None): 1,
    }
    assert await jobs_by(group_by="label:run", label="team") == {("1",): 1, (None,): 2}
    assert await jobs_by(group_by="label:run", label=["team:search", "run"]) == {("1",): 1}
    assert await jobs_by(group_by="label:run", label="team:") == {(None,): 1}
    assert await jobs_by(group_by="label:run", label="team:nobody") == {}


async def test_simulated_jobs_are_never_added_to_others(client: httpx.AsyncClient, spent: str) -> None:
    """Where nothing really runs, they are meant; the answer says which."""
    span = {"from_": "2000-01-01", "to": "2100-01-01"}

    assert (await ask(client, **span))["simulated"] is True
    assert (await ask(client, **span, simulated="true"))["total"]["jobs"] == 12
    real = await ask(client, **span, simulated="false")
    nothing = {"jobs": 0, "gpu_seconds": 0, "cost_usd": 0, "retail_cost_usd": 0, "saved_usd": 0}
    assert (real["simulated"], real["groups"], real["total"]) == (False, [], nothing)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("month=2026-13", 422, "invalid_query"),
        ("group_by=colour", 422, "invalid_query"),
        ("from=2026-10-01T08:00:00+02:00", 422, "invalid_query"),
        ("group_by=label:Team", 422, "invalid_query"),
        ("label=Team:search", 422, "invalid_query"),
    ],
)
async def test_questions_that_make_no_sense_are_refused(
    client: httpx.AsyncClient, query: str, status: int, code: str
) -> None:
    """With what to do instead."""
    response = await client.get(f"/v1/usage?{query}")

    assert (response.status_code, response.json()["error"]) == (status, code)


async def test_too_many_groups_are_refused(
    client: httpx.AsyncClient, spent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no second page: sums that do not add up would be wrong."""
    monkeypatch.setattr("nodus_ledger.jobs.usage.MAX_GROUPS", 2)
    response = await client.get("/v1/usage?from=2000-01-01&to=2100-01-01&group_by=gpu")

    assert (response.status_code, response.json()["error"]) == (400, "too_many_groups")


async def test_the_answer_is_as_described(client: httpx.AsyncClient, spent: str) -> None:
    """No member is missing, and none is undocumented."""
    schemas = document()["components"]["schemas"]
    answer = await ask(client, from_="2000-01-01", to="2100-01-01", group_by=",".join(GROUPINGS))

    assert set(answer) == set(schemas["Usage"]["properties"])
    assert set(answer["total"]) == set(schemas["UsageAmounts"]["properties"])
    assert set(answer["groups"][0]) == set(schemas["UsageGroup"]["properties"])
    assert json.dumps(answer).count("null") == sum(group["supplier"] is None for group in answer["groups"]) * 3
