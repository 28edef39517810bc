"""Submitting, reading, listing and cancelling jobs over HTTP."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

import nodus
from nodus_control.testing import LocalControlPlane
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = pytest.mark.anyio
Spec = dict[str, Any]


@pytest.mark.both_engines
async def test_a_submission_is_accepted_at_once(client: httpx.AsyncClient, spec: Spec) -> None:
    """202, a view of the job, an id that sorts by time, and nothing of what is secret."""
    answer = await client.post("/v1/jobs", json={**spec, "command": ["echo", "hunter2"], "gpu_count": 8})
    view = answer.json()

    assert answer.status_code == 202
    assert uuid.UUID(view["id"]).version == 7
    assert view["status"] in {"queued", "placed"}
    assert (view["cost_usd"], view["finished_at"], view["principal_kind"]) == (None, None, "human")
    assert view["estimated_cost_usd"] == 1.29 * 8
    assert view["created_at"].endswith("Z")
    assert "hunter2" not in answer.text
    assert "env" not in view
    assert "command" not in view


@pytest.mark.both_engines
async def test_a_job_goes_its_way_by_the_clock(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """Placed at once, running once provisioned, completed when its time is over, at its price."""
    job = (await client.post("/v1/jobs", json={**spec, "gpu_count": 8})).json()
    path = f"/v1/jobs/{job['id']}"
    control_plane.advance(0)
    placed = (await client.get(path)).json()
    control_plane.advance(60)
    running = (await client.get(path)).json()
    control_plane.advance(60)
    done = (await client.get(path)).json()

    assert [view["status"] for view in (placed, running, done)] == ["placed", "running", "completed"]
    assert (placed["supplier"], placed["attempts"], placed["started_at"]) == ("hyperbolic", 1, None)
    assert running["started_at"] is not None
    assert done["duration_s"] == 60.0
    assert done["cost_usd"] == 0.172
    assert done["retail_cost_usd"] == 0.917333
    assert done["saved_usd"] == 0.745333


async def test_a_job_of_twenty_hours_takes_no_time(client: httpx.AsyncClient, control_plane: LocalControlPlane) -> None:
    """The clock moves as far as it is told to, and all that falls due is done in order."""
    spec = {
        "image": "x",
        "gpu": "a100_80gb",
        "max_runtime_seconds": 90_000,
        "env": {"NODUS_SIM_DURATION_SECONDS": "72000"},
    }
    job = (await client.post("/v1/jobs", json=spec)).json()
    control_plane.advance(73_000)
    done = (await client.get(f"/v1/jobs/{job['id']}")).json()

    assert (done["status"], done["duration_s"], done["cost_usd"]) == ("completed", 72_000.0, 24.0)


async def test_a_job_ends_at_its_longest_runtime(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """`max_runtime_exceeded`, and what it ran is paid for."""
    job = (await client.post("/v1/jobs", json={**spec, "env": {"NODUS_SIM_DURATION_SECONDS": "9999"}})).json()
    control_plane.advance(9999)
    done = (await client.get(f"/v1/jobs/{job['id']}")).json()

    assert (done["status"], done["error_code"], done["duration_s"]) == ("failed", "max_runtime_exceeded", 3600.0)
    assert done["cost_usd"] == 1.29


async def test_a_simulation_can_be_told_to_fail(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """Its error is the one thing of `env` that is shown."""
    env = {"NODUS_SIM_OUTCOME": "failed", "NODUS_SIM_ERROR": "CUDA out of memory", "NODUS_SIM_DURATION_SECONDS": "5"}
    job = (await client.post("/v1/jobs", json={**spec, "env": env})).json()
    control_plane.advance(200)
    done = (await client.get(f"/v1/jobs/{job['id']}")).json()

    assert (done["status"], done["error_message"]) == ("failed", "CUDA out of memory")


async def test_a_simulation_that_means_nothing_fails(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """No supplier would take it: it fails without failover, and the value is not shown."""
    job = (await client.post("/v1/jobs", json={**spec, "env": {"NODUS_SIM_DURATION_SECONDS": "hunter2"}})).json()
    control_plane.advance(0)
    done = (await client.get(f"/v1/jobs/{job['id']}")).json()

    assert (done["status"], done["error_code"], done["cost_usd"]) == ("failed", "invalid_simulation", 0.0)
    assert "hunter2" not in done["error_message"]


@pytest.mark.both_engines
async def test_the_same_key_twice_is_one_job(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """The second answer is 200, says that it is a replay, and shows the job as it is by then."""
    first = await client.post("/v1/jobs", json=spec, headers={"Idempotency-Key": "k 1"})
    control_plane.advance(500)
    second = await client.post("/v1/jobs", json={**spec, "gpu_count": 1, "idempotency_key": "k 1"})

    assert (first.status_code, second.status_code) == (202, 200)
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert (second.json()["id"], second.json()["status"]) == (first.json()["id"], "completed")
    assert len((await client.get("/v1/jobs")).json()["jobs"]) == 1


async def test_a_key_reused_for_another_job_is_refused(client: httpx.AsyncClient, spec: Spec) -> None:
    """422, and the first job stays as it was."""
    await client.post("/v1/jobs", json=spec, headers={"Idempotency-Key": "k"})
    other = await client.post("/v1/jobs", json={**spec, "gpu_count": 2}, headers={"Idempotency-Key": "k"})

    assert (other.status_code, other.json()["error"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("header", "body", "code"),
    [
        ("a", "b", "idempotency_key_conflict"),
        ("x" * 129, None, "invalid_idempotency_key"),
        ("", None, "invalid_idempotency_key"),
        (None, "", "invalid_idempotency_key"),
        (None, "caf\u00e9", "invalid_idempotency_key"),
        (None, 7, "invalid_idempotency_key"),
    ],
)
async def test_an_unusable_idempotency_key_is_refused(
    client: httpx.AsyncClient, spec: Spec, header: str | None, body: object, code: str
) -> None:
    """400, before anything is written."""
    headers = {} if header is None else {"Idempotency-Key": header}
    payload = spec if body is None else {**spec, "idempotency_key": body}
    answer = await client.post("/v1/jobs", json=payload, headers=headers)

    assert (answer.status_code, answer.json()["error"]) == (400, code)
    assert (await client.get("/v1/jobs")).json()["jobs"] == []


async def test_two_headers_that_differ_are_no_idempotency_key(client: httpx.AsyncClient, spec: Spec) -> None:
    """Of two keys nobody can say under which the job is to be found again; the same one twice is one."""
    answers = [
        await client.post("/v1/jobs", json=spec, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", second)])
        for second in ("b", "a")
    ]

    assert [answer.status_code for answer in answers] == [400, 202]
    assert answers[0].json()["error"] == "idempotency_key_conflict"


@pytest.mark.both_engines
async def test_a_refusal_never_pins_a_key(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """What was refused can be put right under the same key."""
    headers = {"Idempotency-Key": "k"}
    wrong = await client.post("/v1/jobs", json={**spec, "gpu_count": 99}, headers=headers)
    tiers = {**spec, "require_tiers": ["tier3"]}
    for supplier in ("coreweave", "lambda", "crusoe"):
        control_plane.outage(supplier)
    out = await client.post("/v1/jobs", json=tiers, headers=headers)
    control_plane.outage("lambda", on=False)
    right = await client.post("/v1/jobs", json=tiers, headers=headers)

    assert [answer.status_code for answer in (wrong, out, right)] == [422, 503, 202]
    assert out.json()["error"] == "no_supplier"


async def test_what_nobody_offers_is_told_from_what_is_out(client: httpx.AsyncClient, spec: Spec) -> None:
    """No neocloud has this GPU, and none will tomorrow: 422, not 503."""
    answer = await client.post("/v1/jobs", json={**spec, "gpu": "a10g", "require_tiers": ["neocloud"]})

    assert (answer.status_code, answer.json()["error"]) == (422, "no_such_offer")
    assert "under these tiers" in answer.json()["message"]


async def test_a_gpu_that_nobody_has_is_answered_with_those_that_there_are(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """Names are free, so a wrong one is a valid spec that nobody offers; the nearest one is named."""
    answer = await client.post("/v1/jobs", json={**spec, "gpu": "h100"})

    assert (answer.status_code, answer.json()["error"]) == (422, "no_such_offer")
    assert answer.json()["gpus"] == list(control_plane.plane.catalogue.gpus)
    assert "the nearest is 'h100_80gb'" in answer.json()["message"]


@pytest.mark.both_engines
async def test_a_listing_pages_through_all_jobs_newest_first(client: httpx.AsyncClient, spec: Spec) -> None:
    """Jobs that arrive meanwhile shift nothing."""
    made = [(await client.post("/v1/jobs", json=spec)).json()["id"] for _ in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        page = (await client.get("/v1/jobs", params={"limit": 2, **({"cursor": cursor} if cursor else {})})).json()
        seen += [job["id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        await client.post("/v1/jobs", json=spec)

    assert seen == made[::-1]


@pytest.mark.both_engines
async def test_a_listing_can_be_of_some_statuses(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """Several statuses are separated by commas."""
    done = (await client.post("/v1/jobs", json=spec)).json()["id"]
    control_plane.advance(1000)
    live = (await client.post("/v1/jobs", json=spec)).json()["id"]

    async def ids(status: str) -> list[str]:
        return [job["id"] for job in (await client.get("/v1/jobs", params={"status": status})).json()["jobs"]]

    assert await ids("completed") == [done]
    assert await ids("queued,placed,running") == [live]
    assert await ids("cancelled") == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=1", 200),
        ("limit=99999999999999999999", 200),
        ("limit=0", 422),
        ("limit=-1", 422),
        ("limit=x", 422),
        ("limit=%D9%A1", 422),
        ("status=paused", 422),
        ("status=", 422),
        ("name=", 422),
        ("name=a%0Ab", 422),
        ("name=%00", 422),
        ("name=" + "x" * 129, 422),
        ("name=" + "%C3%A9" * 128, 200),
        ("cursor=%00", 400),
        ("cursor=ajE", 400),
        ("cursor=zzz", 400),
    ],
)
async def test_the_query_of_a_listing_is_checked(client: httpx.AsyncClient, query: str, status: int) -> None:
    """Too much is capped, nonsense refused."""
    assert (await client.get(f"/v1/jobs?{query}")).status_code == status


@pytest.mark.both_engines
async def test_a_name_is_echoed_and_finds_its_jobs(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """Exactly: not its beginning, not another case. Together with statuses, too, and page by page."""
    names = ["夜間 1", "夜間 1", "夜間", "夜間 1", "night", "Night", "%", None]
    made = [(await client.post("/v1/jobs", json={**spec, "name": name})).json() for name in names]
    unnamed = (await client.post("/v1/jobs", json=spec)).json()
    control_plane.advance(1000)
    late = (await client.post("/v1/jobs", json={**spec, "name": "夜間 1"})).json()

    async def found(**query: str) -> list[str]:
        pages: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await client.get("/v1/jobs", params={**query, **cursor})).json()
            pages += [job["id"] for job in page["jobs"]]
            if page["next_cursor"] is None:
                return pages
            cursor = {"cursor": page["next_cursor"]}

    ids = [job["id"] for job in made]
    assert [job["name"] for job in [*made, unnamed]] == [*names, None]
    assert (await client.get(f"/v1/jobs/{ids[0]}")).json()["name"] == "夜間 1"
    assert await found(name="夜間 1", limit="1") == [late["id"], ids[3], ids[1], ids[0]]
    assert await found(name="夜間 1", status="completed", limit="2") == [ids[3], ids[1], ids[0]]
    assert await found(name="夜間 1", status="queued,placed,running,failed") == [late["id"]]
    assert [await found(name=name) for name in ("夜間", "night", "%", "NIGHT", "n%")] == [
        [ids[2]],
        [ids[4]],
        [ids[6]],
        [],
        [],
    ]


async def test_a_name_finds_the_jobs_of_its_customer_alone(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """Another customer's of the same name read as absent."""
    await client.post("/v1/jobs", json={**spec, "name": "nightly"})
    other = control_plane.plane.keys.mint(
        customer_id="globex",
        label="x",
        principal_kind=PrincipalKind.HUMAN,
        now=control_plane.plane.clock.now(),
        is_test=True,
    )

    found = await client.get("/v1/jobs?name=nightly", headers={"Authorization": f"Bearer {other.api_key}"})

    assert found.json()["jobs"] == []


