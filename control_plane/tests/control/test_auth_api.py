"""Keys, signatures, replays and budgets over HTTP."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

import nodus
from nodus_control.testing import LocalControlPlane
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = pytest.mark.anyio
Spec = dict[str, Any]


class Agent:
    """Calls with the agent's key, signed unless told otherwise."""

    def __init__(self, control_plane: LocalControlPlane, client: httpx.AsyncClient) -> None:
        self.control_plane = control_plane
        self.client = client

    async def call(
        self,
        method: str,
        path: str,
        payload: object = None,
        *,
        secret: str | None = None,
        now: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Make one request."""
        body = b"" if payload is None else json.dumps(payload).encode()
        signed = nodus.sign_request(
            signing_secret=secret or self.control_plane.agent_signing_secret,
            method=method,
            path=path.partition("?")[0],
            body=body,
            now=now,
        )
        authorization = {"Authorization": f"Bearer {self.control_plane.agent_api_key}"}
        return await self.client.request(
            method, path, content=body, headers={**authorization, **signed, **(headers or {})}
        )


@pytest.fixture
def agent(control_plane: LocalControlPlane, client: httpx.AsyncClient) -> Agent:
    """The agent."""
    return Agent(control_plane, client)


@pytest.mark.both_engines
async def test_a_signed_request_is_answered(agent: Agent, spec: Spec) -> None:
    """Reads and writes alike; a query is no part of what is signed."""
    assert (await agent.call("GET", "/v1/key")).json()["signing_required"] is True
    assert (await agent.call("POST", "/v1/jobs", spec)).status_code == 202
    assert (await agent.call("GET", "/v1/jobs?limit=1")).status_code == 200


@pytest.mark.parametrize("header", [None, "", "v1=00,ts=1", "nonsense", f"v1={'0' * 64},ts=1767225600"])
async def test_a_request_without_a_valid_signature_is_refused(
    agent: Agent, client: httpx.AsyncClient, control_plane: LocalControlPlane, header: str | None
) -> None:
    """401 `signature_invalid`, whichever way it is wrong; the health check apart."""
    authorization = {"Authorization": f"Bearer {control_plane.agent_api_key}"}
    headers = authorization if header is None else {**authorization, "Nodus-Signature": header}
    answer = await client.get("/v1/key", headers=headers)

    assert (answer.status_code, answer.json()["error"]) == (401, "signature_invalid")
    assert (await client.get("/healthz", headers=headers)).status_code == 200


async def test_a_signature_is_for_its_own_request_alone(agent: Agent, spec: Spec) -> None:
    """Another secret, method, path or body does not fit."""
    now = time.time()
    signed = nodus.sign_request(
        signing_secret=agent.control_plane.agent_signing_secret, method="GET", path="/v1/jobs", now=now
    )
    other_path = await agent.call("GET", "/v1/key", headers=signed)
    other_body = await agent.call("POST", "/v1/jobs", spec, headers=signed)
    other_secret = await agent.call("GET", "/v1/key", secret="sgn_other")

    assert [answer.json()["error"] for answer in (other_path, other_body, other_secret)] == ["signature_invalid"] * 3


async def test_two_signature_headers_are_none(agent: Agent, client: httpx.AsyncClient) -> None:
    """A request may carry the signature header only once."""
    signed = nodus.sign_request(signing_secret=agent.control_plane.agent_signing_secret, method="GET", path="/v1/key")
    headers = [("Authorization", f"Bearer {agent.control_plane.agent_api_key}"), *signed.items(), *signed.items()]
    answer = await client.get("/v1/key", headers=headers)

    assert answer.json()["error"] == "signature_invalid"


@pytest.mark.parametrize("offset", [-400, 400])
async def test_a_signature_of_another_time_is_stale(agent: Agent, offset: int) -> None:
    """And the message says by how much; real time counts, whatever the control plane's clock says."""
    signed_at = time.time()
    stale = await agent.call("GET", "/v1/key", now=signed_at + offset)
    skew = stale.json()["skew_seconds"]

    assert (stale.status_code, stale.json()["error"]) == (401, "signature_stale")
    # The signature carries whole seconds, and so does the answer.
    assert -1 <= skew + offset <= time.time() - signed_at + 2
    assert str(abs(skew)) in stale.json()["message"]


async def test_only_a_right_signature_is_called_stale(agent: Agent) -> None:
    """A wrong one from long ago says nothing of clocks."""
    answer = await agent.call("GET", "/v1/key", secret="sgn_other", now=1_000_000)

    assert answer.json()["error"] == "signature_invalid"


@pytest.mark.both_engines
async def test_the_same_signature_twice_is_for_idempotent_requests(agent: Agent, spec: Spec) -> None:
    """A submission with its key again, and a cancel, pass; a submission without one does not."""
    now = time.time()
    keyed = {**spec, "idempotency_key": "k"}
    first = await agent.call("POST", "/v1/jobs", keyed, now=now)
    again = await agent.call("POST", "/v1/jobs", keyed, now=now)
    unkeyed = [await agent.call("POST", "/v1/jobs", spec, now=now) for _ in range(2)]
    path = f"/v1/jobs/{first.json()['id']}/cancel"
    cancels = [await agent.call("POST", path, now=now) for _ in range(2)]

    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"]
    assert [answer.status_code for answer in unkeyed] == [202, 409]
    assert unkeyed[1].json()["error"] == "signature_replayed"
    assert unkeyed[1].headers["retry-after"] == "1"
    assert [answer.status_code for answer in cancels] == [200, 200]


async def test_the_same_signature_twice_is_for_batches_too(agent: Agent, spec: Spec) -> None:
    """With the same header, for their jobs have keys of their own."""
    now = time.time()
    batch = {"jobs": [{**spec, "idempotency_key": "k"}]}
    sent = [
        await agent.call("POST", "/v1/jobs/batch", batch, now=now, headers={"Idempotency-Key": key})
        for key in ("a", "a", "b")
    ]

    assert [answer.status_code for answer in sent] == [200, 200, 409]
    assert [answer.json()["results"][0]["replayed"] for answer in sent[:2]] == [False, True]


async def test_a_replay_under_another_key_is_refused(agent: Agent, spec: Spec) -> None:
    """The header is not signed, so a thief could change it."""
    now = time.time()
    await agent.call("POST", "/v1/jobs", spec, now=now, headers={"Idempotency-Key": "a"})
    stolen = await agent.call("POST", "/v1/jobs", spec, now=now, headers={"Idempotency-Key": "b"})

    assert (stolen.status_code, stolen.json()["error"]) == (409, "signature_replayed")


async def test_a_read_may_be_signed_twice_alike(agent: Agent) -> None:
    """Two reads within a second have the same signature."""
    now = time.time()

    assert [(await agent.call("GET", "/v1/key", now=now)).status_code for _ in range(2)] == [200, 200]


async def test_a_signature_that_is_not_needed_is_ignored(client: httpx.AsyncClient) -> None:
    """The caller's key has no signing secret, so the header is not looked at."""
    assert (await client.get("/v1/key", headers={"Nodus-Signature": "nonsense"})).status_code == 200


async def test_an_agent_stops_only_its_own_jobs(agent: Agent, client: httpx.AsyncClient, spec: Spec) -> None:
    """It may see another key's job, but not stop it or read what it prints."""
    job = (await client.post("/v1/jobs", json=spec)).json()
    own = (await agent.call("POST", "/v1/jobs", spec)).json()

    assert (await agent.call("GET", f"/v1/jobs/{job['id']}")).status_code == 200
    for method, action in (("POST", "cancel"), ("GET", "logs")):
        refused = await agent.call(method, f"/v1/jobs/{job['id']}/{action}")
        assert (refused.status_code, refused.json()["error"]) == (403, "forbidden_principal")
        assert (await agent.call(method, f"/v1/jobs/{own['id']}/{action}")).status_code == 200
    assert (await client.post(f"/v1/jobs/{own['id']}/cancel")).status_code == 200


async def test_customers_see_nothing_of_each_other(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """Another customer's job reads as absent, and idempotency keys are one's own."""
    other = control_plane.plane.keys.mint(
        customer_id="other", label="", principal_kind=PrincipalKind.HUMAN, now=0, is_test=True
    )
    headers = {"Authorization": f"Bearer {other.api_key}", "Idempotency-Key": "k"}
    job = (await client.post("/v1/jobs", json=spec, headers={"Idempotency-Key": "k"})).json()
    theirs = await client.post("/v1/jobs", json={**spec, "gpu_count": 2}, headers=headers)

    assert theirs.status_code == 202
    for method, path in (("GET", ""), ("GET", "/routing"), ("GET", "/logs"), ("POST", "/cancel")):
        answer = await client.request(method, f"/v1/jobs/{job['id']}{path}", headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (404, "job_not_found")
    assert [one["id"] for one in (await client.get("/v1/jobs", headers=headers)).json()["jobs"]] == [
        theirs.json()["id"]
    ]


@pytest.mark.both_engines
async def test_a_revoked_key_ends_with_the_next_request(
    client: httpx.AsyncClient, control_plane: LocalControlPlane
) -> None:
    """No cache keeps a revoked key alive."""
    minted = control_plane.plane.keys.mint(
        customer_id="x", label="", principal_kind=PrincipalKind.SERVICE, now=0, is_test=True
    )
    headers = {"Authorization": f"Bearer {minted.api_key}"}
    before = await client.get("/v1/key", headers=headers)
    control_plane.plane.keys.revoke(minted.id, now=1)
    after = await client.get("/v1/key", headers=headers)

    assert (before.status_code, after.status_code) == (200, 401)


async def test_a_key_shows_its_month(agent: Agent, spec: Spec) -> None:
    """Cap minus month to date is the headroom, before, during and after a job."""
    before = (await agent.call("GET", "/v1/key")).json()
    await agent.call("POST", "/v1/jobs", spec)
    during = (await agent.call("GET", "/v1/key")).json()
    agent.control_plane.advance(1000)
    after = (await agent.call("GET", "/v1/key")).json()

    assert (before["monthly_spend_cap_usd"], before["month_to_date_usd"], before["headroom_usd"]) == (25.0, 0.0, 25.0)
    assert (during["in_flight_usd"], during["realised_usd"], during["headroom_usd"]) == (1.29, 0.0, 23.71)
    assert (after["in_flight_usd"], after["realised_usd"], after["month_to_date_usd"]) == (0.0, 0.0215, 0.0215)
    assert before["resets_at"] == "2026-02-01T00:00:00.000Z"
    assert agent.control_plane.agent_api_key not in json.dumps(after)


@pytest.mark.both_engines
async def test_a_submission_past_the_cap_is_refused(agent: Agent, spec: Spec) -> None:
    """402, with the figures to shrink the spec by; a smaller one is accepted."""
    long = {**spec, "max_runtime_seconds": 36_000, "idempotency_key": "k"}
    refused = await agent.call("POST", "/v1/jobs", {**long, "gpu_count": 2})
    content = refused.json()
    accepted = await agent.call("POST", "/v1/jobs", {**long, "gpu_count": 1})

    assert (refused.status_code, content["error"]) == (402, "budget_exceeded")
    assert content["monthly_spend_cap_usd"] - content["month_to_date_usd"] == 25.0
    assert content["estimated_cost_usd"] == 25.8
    assert {"realised_usd", "in_flight_usd", "resets_at"} <= set(content)
    assert accepted.status_code == 202


@pytest.mark.both_engines
async def test_a_replay_reserves_nothing(agent: Agent, spec: Spec) -> None:
    """The same submission twice is one reservation, even where a second would not fit."""
    keyed = {**spec, "max_runtime_seconds": 36_000, "idempotency_key": "k"}
    answers = [await agent.call("POST", "/v1/jobs", keyed) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [202, 200, 200]
    assert (await agent.call("GET", "/v1/key")).json()["in_flight_usd"] == 12.9


@pytest.mark.both_engines
async def test_the_cap_is_for_a_calendar_month(agent: Agent, spec: Spec) -> None:
    """What was spent in January is no part of February; open reservations always count."""
    long = {
        **spec,
        "env": {"NODUS_SIM_DURATION_SECONDS": "172800"},
        "gpu": "l40s",
        "require_tiers": ["neocloud"],
        "max_runtime_seconds": 57_600,
    }
    await agent.call("POST", "/v1/jobs", long)
    agent.control_plane.advance(86_400)
    january = (await agent.call("GET", "/v1/key")).json()
    agent.control_plane.advance(30 * 86_400)
    february = (await agent.call("GET", "/v1/key")).json()

    assert january["realised_usd"] == 9.6
    assert (february["realised_usd"], february["headroom_usd"]) == (0.0, 25.0)
