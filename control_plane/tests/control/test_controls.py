"""`/_dev`, faults on real sockets, and the fixture for other people's tests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from control.mixed import GPU, Mixed
from control.test_mixed_suppliers import CAMPUS, DESK, LAB, MOCK
from patience import PATIENCE_SECONDS

import nodus
from nodus_control.api.faults import FaultScript
from nodus_control.api.requests import ApiRequest
from nodus_control.playground.controls import get_state, read_draft
from nodus_control.playground.endpoints import Control
from nodus_control.playground.seeded import CUSTOMER_ID
from nodus_control.testing import LocalControlPlane

Spec = dict[str, Any]
OTHER_MOCK = replace(MOCK, name="other", micros_per_gpu_hour={"t4": 1})


@pytest.fixture
def served() -> Iterator[LocalControlPlane]:
    """A control plane on a loopback port."""
    with LocalControlPlane() as control_plane:
        yield control_plane


@pytest.fixture
def http(served: LocalControlPlane) -> Iterator[httpx.Client]:
    """A bare client of it."""
    headers = {"Authorization": f"Bearer {served.api_key}"}
    with httpx.Client(base_url=served.base_url, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS) as client:
        yield client


def test_the_state_is_shown(http: httpx.Client) -> None:
    """The state has the clock, the seed, the driver, the suppliers and the faults."""
    state = http.get("/_dev/state").json()

    assert (state["now"], state["speed"], state["seed"]) == ("2026-01-01T00:00:00.000Z", 0.0, 0)
    assert (state["driver"], len(state["suppliers"]), state["faults"]) == ("simulated", 10, [])
    assert state["gpus"] == ["a100_40gb", "a100_80gb", "a10g", "h100_80gb", "l40s"]


def test_the_state_tells_of_what_has_no_event(served: LocalControlPlane, http: httpx.Client, spec: Spec) -> None:
    """How long the ledger is, and how many webhooks there are: whoever watches knows when to look again."""
    before = http.get("/_dev/state").json()
    # What becomes of the job is recorded too, at any moment.
    with served.plane.worker.paused():
        http.post("/v1/jobs", json=spec)
        http.post("/v1/webhooks", json={"url": f"{http.base_url}/_dev/inbox/x", "events": ["job.placed"]})
        state = http.get("/_dev/state").json()
        checkpoint = http.get("/v1/ledger/checkpoint").json()

    assert state["ledger_size"] == checkpoint["size"] > before["ledger_size"]
    assert state["webhooks"] == before["webhooks"] + 1


def test_the_clock_is_moved_and_what_falls_due_is_done(http: httpx.Client, spec: Spec) -> None:
    """All that falls due is done before the answer is sent."""
    job = http.post("/v1/jobs", json=spec).json()
    answer = http.post("/_dev/clock/advance", json={"seconds": 3600})

    assert answer.json()["now"] == "2026-01-01T01:00:00.000Z"
    assert http.get(f"/v1/jobs/{job['id']}").json()["status"] == "completed"


@pytest.mark.parametrize("seconds", [-1, "x", None, True, 1e30])
def test_the_clock_does_not_go_back(http: httpx.Client, seconds: object) -> None:
    """Negative and absurdly large numbers are refused, and so is what is no number."""
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
    """The answer is 404."""
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
    """The fault's headers come with it, in the envelope, and later calls succeed."""
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
    """The answer is 422."""
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
    """Each control plane has its own jobs and its own clock."""
    with LocalControlPlane() as one, LocalControlPlane() as other:
        for control_plane in (one, other):
            headers = {"Authorization": f"Bearer {control_plane.api_key}"}
            httpx.post(
                f"{control_plane.base_url}/v1/jobs",
                json=spec,
                headers=headers,
                trust_env=False,
                timeout=PATIENCE_SECONDS,
            )
        one.advance(1000)
        statuses = [
            httpx.get(
                f"{control_plane.base_url}/v1/jobs", headers=headers, trust_env=False, timeout=PATIENCE_SECONDS
            ).json()["jobs"][0]["status"]
            for control_plane in (one, other)
        ]

    assert statuses[0] == "completed"
    assert statuses[1] in {"queued", "placed"}


