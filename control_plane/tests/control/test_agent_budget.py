"""The budget of the playground's agent: its cap is changed, and what waits for it is told, woken and forgotten."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from patience import PATIENCE_SECONDS, eventually

import nodus
from nodus_control.testing import LocalControlPlane

CAP = "monthly_spend_cap_usd"
CHEAPEST = "hyperbolic"


@pytest.fixture
def served() -> Iterator[LocalControlPlane]:
    """A control plane on a loopback port, whose clock stands."""
    with LocalControlPlane() as control_plane:
        yield control_plane


@pytest.fixture
def http(served: LocalControlPlane) -> Iterator[httpx.Client]:
    """A client of its controls."""
    with httpx.Client(base_url=served.base_url, trust_env=False, timeout=PATIENCE_SECONDS) as client:
        yield client


@pytest.fixture
def agent(served: LocalControlPlane) -> Iterator[nodus.Client]:
    """The agent."""
    with nodus.Client(
        base_url=served.base_url, api_key=served.agent_api_key, signing_secret=served.agent_signing_secret
    ) as client:
        yield client


def waiting(http: httpx.Client) -> list[dict[str, Any]]:
    """Which jobs of the agent wait for budget, as the state says."""
    found: list[dict[str, Any]] = http.get("/_dev/state").json()["waiting_for_budget"]
    return found


def make_wait(http: httpx.Client, agent: nodus.Client) -> tuple[nodus.Job, float]:
    """Have a job lose its place, and any other be more than is left; return it, and what another has reserved."""
    agent.run(image="a:1", gpu="a100_40gb", max_runtime_seconds=3600)
    job = agent.run(image="b:1", gpu="h100_80gb", max_runtime_seconds=3600)
    month, its_own = agent.key().month_to_date_usd, job.estimated_cost_usd
    assert month is not None
    assert its_own is not None
    http.post("/_dev/cap", json={CAP: month}).raise_for_status()
    http.post(f"/_dev/suppliers/{CHEAPEST}/outage", json={"on": True})
    eventually(lambda: waiting(http) != [])
    return job, round(month - its_own, 6)


def begin(http: httpx.Client, job: nodus.Job) -> None:
    """Let a job that was woken begin: only then does time pass for it."""
    eventually(lambda: job.refresh().status is nodus.JobStatus.PLACED, lambda: f"it is {job}")
    http.post("/_dev/clock/advance", json={"seconds": 60})


def test_what_waits_is_told_and_woken_by_a_raised_cap(http: httpx.Client, agent: nodus.Client) -> None:
    """By exactly what it needs, and by no micro-dollar less; its view says the same in words."""
    job, others = make_wait(http, agent)
    [told] = waiting(http)
    needs = re.match(r"It needs at least \$([0-9.]+) of its key's month, and less is left", told["detail"])
    assert needs is not None
    detail = job.refresh().phase_detail
    enough = round(others + float(needs[1]), 6)
    http.post("/_dev/cap", json={CAP: round(enough - 1e-6, 6)})
    http.post("/_dev/clock/advance", json={"seconds": 60})
    still = waiting(http)
    raised = http.post("/_dev/cap", json={CAP: enough}).json()
    begin(http, job)

    assert told == {"job_id": job.id, "detail": detail}
    assert (still, waiting(http), raised) == ([told], [], {CAP: enough})
    assert (job.refresh().status, job.phase) == (nodus.JobStatus.RUNNING, None)


def test_starting_over_gives_the_cap_back(http: httpx.Client, agent: nodus.Client) -> None:
    """Without a cap everything goes on; from the beginning it is the documented one."""
    job, _ = make_wait(http, agent)
    http.post("/_dev/cap", json={CAP: None})
    begin(http, job)
    uncapped = agent.key()
    status = job.refresh().status
    http.post("/_dev/reset")

    assert (uncapped.monthly_spend_cap_usd, status) == (None, nodus.JobStatus.RUNNING)
    assert agent.key().monthly_spend_cap_usd == 25
    assert waiting(http) == []


@pytest.mark.parametrize("cap", [-1, "5", True, 1e10, 0.0000001, [], {}, "none"])
def test_what_is_no_amount_is_refused(http: httpx.Client, agent: nodus.Client, cap: object) -> None:
    """And leaves the cap as it is; so does saying nothing."""
    answers = [http.post("/_dev/cap", json=body) for body in ({CAP: cap}, {})]

    assert [answer.status_code for answer in answers] == [422, 422]
    assert agent.key().monthly_spend_cap_usd == 25


def test_a_draft_of_the_agents_is_held_against_its_budget(http: httpx.Client) -> None:
    """What it has not left is rejected for that, and the least that it needs is said all the same."""
    spec = {"image": "a:1", "gpu": "h100_80gb", "gpu_count": 8, "max_runtime_seconds": 36_000}
    ours, agents = (http.post("/_dev/draft", json={"spec": spec, "as": who}).json() for who in ("human", "agent"))

    assert ours["routing"]["chosen"]["supplier"] == CHEAPEST
    assert agents["routing"]["chosen"] is None
    assert {each["rejected"] for each in agents["routing"]["candidates"]} == {"over_budget"}
    assert ours["reserved_usd"] == agents["reserved_usd"] > 25


def test_an_agent_that_runs_commands_does_not_change_its_own_cap() -> None:
    """The person does."""
    body = json.dumps({CAP: 1000}).encode()
    with LocalControlPlane(driver="process") as served:
        client = httpx.Client(base_url=served.base_url, trust_env=False, timeout=PATIENCE_SECONDS)
        signed = nodus.sign_request(
            signing_secret=served.agent_signing_secret, method="POST", path="/_dev/cap", body=body
        )
        answers = [
            client.post("/_dev/cap", content=body, headers={"Authorization": f"Bearer {key}", **headers})
            for key, headers in ((served.agent_api_key, signed), (served.api_key, {}))
        ]
        client.close()

    assert [answer.status_code for answer in answers] == [403, 200]
    assert answers[0].json()["error"] == "forbidden_principal"