async def test_a_name_belongs_to_the_submission_under_an_idempotency_key(client: httpx.AsyncClient, spec: Spec) -> None:
    """Without one it is the same as ever; another one, or one where there was none, is another job."""

    async def submit(key: str, **more: object) -> int:
        headers = {"Idempotency-Key": key}
        return (await client.post("/v1/jobs", json={**spec, **more}, headers=headers)).status_code

    assert [await submit("none"), await submit("none", name=None), await submit("none", name="a")] == [202, 200, 422]
    assert [await submit("a", name="a"), await submit("a", name="a")] == [202, 200]
    assert [await submit("a", name="b"), await submit("a")] == [422, 422]


async def test_a_cursor_continues_a_listing_with_the_same_filters_only(client: httpx.AsyncClient, spec: Spec) -> None:
    """Statuses are a set; another set, or none, is another listing, of which it says nothing."""
    for _ in range(3):
        await client.post("/v1/jobs", json={**spec, "name": "a"})

    async def page(**query: str) -> httpx.Response:
        return await client.get("/v1/jobs", params={"limit": "1", **query})

    of_all = (await page()).json()["next_cursor"]
    of_two = (await page(status="queued,placed")).json()["next_cursor"]
    right = [await page(cursor=of_all), await page(cursor=of_two, status="placed,queued,placed")]
    wrong = [await page(cursor=of_two), *[await page(cursor=of_all, status=each) for each in ("queued", "placed")]]
    wrong.append(await page(cursor=of_two, status="queued"))
    of_name = (await page(name="a")).json()["next_cursor"]
    right.append(await page(cursor=of_name, name="a"))
    wrong += [await page(cursor=of_name), await page(cursor=of_name, name="b"), await page(cursor=of_all, name="a")]
    wrong.append(await page(cursor=of_name, name="a", status="queued"))

    assert [answer.status_code for answer in right] == [200, 200, 200]
    assert {(answer.status_code, answer.json()["error"]) for answer in wrong} == {(400, "invalid_cursor")}


