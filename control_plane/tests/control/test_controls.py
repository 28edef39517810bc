"""`/_dev`, faults on real sockets, and the fixture for other people's tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import nodus
from nodus_control.testing import LocalControlPlane

Spec = dict[str, Any]


@pytest.fixture
def served() -> Iterator[LocalControlPlane]:
    """A control plane on a loopback port."""
    with LocalControlPlane() as plane:
        yield plane


@pytest.fixture
def http(served: LocalControlPlane) -> Iterator[httpx.Client]:
    """A bare client of it."""
    headers = {"Authorization": f"Bearer {served.api_key}"}
    with httpx.Client(base_url=served.base_url, headers=headers, trust_env=False) as client:
        yield client


def test_the_state_is_shown(http: httpx.Client) -> None:
    """Clock, seed, driver, suppliers, faults."""
    state = http.get("/_dev/state").json()

    assert (state["now"], state["speed"], state["seed"]) == ("2026-01-01T00:00:00.000Z", 0.0, 0)
    assert (state["driver"], len(state["suppliers"]), state["faults"]) == ("simulated", 10, [])


def test_the_clock_is_moved_and_what_falls_due_is_done(http: httpx.Client, spec: Spec) -> None:
    """Before the answer comes."""
    job = http.post("/v1/jobs", json=spec).json()
    answer = http.post("/_dev/clock/advance", json={"seconds": 3600})

    assert answer.json()["now"] == "2026-01-01T01:00:00.000Z"
    assert http.get(f"/v1/jobs/{job['id']}").json()["status"] == "completed"


@pytest.mark.parametrize("seconds", [-1, "x", None, True, 1e30])
def test_the_clock_does_not_go_back(http: httpx.Client, seconds: object) -> None:
    """Nor nowhere."""
    assert http.post("/_dev/clock/advance", json={"seconds": seconds}).status_code == 422


def test_an_outage_fails_over_at_once(http: httpx.Client, spec: Spec) -> None:
    """What ran there is elsewhere when the answer comes, and new jobs avoid it."""
    job = http.post("/v1/jobs", json=spec).json()
    http.post("/_dev/clock/advance", json={"seconds": 60})
    http.post("/_dev/suppliers/hyperbolic/outage", json={"on": True})
    moved = http.get(f"/v1/jobs/{job['id']}").json()
    new = http.post("/v1/jobs", json=spec).json()
    http.post("/_dev/clock/advance", json={"seconds": 3600})
    routing = http.get(f"/v1/jobs/{new['id']}/routing").json()

    assert (moved["status"], moved["supplier"], moved["attempts"]) == ("placed", "vast", 2)
    assert routing["chosen"]["supplier"] == "vast"
    assert {one["rejected"] for one in routing["candidates"] if one["supplier"] == "hyperbolic"} == {"outage"}
    assert {one["status"] for one in http.get("/v1/jobs").json()["jobs"]} == {"completed"}


def test_an_unknown_supplier_has_no_outage(http: httpx.Client) -> None:
    """404."""
    assert http.post("/_dev/suppliers/nobody/outage", json={"on": True}).json()["error"] == "supplier_not_found"


@pytest.mark.parametrize("do", ["drop_before", "drop_after", "truncate"])
def test_a_dropped_connection_is_dropped(http: httpx.Client, spec: Spec, do: str) -> None:
    """On the socket, before or after the job was accepted, or in the middle of the answer; then all is well."""
    http.post("/_dev/faults", json={"match": {"method": "POST", "path": "/v1/jobs"}, "do": do})
    with pytest.raises(httpx.TransportError):
        http.post("/v1/jobs", json=spec)
    accepted = http.get("/v1/jobs").json()["jobs"]

    assert len(accepted) == (0 if do == "drop_before" else 1)
    assert http.post("/v1/jobs", json=spec).status_code == 202


def test_a_status_is_answered_as_often_as_asked(http: httpx.Client) -> None:
    """With its headers, in the envelope; then no more."""
    fault = {"match": {"path": "/v1/*"}, "do": "status", "status": 429, "headers": {"Retry-After": "7"}, "times": 2}
    http.post("/_dev/faults", json=fault)
    answers = [http.get("/v1/jobs") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "7"
    assert answers[0].json()["request_id"] == answers[0].headers["x-request-id"]


def test_faults_can_be_cleared(http: httpx.Client) -> None:
    """`/_dev` itself is exempt from them."""
    http.post("/_dev/faults", json={"do": "drop_before", "times": 1000})
    pending = http.get("/_dev/state").json()["faults"]
    http.delete("/_dev/faults")

    assert pending[0]["times"] == 1000
    assert http.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"do": "explode"},
        {"do": "status", "status": 99},
        {"do": "status", "headers": {"A": "b\r\nc"}},
        {"do": "delay", "seconds": -1},
        {"do": "delay", "times": 0},
        {"do": "delay", "match": "all"},
        [],
    ],
)
def test_a_fault_that_means_nothing_is_refused(http: httpx.Client, fault: object) -> None:
    """422."""
    assert http.post("/_dev/faults", json=fault).status_code == 422


def test_a_reset_begins_again(http: httpx.Client, spec: Spec) -> None:
    """No jobs, no outages, no faults; the keys stay; the same submissions have the same fate as before."""

    def fate() -> tuple[str, str, float]:
        job = http.post("/v1/jobs", json={**spec, "env": {}}).json()
        http.post("/_dev/clock/advance", json={"seconds": 7200})
        view = http.get(f"/v1/jobs/{job['id']}").json()
        return view["id"][-15:], view["supplier"], view["duration_s"]

    before = fate()
    http.post("/_dev/suppliers/vast/outage", json={"on": True})
    http.post("/_dev/faults", json={"do": "drop_before"})
    state = http.post("/_dev/reset").json()

    assert not any(supplier["outage"] for supplier in state["suppliers"])
    assert http.get("/v1/jobs").json() == {"jobs": [], "next_cursor": None}
    assert http.get("/v1/key").json()["month_to_date_usd"] == 0
    assert fate() == before


def test_several_live_in_one_process(spec: Spec) -> None:
    """Each with its own jobs and its own time."""
    with LocalControlPlane() as one, LocalControlPlane() as other:
        for plane in (one, other):
            headers = {"Authorization": f"Bearer {plane.api_key}"}
            httpx.post(f"{plane.base_url}/v1/jobs", json=spec, headers=headers, trust_env=False)
        one.advance(1000)
        statuses = [
            httpx.get(f"{plane.base_url}/v1/jobs", headers=headers, trust_env=False).json()["jobs"][0]["status"]
            for plane in (one, other)
        ]

    assert statuses[0] == "completed"
    assert statuses[1] in {"queued", "placed"}


def test_the_sdk_runs_a_job_of_twenty_hours(served: LocalControlPlane) -> None:
    """In no time."""
    with nodus.Client(api_key=served.api_key, base_url=served.base_url) as client:
        job = client.run(
            image="ghcr.io/acme/train:v3",
            gpu_count=8,
            env={"NODUS_SIM_DURATION_SECONDS": "72000"},
            max_runtime_seconds=80_000,
        )
        served.advance(20 * 3600 + 100)
        job.wait()

    assert (job.status, job.cost_usd) == (nodus.JobStatus.COMPLETED, 206.4)


def test_the_sdk_survives_a_lost_answer(served: LocalControlPlane) -> None:
    """One job, though the first answer never came."""
    served.faults("drop_after", method="POST", path="/v1/jobs")
    with nodus.Client(api_key=served.api_key, base_url=served.base_url) as client:
        job = client.run(image="x")
        listed = client.list()

    assert [one.id for one in listed] == [job.id]
