"""`GET /v1/jobs` by label, time and idempotency key, and labels wherever a job is told of."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from nodus_control.testing import LocalControlPlane
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = pytest.mark.anyio
Spec = dict[str, Any]


async def submit(client: httpx.AsyncClient, spec: Spec, **more: object) -> Spec:
    """Submit a job; return its view."""
    answer = await client.post("/v1/jobs", json={**spec, **more})
    assert answer.status_code in (200, 202), answer.text
    view: Spec = answer.json()
    return view


async def found(client: httpx.AsyncClient, query: str) -> list[str]:
    """The ids of a listing, two a page."""
    ids: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await client.get(f"/v1/jobs?limit=2&{query}&cursor={cursor}")).json()
        ids += [job["id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
    return ids


@pytest.mark.both_engines
async def test_labels_are_echoed_and_find_their_jobs(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """All that are asked for; by value or by key alone; the first colon divides them."""
    labels: list[dict[str, str] | None] = [
        {"team": "search", "gpu-test": ""},
        {"team": "search:夜 間"},
        None,
        {"team": "ads", "gpu-test": "1"},
        {"team": "search"},
    ]
    made = [await submit(client, spec, labels=each) for each in labels]
    control_plane.advance(1000)
    late = await submit(client, spec, labels={"team": "search"})
    ids = [job["id"] for job in made]

    assert [job["labels"] for job in made] == [each or {} for each in labels]
    assert (await client.get(f"/v1/jobs/{ids[1]}")).json()["labels"] == labels[1]
    assert await found(client, "label=team:search") == [late["id"], ids[4], ids[0]]
    assert await found(client, "label=team:search&status=completed") == [ids[4], ids[0]]
    assert await found(client, "label=team:search&status=queued,placed,running,failed") == [late["id"]]
    assert await found(client, "label=team") == [late["id"], ids[4], ids[3], ids[1], ids[0]]
    assert await found(client, "label=team&label=gpu-test") == [ids[3], ids[0]]
    assert await found(client, "label=team:search&label=gpu-test:") == [ids[0]]
    assert await found(client, "label=team:search:%E5%A4%9C%20%E9%96%93") == [ids[1]]
    assert await found(client, "label=team:") == []
    assert await found(client, "label=team:search&label=team:ads") == []


async def test_a_label_finds_the_jobs_of_its_customer_alone(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """Another customer's read as absent, whichever filter there is."""
    job = await submit(client, spec, labels={"team": "search"}, idempotency_key="k")
    other = control_plane.plane.keys.mint(
        customer_id="globex",
        label="x",
        principal_kind=PrincipalKind.HUMAN,
        now=control_plane.plane.clock.now(),
        is_test=True,
    )
    client.headers["Authorization"], own = f"Bearer {other.api_key}", client.headers["Authorization"]
    theirs = await submit(client, spec, labels={"team": "search"}, idempotency_key="k")
    queries = ("label=team", "label=team:search", "idempotency_key=k", "created_after=2020-01-01")

    assert [await found(client, query) for query in queries] == [[theirs["id"]]] * 4
    client.headers["Authorization"] = own
    assert [await found(client, query) for query in queries] == [[job["id"]]] * 4


