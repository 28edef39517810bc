"""Submitting many jobs in one request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from nodus_control.access.rate_limiter import RateLimiter
from nodus_control.api.batches import AT_ONCE
from nodus_control.testing import LocalControlPlane
from nodus_ledger.errors import DatabaseUnavailable
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = pytest.mark.anyio
Spec = dict[str, Any]


def batch_of(spec: Spec, count: int, name: str = "sweep") -> list[Spec]:
    """So many jobs, each with a key of its own."""
    return [{**spec, "idempotency_key": f"{name}-{number}"} for number in range(count)]


async def send(client: httpx.AsyncClient, jobs: list[Any], **headers: str) -> list[dict[str, Any]]:
    """Send a batch; return its results."""
    answer = await client.post("/v1/jobs/batch", json={"jobs": jobs}, headers=headers)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def kind_of(result: dict[str, Any]) -> str:
    """What became of a job: its error, or how it was found."""
    return str(result.get("error") or ("found" if result["replayed"] else "accepted"))


def capped(control_plane: LocalControlPlane, cap: int) -> str:
    """A new key with a monthly cap, in micro-USD."""
    now = control_plane.plane.clock.now()
    return control_plane.plane.keys.mint(
        customer_id="other", label="", principal_kind=PrincipalKind.SERVICE, now=now, monthly_cap=cap
    ).api_key


@pytest.mark.both_engines
async def test_each_job_is_judged_by_itself_and_in_order(client: httpx.AsyncClient, spec: Spec) -> None:
    """As a submission of its own would be: one that is refused undoes nothing of the others."""
    earlier = (await client.post("/v1/jobs", json={**spec, "idempotency_key": "earlier"})).json()
    results = await send(
        client,
        [
            {**spec, "idempotency_key": "one"},
            {**spec, "gpu_count": 9, "idempotency_key": "two"},
            {**spec, "idempotency_key": "earlier"},
            {**spec, "gpu_count": 2, "idempotency_key": "earlier"},
            spec,
            {**spec, "gpu": "abacus", "idempotency_key": "three"},
            {**spec, "idempotency_key": "one"},
            {**spec, "idempotency_key": "four"},
        ],
    )
    listed = (await client.get("/v1/jobs")).json()["jobs"]

    assert [kind_of(each) for each in results] == [
        "accepted",
        "invalid_spec",
        "found",
        "idempotency_key_reused",
        "invalid_idempotency_key",
        "no_such_offer",
        "found",
        "accepted",
    ]
    assert [each.get("status") for each in results] == [None, 422, None, 422, 400, 422, None, None]
    assert results[2]["job"]["id"] == earlier["id"]
    assert results[6]["job"]["id"] == results[0]["job"]["id"]
    assert [each["id"] for each in listed] == [results[7]["job"]["id"], results[0]["job"]["id"], earlier["id"]]


@pytest.mark.both_engines
async def test_a_batch_that_is_sent_again_finds_its_jobs(client: httpx.AsyncClient, spec: Spec) -> None:
    """Each by its own key, whatever the header's is, and alone too."""
    jobs = batch_of(spec, AT_ONCE + 3)
    first = await send(client, jobs, **{"Idempotency-Key": "a"})
    again = await send(client, jobs, **{"Idempotency-Key": "b"})
    alone = await client.post("/v1/jobs", json=jobs[-1])

    assert {kind_of(each) for each in first} == {"accepted"}
    assert {kind_of(each) for each in again} == {"found"}
    assert [each["job"]["id"] for each in again] == [each["job"]["id"] for each in first]
    assert (alone.status_code, alone.json()["id"]) == (200, first[-1]["job"]["id"])