def test_the_sdk_runs_a_job_of_twenty_hours(served: LocalControlPlane) -> None:
    """The clock is advanced, so nobody waits for that time."""
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


@pytest.fixture
def running() -> Iterator[LocalControlPlane]:
    """A control plane whose clock runs by itself."""
    with LocalControlPlane(speed=60.0) as control_plane:
        yield control_plane


def milliseconds(timestamp: str) -> int:
    """Read a time."""
    return round(datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp() * 1000)


def set_clock(control_plane: LocalControlPlane, **change: object) -> httpx.Response:
    """Change how the clock runs."""
    return httpx.post(f"{control_plane.base_url}/_dev/clock", json=change, trust_env=False, timeout=PATIENCE_SECONDS)


def test_a_paused_clock_stands_and_goes_on_where_it_was(running: LocalControlPlane) -> None:
    """It can still be advanced, and keeps its speed."""
    paused = set_clock(running, paused=True).json()
    later = httpx.post(
        f"{running.base_url}/_dev/clock/advance", json={"seconds": 10}, trust_env=False, timeout=PATIENCE_SECONDS
    ).json()
    state = httpx.get(f"{running.base_url}/_dev/state", trust_env=False, timeout=PATIENCE_SECONDS).json()

    assert (paused["paused"], paused["speed"]) == (True, 60.0)
    assert milliseconds(later["now"]) - milliseconds(paused["now"]) == 10_000
    assert (state["paused"], state["now"]) == (True, later["now"])
    assert set_clock(running, paused=False).json()["paused"] is False
    assert running.plane.clock.speed == 60.0


def test_a_paused_clock_lets_nothing_fall_due(running: LocalControlPlane, spec: Spec) -> None:
    """What is due when it goes on, is done then."""
    with nodus.Client(api_key=running.api_key, base_url=running.base_url) as client:
        set_clock(running, paused=True)
        job = client.run(**spec)
        stands = running.plane.clock.now()
        set_clock(running, paused=False, speed="instant")
        job.wait(poll_seconds=0.05, timeout_seconds=PATIENCE_SECONDS)

    assert job.succeeded
    assert running.plane.clock.now() > stands


def test_speed_changes_without_a_leap(running: LocalControlPlane) -> None:
    """Time goes on from where it is."""
    began, before = time.time(), running.plane.clock.now()
    answer = set_clock(running, speed=1).json()
    passed_ms = 1000 * (time.time() - began)

    assert answer["speed"] == 1
    assert 0 <= milliseconds(answer["now"]) - before <= 60 * (passed_ms + 1000)


@pytest.mark.parametrize("change", [{"speed": 0}, {"speed": -1}, {"speed": "fast"}, {"speed": 1e9}, {"paused": "yes"}])
def test_a_pace_that_is_none_is_refused(running: LocalControlPlane, change: dict[str, object]) -> None:
    """The clock goes on as before."""
    assert set_clock(running, **change).status_code == 422
    assert running.plane.clock.speed == 60.0


def test_a_manual_clock_has_no_pace(served: LocalControlPlane) -> None:
    """It stands until it is advanced."""
    assert set_clock(served, speed=60).json()["error"] == "clock_is_manual"