@pytest.mark.both_engines
async def test_an_idempotency_key_finds_its_jobs(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """One, or one for each agent's key that used it; a retry finds the first."""
    job = await submit(client, spec, idempotency_key="nightly 1")
    await submit(client, spec, idempotency_key="nightly 1")
    await submit(client, spec, idempotency_key="nightly 2")
    agent = control_plane.plane.keys.mint(
        customer_id="playground",
        label="x",
        principal_kind=PrincipalKind.AGENT,
        now=control_plane.plane.clock.now(),
        is_test=True,
    )
    headers = {"Authorization": f"Bearer {agent.api_key}"}
    agents = (await client.post("/v1/jobs", json={**spec, "idempotency_key": "nightly 1"}, headers=headers)).json()

    assert await found(client, "idempotency_key=nightly%201") == [agents["id"], job["id"]]
    assert await found(client, "idempotency_key=nightly") == []


async def test_a_listing_can_be_of_a_time(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """The beginning is part of it, the end is not; as written, a time finds the job that has it."""
    jobs = []
    for _ in range(3):
        jobs.append(await submit(client, spec))
        control_plane.advance(0.001)
    ids = [job["id"] for job in jobs]
    one, two = jobs[1]["created_at"], jobs[2]["created_at"]

    assert one < two
    assert await found(client, f"created_after={one}") == [ids[2], ids[1]]
    assert await found(client, f"created_before={one}") == [ids[0]]
    assert await found(client, f"created_after={one}&created_before={two}") == [ids[1]]
    assert await found(client, f"created_after={one[:-1]}1Z") == [ids[2]]
    assert await found(client, f"created_after={one.removesuffix('Z')}%2B00:00&created_before=2999-01-01") == ids[:0:-1]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("label=", 422),
        ("label=Team", 422),
        ("label=team%0A", 422),
        ("label=-team:x", 422),
        ("label=:x", 422),
        ("label=team:" + "x" * 129, 422),
        ("label=team:a%0Ab", 422),
        ("label=team:" + "%C3%A9" * 128, 200),
        ("label=team&" * 17, 422),
        ("label=team&" * 16, 200),
        ("idempotency_key=", 422),
        ("idempotency_key=%C3%A9", 422),
        ("created_after=", 422),
        ("created_after=yesterday", 422),
        ("created_after=2026-11-01T00:00:00", 422),
        ("created_after=2026-11-01T00:00:00+02:00", 422),
        ("created_before=2026-11-31", 422),
        ("created_before=9999-12-31T23:59:59.999999999-23:59", 200),
        ("created_after=0001-01-01T00:00:00%2B23:59", 200),
    ],
)
async def test_the_filters_of_a_listing_are_checked(client: httpx.AsyncClient, query: str, status: int) -> None:
    """What no job could have is refused, and the rule named."""
    answer = await client.get(f"/v1/jobs?{query}")

    assert answer.status_code == status
    if status == 422:
        assert answer.json()["error"] == "invalid_query"
        assert f"`{query.partition('=')[0]}`" in answer.json()["message"]


async def test_a_cursor_continues_with_the_same_filters_only(client: httpx.AsyncClient, spec: Spec) -> None:
    """Their order, and how a time is written, make no difference; a value or a key more does."""
    for _ in range(2):
        await submit(client, spec, labels={"team": "search", "gpu-test": ""})
    queries = [
        "label=team:search&label=gpu-test",
        "label=gpu-test&label=team:search&label=gpu-test",
        "label=team:search",
        "label=team&label=gpu-test",
        "label=team:search&label=gpu-test:",
        "label=team:search&label=gpu-test&created_after=2020-01-01",
        "label=team:search&label=gpu-test&created_after=2020-01-01T01:00:00%2B01:00",
        "label=team:search&label=gpu-test&created_before=2999-01-01",
    ]
    cursors = [(await client.get(f"/v1/jobs?limit=1&{query}")).json()["next_cursor"] for query in queries]
    same = [0, 0, 2, 3, 4, 5, 5, 7]
    for query, group in zip(queries, same, strict=True):
        for cursor, other in zip(cursors, same, strict=True):
            answer = await client.get(f"/v1/jobs?limit=1&{query}&cursor={cursor}")
            assert answer.status_code == (200 if group == other else 400)
            assert answer.is_success or answer.json()["error"] == "invalid_cursor"


async def test_labels_belong_to_the_submission_under_an_idempotency_key(client: httpx.AsyncClient, spec: Spec) -> None:
    """None, and an empty object, are the same as ever; their order says nothing."""

    async def again(key: str, **more: object) -> int:
        headers = {"Idempotency-Key": key}
        return (await client.post("/v1/jobs", json={**spec, **more}, headers=headers)).status_code

    assert [await again("none"), await again("none", labels=None), await again("none", labels={})] == [202, 200, 200]
    assert await again("none", labels={"a": ""}) == 422
    assert [await again("a", labels={"a": "1", "b": "2"}), await again("a", labels={"b": "2", "a": "1"})] == [202, 200]
    assert [await again("a", labels={"a": "1"}), await again("a")] == [422, 422]


async def test_labels_outside_their_limits_are_refused(client: httpx.AsyncClient, spec: Spec) -> None:
    """With the rule."""
    answer = await client.post("/v1/jobs", json={**spec, "labels": {"Team": "x"}})

    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_spec")
    assert "a-z, 0-9" in answer.json()["message"]
