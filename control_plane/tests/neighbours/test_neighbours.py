"""One tenant that does its worst, and another that asks for its key: it is answered in less than five times as long.

Ratios of medians within one run, on a server in a process of its own; the attacker is another process. The machine may
do something else meanwhile. An attack that slows does so in every round: its best counts, held against the worst alone.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hosted.processes import Hosted
from neighbours import attacks
from patience import PATIENCE_SECONDS
from sqlalchemy import select

from nodus_control.control_plane import ControlPlane
from nodus_ledger.database.trust_schema import heads
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = [pytest.mark.soak, pytest.mark.both_engines]

REQUESTS = 60
ROUNDS = 3
PACE_SECONDS = 0.03
MOST_TIMES = 5


@pytest.fixture
def here(kept_database_url: str) -> Iterator[ControlPlane]:
    """A control plane of the test's own on the database: to mint keys, and to hold locks."""
    control_plane = ControlPlane(kept_database_url, seed=None, is_alone=False)
    yield control_plane
    control_plane.close()


@pytest.fixture
def url(here: ControlPlane, kept_database_url: str, tmp_path: Path) -> Iterator[str]:
    """Where a server on that database answers, beside a worker."""
    with Hosted(kept_database_url, tmp_path) as processes:
        allowed = ("--webhook-allow", "127.0.0.1")
        processes.work(*allowed)
        # As it is by default, which other tests do without.
        yield processes.serve(*allowed, "--rate-limit", "50/s")


def mint(control_plane: ControlPlane, customer_id: str) -> str:
    """Make a key."""
    now = control_plane.clock.now()
    return control_plane.keys.mint(
        customer_id=customer_id, label="", principal_kind=PrincipalKind.SERVICE, now=now
    ).api_key


def median_seconds(client: httpx.Client) -> float:
    """Ask for the key again and again, below its rate; return how long that takes."""
    took = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        client.get("/v1/key").raise_for_status()
        took.append(time.perf_counter() - began)
        time.sleep(PACE_SECONDS)
    return statistics.median(took)


def slowest_alone(client: httpx.Client) -> float:
    """Return the longest median of some rounds."""
    return max(median_seconds(client) for _ in range(ROUNDS))


def fastest_beside(client: httpx.Client) -> float:
    """Return the shortest median of some rounds."""
    return min(median_seconds(client) for _ in range(ROUNDS))


def client_of(url: str, api_key: str) -> httpx.Client:
    """Make a client."""
    headers = {"Authorization": f"Bearer {api_key}"}
    return httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize("kind", sorted(attacks.ATTACKS))
def test_an_attack_of_one_tenant_does_not_slow_another(here: ControlPlane, url: str, kind: str) -> None:
    """The other tenant's calls stay fast during each kind of attack."""
    keys = [mint(here, "attacker") for _ in range(50 if kind == "streams" else 1)]
    with client_of(url, mint(here, "good")) as client:
        median_seconds(client)
        alone = slowest_alone(client)
        with subprocess.Popen(
            [sys.executable, attacks.__file__, kind, url, ",".join(keys)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as attacking:
            assert attacking.stdout is not None
            assert attacking.stdout.readline() == "ready\n"
            beside = fastest_beside(client)
            attacking.communicate(timeout=PATIENCE_SECONDS)

    assert beside < MOST_TIMES * alone


def test_locked_rows_of_one_tenant_do_not_slow_another(here: ControlPlane, url: str) -> None:
    """All of the tenant's submissions wait for a transaction that is left open."""
    job = json.dumps({"image": "x", "gpu": "l40s"})
    locked_key = mint(here, "locked")
    with client_of(url, mint(here, "good")) as client, client_of(url, locked_key) as other:
        other.post("/v1/jobs", content=job).raise_for_status()
        median_seconds(client)
        alone = slowest_alone(client)
        with here.database.write() as connection:
            connection.execute(select(heads).where(heads.c.customer_id == "locked").with_for_update())
            submitting = [
                subprocess.Popen([sys.executable, "-c", _SUBMIT, url, locked_key, job], stdout=subprocess.PIPE)
                for _ in range(4)
            ]
            for each in submitting:
                assert each.stdout is not None
                assert each.stdout.readline() == b"ready\n"
            beside = fastest_beside(client)
        for each in submitting:
            each.kill()
            each.communicate()

    assert beside < MOST_TIMES * alone


_SUBMIT = """
import sys, threading, httpx
url, key, job = sys.argv[1:]
def submit():
    headers = {"Authorization": "Bearer " + key}
    httpx.post(url + "/v1/jobs", headers=headers, content=job, trust_env=False, timeout=60)
for _ in range(20):
    threading.Thread(target=submit).start()
print("ready", flush=True)
"""