def test_a_run_is_repeated_from_its_seed_and_place() -> None:
    """Reset to what `/_dev/runs` says, the next submission goes as the one did that it was asked about."""
    with (
        LocalControlPlane(reliable=False, seed=7) as control_plane,
        nodus.Client(api_key=control_plane.api_key, base_url=control_plane.base_url) as client,
    ):
        spec: Spec = {"image": "x", "gpu": "a10g", "max_runtime_seconds": 172_800}
        for _ in range(3):
            client.run(**spec)
        control_plane.advance(14 * 86_400)
        third = client.list(limit=1)[0]
        run = httpx.get(
            f"{control_plane.base_url}/_dev/runs/{third.id}", trust_env=False, timeout=PATIENCE_SECONDS
        ).json()
        state = httpx.post(
            f"{control_plane.base_url}/_dev/reset", json={"seed": 9}, trust_env=False, timeout=PATIENCE_SECONDS
        ).json()
        client.run(**spec)
        again = httpx.post(
            f"{control_plane.base_url}/_dev/reset", json=run, trust_env=False, timeout=PATIENCE_SECONDS
        ).json()
        job = client.run(**spec)
        control_plane.advance(14 * 86_400)
        job.refresh()

    assert run == {"seed": 7, "passed_over": 2}
    assert (state["seed"], again["seed"]) == (9, 7)
    assert state["epoch"] != again["epoch"]
    assert job.id[-20:] == third.id[-20:]
    assert (job.supplier, job.region, job.cost_usd) == (third.supplier, third.region, third.cost_usd)


def test_a_kept_database_keeps_its_seed_and_epoch(tmp_path: Path) -> None:
    """The next start would not know of another; what was read before the restart is still true after it."""
    epochs = []
    for _ in range(2):
        with LocalControlPlane(database=tmp_path / "nodus.db") as control_plane:
            refused = httpx.post(
                f"{control_plane.base_url}/_dev/reset", json={"seed": 9}, trust_env=False, timeout=PATIENCE_SECONDS
            )
            state = httpx.get(f"{control_plane.base_url}/_dev/state", trust_env=False, timeout=PATIENCE_SECONDS).json()
            assert refused.json()["error"] == "seed_is_kept"
            epochs.append(state["epoch"])

    assert epochs[0] == epochs[1]


@pytest.fixture
def mixed(kept_database_url: str) -> Iterator[Mixed]:
    """A control plane of suppliers of every kind, one of which takes one customer."""
    entries = (
        MOCK,
        DESK,
        CAMPUS,
        replace(LAB, micros_per_gpu_hour={GPU: 4_000_000, "a10g": 1}, gpus={GPU: 2, "a10g": 1}),
    )
    made = Mixed(kept_database_url, (*entries, OTHER_MOCK), one_customer=["desk"])
    yield made
    made.plane.close()


def asked(mixed: Mixed, control: Callable[[Control], dict[str, Any]], **body: Any) -> dict[str, Any]:
    """Ask a control."""
    call = ApiRequest("POST", "/_dev/draft", "", [(b"host", b"x")], json.dumps(body).encode(), {})
    return control(Control(mixed.plane, FaultScript(), call, None))


def test_the_state_has_what_the_seeded_keys_can_use(mixed: Mixed) -> None:
    """Where something really runs, nothing of what is simulated."""
    state = asked(mixed, get_state)

    assert state["gpus"] == ["a10g", GPU]
    assert {each["name"] for each in state["suppliers"]} == {"desk", "campus", "lab"}


def test_a_draft_goes_where_a_submission_would(mixed: Mixed) -> None:
    """Not to what cannot run it, is another customer's, out, or full; the reservation is of what is left."""
    spec = {"image": "x", "gpu": GPU, "gpu_count": 1, "max_runtime_seconds": 3600, "command": ["true"]}
    mixed.submit("somebody")
    mixed.plane.worker.run_due()
    drafted = asked(mixed, read_draft, spec={**spec, "env": {"PWD": "/x"}})
    rejected = {each["supplier"]: each["rejected"] for each in drafted["routing"]["candidates"]}
    mixed.plane.set_outage("campus", on=True)
    full = asked(mixed, read_draft, spec={**spec, "gpu_count": 2})
    mixed.submit(CUSTOMER_ID)
    mixed.plane.worker.run_due()
    fuller = asked(mixed, read_draft, spec={**spec, "gpu_count": 2})

    assert rejected == {"desk": "cannot_run", "campus": "cannot_run", "lab": None}
    assert drafted["routing"]["chosen"]["supplier"] == "lab"
    assert drafted["reserved_usd"] == 4
    assert full["routing"]["chosen"]["supplier"] == "lab"
    assert fuller["routing"]["chosen"] is None
    assert fuller["routing"]["candidates"][0]["has_room"] is False
