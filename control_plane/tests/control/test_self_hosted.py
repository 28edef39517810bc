"""The self-hosted form: API and worker as processes of their own, on one database."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from nodus_control.plane import Plane
from nodus_ledger.keys import PrincipalKind

PATIENCE_SECONDS = 60.0


def start(command: str, database: str, output: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start `nodus-control`."""
    program = "from nodus_control.cli import main; main()"
    with output.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-u", "-c", program, command, *options],
            env={**os.environ, "NODUS_DATABASE_URL": database},
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def test_a_job_that_one_process_accepts_another_runs(tmp_path: Path) -> None:
    """Without seeded keys and without the playground's controls; both end with a signal."""
    database = f"sqlite:///{tmp_path / 'nodus.db'}"
    plane = Plane(database, seed=None, is_alone=False)
    minted = plane.keys.mint(
        customer_id="acme", label="", principal_kind=PrincipalKind.HUMAN, now=plane.clock.now(), is_test=True
    )
    plane.close()
    output = tmp_path / "serve.txt"
    processes = [
        start("serve", database, output, "--port", "0"),
        start("worker", database, tmp_path / "worker.txt"),
    ]
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := re.search(r"serving (http://\S+)", output.read_text())) is None:
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.05)
        headers = {"Authorization": f"Bearer {minted.api_key}"}
        with httpx.Client(base_url=found.group(1), headers=headers, trust_env=False) as client:
            job = client.post("/v1/jobs", json={"image": "x", "gpu": "h100_80gb"}).json()
            while client.get(f"/v1/jobs/{job['id']}").json()["status"] == "queued":
                assert time.monotonic() < deadline, (tmp_path / "worker.txt").read_text()
                time.sleep(0.05)
            controls = client.get("/_dev/state")
            page = client.get("/")
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        statuses = [process.wait(PATIENCE_SECONDS) for process in processes]

    assert (controls.status_code, page.status_code) == (404, 404)
    assert statuses == [0, 0]