async def test_a_page_has_at_most_200_jobs(client: httpx.AsyncClient, spec: Spec) -> None:
    """A larger limit is lowered to that."""
    for _ in range(201):
        await client.post("/v1/jobs", json=spec)
    page = (await client.get("/v1/jobs?limit=500")).json()

    assert len(page["jobs"]) == 200
    assert page["next_cursor"] is not None


@pytest.mark.parametrize("job_id", ["nope", "0198c0de-0000-7000-8000-000000000001", "%00", "a%20b"])
@pytest.mark.both_engines
async def test_an_unknown_job_is_not_found(client: httpx.AsyncClient, job_id: str) -> None:
    """Every path of a job answers 404."""
    paths = [f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/routing", f"/v1/jobs/{job_id}/logs"]
    answers = [await client.get(path) for path in paths] + [await client.post(f"/v1/jobs/{job_id}/cancel")]

    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(404, "job_not_found")}


@pytest.mark.both_engines
async def test_a_queued_or_running_job_can_be_cancelled(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """It costs what it ran; cancelling again answers the same."""
    job = (await client.post("/v1/jobs", json=spec)).json()
    path = f"/v1/jobs/{job['id']}"
    control_plane.advance(60)
    started = (await client.get(path)).json()["started_at"]
    await client.post(f"{path}/cancel")
    control_plane.advance(0)
    cancelled = (await client.get(path)).json()
    again = await client.post(f"{path}/cancel")

    assert started is not None
    assert (cancelled["status"], cancelled["error_code"]) == ("cancelled", None)
    assert 0 < cancelled["duration_s"] < 60
    assert cancelled["cost_usd"] == round(1.29 * cancelled["duration_s"] / 3600, 6)
    assert (again.status_code, again.json()) == (200, cancelled)


async def test_cancelling_a_job_that_is_over_changes_nothing(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """A completed job stays completed."""
    job = (await client.post("/v1/jobs", json=spec)).json()
    control_plane.advance(1000)

    assert (await client.post(f"/v1/jobs/{job['id']}/cancel")).json()["status"] == "completed"


@pytest.mark.both_engines
async def test_routing_says_why(client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec) -> None:
    """Every offer with price, score and the reason against it."""
    job = (await client.post("/v1/jobs", json={**spec, "require_tiers": ["tier3"]})).json()
    control_plane.advance(0)
    routing = (await client.get(f"/v1/jobs/{job['id']}/routing")).json()

    assert routing["chosen"]["supplier"] == "crusoe"
    assert routing["chosen"] == routing["candidates"][0]
    names = {"supplier", "kind", "region", "usd_per_gpu_hour", "score", "rejected", "has_room", "simulated"}
    assert set(routing["chosen"]) == {*names, "micros_per_gpu_hour", "gpus"}
    assert all(one["simulated"] is True for one in routing["candidates"])
    assert {one["supplier"] for one in routing["candidates"] if one["rejected"] == "tier_not_allowed"} == {
        "aws",
        "gcp",
        "azure",
        "oci",
        "runpod",
        "vast",
        "hyperbolic",
    }
    # The SDK has a name for everything.
    read = nodus.Routing.model_validate(routing)
    assert read.requirements is not None
    assert set(routing) == read.model_fields_set
    assert set(routing["requirements"]) == read.requirements.model_fields_set
    assert set(routing["chosen"]) == read.candidates[0].model_fields_set
    assert read.model_dump(mode="json", exclude_unset=True) == routing


async def test_a_query_is_refused_where_no_signature_covers_it(client: httpx.AsyncClient, spec: Spec) -> None:
    """400 on every method that writes."""
    job = (await client.post("/v1/jobs", json=spec)).json()
    answers = [
        await client.post("/v1/jobs?x=1", json=spec),
        await client.post(f"/v1/jobs/{job['id']}/cancel?force=1"),
    ]

    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(400, "unexpected_query")}