@pytest.mark.both_engines
async def test_a_batch_never_passes_the_cap(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """What fits is accepted, a smaller one after a refusal included; the others are over budget."""
    whole = (await client.post("/v1/jobs", json=spec)).json()["estimated_cost_usd"]
    client.headers["authorization"] = f"Bearer {capped(control_plane, round(whole * 2.5e6))}"
    small = {**spec, "max_runtime_seconds": 60, "idempotency_key": "small"}
    results = await send(client, [*batch_of(spec, 5), small])
    key = (await client.get("/v1/key")).json()

    assert [kind_of(each) for each in results] == ["accepted"] * 2 + ["budget_exceeded"] * 3 + ["accepted"]
    assert results[2]["status"] == 402
    assert results[2]["monthly_spend_cap_usd"] == key["monthly_spend_cap_usd"]
    assert key["month_to_date_usd"] <= key["monthly_spend_cap_usd"]


async def test_an_answer_that_never_came_leaves_the_first_jobs(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole transactions of them; the batch, sent again, finds those and submits the others."""
    jobs = batch_of(spec, 2 * AT_ONCE)
    fail_after(control_plane, monkeypatch, 1, lambda: RuntimeError("the process dies"))
    lost = await client.post("/v1/jobs/batch", json={"jobs": jobs})
    monkeypatch.undo()
    left = (await client.get("/v1/jobs?limit=200")).json()["jobs"]
    again = await send(client, jobs)

    assert lost.status_code == 500
    assert len(left) == AT_ONCE
    assert [kind_of(each) for each in again] == ["found"] * AT_ONCE + ["accepted"] * AT_ONCE
    assert [each["job"]["id"] for each in again[:AT_ONCE]] == [each["id"] for each in reversed(left)]


async def test_a_database_that_goes_away_leaves_the_rest_to_be_sent_again(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them says so, and when to; where nothing was accepted, the whole answer does."""
    jobs = batch_of(spec, 3 * AT_ONCE)
    fail_after(control_plane, monkeypatch, 1, lambda: DatabaseUnavailable("it is gone"))
    results = await send(client, jobs)
    whole = await client.post("/v1/jobs/batch", json={"jobs": jobs})

    assert [kind_of(each) for each in results] == ["accepted"] * AT_ONCE + ["database_unavailable"] * 2 * AT_ONCE
    assert (results[-1]["status"], results[-1]["retry_after"]) == (503, 2)
    assert (whole.status_code, whole.headers["retry-after"]) == (503, "2")


def fail_after(
    control_plane: LocalControlPlane, monkeypatch: pytest.MonkeyPatch, calls: int, error: Callable[[], Exception]
) -> None:
    """Let so many transactions of batches succeed, and no more."""
    submit_all, left = control_plane.plane.jobs.submit_all, [None] * calls

    def failing(*arguments: Any) -> Any:
        if not left:
            raise error()
        left.pop()
        return submit_all(*arguments)

    monkeypatch.setattr(control_plane.plane.jobs, "submit_all", failing)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "invalid_spec"),
        ({}, "invalid_spec"),
        ({"jobs": []}, "invalid_spec"),
        ({"jobs": {}}, "invalid_spec"),
        ({"jobs": ["x"]}, "invalid_spec"),
        ({"jobs": [{}], "idempotency_key": "a"}, "invalid_spec"),
        ({"jobs": [{}] * 201}, "batch_too_large"),
    ],
)
async def test_what_is_no_batch_is_refused_as_a_whole(client: httpx.AsyncClient, body: Any, code: str) -> None:
    """Nothing in it is looked at."""
    answer = await client.post("/v1/jobs/batch", json=body)

    assert (answer.status_code, answer.json()["error"]) == (422, code)


async def test_each_job_takes_a_token_of_the_rate_limit(spec: Spec) -> None:
    """All or none, and what is left is there for others; who asks for more than there ever are is told how many."""
    with LocalControlPlane(rate_limit="1/s:10", serve=False) as control_plane:
        control_plane.plane.limits = RateLimiter(control_plane.plane.limits.options, clock=lambda: 0.0)
        transport = httpx.ASGITransport(app=control_plane.asgi_app)
        headers = {"Authorization": f"Bearer {control_plane.api_key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
            too_large = await client.post("/v1/jobs/batch", json={"jobs": batch_of(spec, 11)})
            accepted = await client.post("/v1/jobs/batch", json={"jobs": batch_of(spec, 6)})
            refused = await client.post("/v1/jobs/batch", json={"jobs": batch_of(spec, 5, "other")})
            others = await client.post("/v1/jobs/batch", json={"jobs": batch_of(spec, 3, "other")})

    assert (too_large.status_code, too_large.json()["error"], too_large.json()["burst"]) == (422, "batch_too_large", 10)
    assert accepted.status_code == 200
    assert (refused.status_code, refused.json()["error"]) == (429, "rate_limited")
    assert {kind_of(each) for each in others.json()["results"]} == {"accepted"}
