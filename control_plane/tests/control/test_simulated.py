"""What is simulated says so wherever it is seen, and takes no key that could be billed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from control.sse import parse
from entries import catalogue_of, supplier
from patience import PATIENCE_SECONDS
from sqlalchemy import update

from nodus_control.control_plane import ControlPlane
from nodus_control.testing import LocalControlPlane
from nodus_ledger.database.schema import jobs
from nodus_ledger.keys.keys import PrincipalKind
from nodus_ledger.verification.verify import verify

SIMULATED, PROCESS = "simulated", "process"
SPEC = {
    "image": "a/b:1",
    "gpu": "l40s",
    "command": [sys.executable, "-c", "print(1)"],
    "env": {"NODUS_SIM_DURATION_SECONDS": "5"},
    "max_runtime_seconds": 3600,
}


@pytest.fixture(params=[SIMULATED, PROCESS])
def control_plane(request: pytest.FixtureRequest) -> Iterator[LocalControlPlane]:
    """A control plane of each driver."""
    with LocalControlPlane(driver=request.param) as started:
        yield started


@pytest.fixture
def client(control_plane: LocalControlPlane) -> Iterator[httpx.Client]:
    """A client with the person's key."""
    with client_of(control_plane, control_plane.api_key) as opened:
        yield opened


def client_of(control_plane: LocalControlPlane, api_key: str) -> httpx.Client:
    """Make a client."""
    headers = {"Authorization": f"Bearer {api_key}"}
    return httpx.Client(base_url=control_plane.base_url, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS)


def is_simulated(control_plane: LocalControlPlane) -> bool:
    """Say which of the two it is."""
    return control_plane.plane.drivers.name == SIMULATED


def run_to_its_end(control_plane: LocalControlPlane, client: httpx.Client) -> dict[str, Any]:
    """Run a job; return it."""
    job = client.post("/v1/jobs", json=SPEC).raise_for_status().json()
    if is_simulated(control_plane):
        control_plane.advance(600)
    ended: dict[str, Any] = until(
        lambda: client.get(f"/v1/jobs/{job['id']}").json(), lambda seen: bool(seen["finished_at"])
    )
    return ended


def until(read: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
    """Read until it holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds(seen := read()):
        assert time.monotonic() < deadline, seen
        time.sleep(0.02)
    return seen


def mint_other_kind(control_plane: LocalControlPlane) -> str:
    """Mint a key of the same customer, for simulations where suppliers are real, and the other way round."""
    key = control_plane.plane.keys.find(control_plane.api_key)
    assert key is not None
    return control_plane.plane.keys.mint(
        customer_id=key.customer_id, label="", principal_kind=PrincipalKind.HUMAN, now=0, is_test=not key.is_test
    ).api_key


def test_every_surface_says_so(control_plane: LocalControlPlane, client: httpx.Client) -> None:
    """The job, the list, both event streams, webhooks, every row of the ledger about the job, the meter's mode."""
    events = ["job.placed", "job.completed"]
    hook = {"url": f"{control_plane.base_url}/_dev/inbox/test", "events": events}
    client.post("/v1/webhooks", json=hook).raise_for_status()
    accepted = client.post("/v1/jobs", json={**SPEC, "idempotency_key": "k"}).json()
    job = run_to_its_end(control_plane, client)
    inbox = until(
        lambda: client.get("/_dev/inbox").json()["deliveries"],
        lambda seen: set(events) <= {each["event"]["type"] for each in seen},
    )
    entries = client.get("/v1/ledger", params={"job_id": job["id"]}).json()["entries"]
    rows = [entry for entry in entries if entry["kind"].startswith(("job.", "attempt."))]
    streamed = parse(client.get(f"/v1/jobs/{job['id']}/events").text)
    with client.stream("GET", "/v1/events") as response:
        first = next(line for line in response.iter_lines() if line.startswith("data: "))
    seen = {
        "accepted": accepted["simulated"],
        "job": job["simulated"],
        **{f"listed {each['id']}": each["simulated"] for each in client.get("/v1/jobs").json()["jobs"]},
        **{f"event {frame.id}": frame.data["simulated"] for frame in streamed},
        "event of the customer": json.loads(first[6:])["simulated"],
        **{f"webhook {each['event']['id']}": each["event"]["data"]["simulated"] for each in inbox},
        **{f"row {row['seq']}": row["payload"]["simulated"] for row in rows},
    }

    assert seen == dict.fromkeys(seen, is_simulated(control_plane))
    assert {row["kind"] for row in rows} == {
        "job.submitted",
        "attempt.opened",
        "job.transition",
        "attempt.ended",
        "job.settled",
    }
    assert verify(control_plane.plane.database).is_sound


def test_budget_events_say_so(control_plane: LocalControlPlane, client: httpx.Client) -> None:
    """An exceeded budget of play money is none that anybody must answer for."""
    minted = control_plane.plane.keys.mint(
        customer_id="playground",
        label="",
        principal_kind=PrincipalKind.AGENT,
        now=control_plane.plane.clock.now(),
        monthly_cap=1,
        is_test=is_simulated(control_plane),
    )
    hook = {"url": f"{control_plane.base_url}/_dev/inbox/test", "events": ["budget.exceeded"]}
    client.post("/v1/webhooks", json=hook).raise_for_status()
    with client_of(control_plane, minted.api_key) as poor:
        refused = poor.post("/v1/jobs", json=SPEC)
    if is_simulated(control_plane):
        control_plane.advance(1)
    [received] = until(lambda: client.get("/_dev/inbox").json()["deliveries"], bool)

    assert refused.status_code == 402
    assert received["event"]["data"]["simulated"] is is_simulated(control_plane)


def test_the_other_kind_of_key_reads_and_submits_nothing(
    control_plane: LocalControlPlane, client: httpx.Client
) -> None:
    """`422 no_such_offer`, which names the kind that is taken; nothing is kept of it, not even the idempotency key."""
    job = run_to_its_end(control_plane, client)
    with client_of(control_plane, mint_other_kind(control_plane)) as other:
        refused = other.post("/v1/jobs", json={**SPEC, "idempotency_key": "k"})
        read = other.get(f"/v1/jobs/{job['id']}")
        own = other.get("/v1/key")
    accepted = client.post("/v1/jobs", json={**SPEC, "idempotency_key": "k"})

    assert (refused.status_code, refused.json()["error"]) == (422, "no_such_offer")
    assert ("nk_test_" if is_simulated(control_plane) else "nk_live_") in refused.json()["message"]
    assert (read.status_code, own.status_code) == (200, 200)
    assert accepted.status_code == 202


def test_a_test_key_cancels_nothing_that_really_runs() -> None:
    """A key for trying things out cannot end what others depend on."""
    with LocalControlPlane(driver=PROCESS) as control_plane, client_of(control_plane, control_plane.api_key) as live:
        job = live.post("/v1/jobs", json={**SPEC, "command": ["sleep", "60"]}).json()
        with client_of(control_plane, mint_other_kind(control_plane)) as test:
            refused = test.post(f"/v1/jobs/{job['id']}/cancel")
        cancelled = live.post(f"/v1/jobs/{job['id']}/cancel")

    assert (refused.status_code, refused.json()["error"]) == (403, "forbidden_principal")
    assert cancelled.status_code == 200


@pytest.mark.both_engines
def test_jobs_from_before_it_was_recorded_count_as_simulated(database_url: str) -> None:
    """Those of test keys go on, those of live keys that wait end at no cost, and nothing is billed."""
    with LocalControlPlane(database=database_url, serve=False) as made:
        control_plane = made.plane
        ids = [_submitted(control_plane, made.api_key), _submitted(control_plane, mint_other_kind(made), live=True)]
        with control_plane.database.write() as connection:
            connection.execute(update(jobs).values(simulated=None))
        made.advance(600)
        ended = [control_plane.jobs.get("playground", job_id) for job_id in ids]

    assert [(job.status, job.error_code, job.is_simulated) for job in ended] == [
        ("completed", None, True),
        ("failed", "no_supplier", True),
    ]
    assert [job.cost == 0 for job in ended] == [False, True]


def _submitted(control_plane: ControlPlane, api_key: str, *, live: bool = False) -> str:
    """Submit as a version did that took either kind of key."""
    from nodus_core.spec import parse_spec
    from nodus_ledger.jobs.jobs import Jobs

    key = control_plane.keys.find(api_key)
    assert key is not None
    by = control_plane.jobs
    if live:
        fingerprints = by._submissions._fingerprints
        by = Jobs(
            control_plane.database,
            by._sealer,
            fingerprints,
            catalogue_of(supplier("real", {"l40s": 1})),
            control_plane.job_ids,
        )
    return by.submit(key, parse_spec({**SPEC, "command": None}), None, control_plane.clock.now()).job.id
