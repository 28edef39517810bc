"""kill -9 in the middle of everything, then a restart: nothing is lost, stuck, or run twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import forked
import httpx
import pytest
from patience import PATIENCE_SECONDS, eventually

JOBS = 50
GPUS = ("h100_80gb", "a100_80gb", "a100_40gb", "l40s", "a10g")
COMMANDS = 8 * len(GPUS)
"""As many as there are GPUs, so that all can run at once."""

# Notes that it ran, once per run, then waits to be released.
PROGRAM = (
    "import os, sys, time\n"
    "with open(sys.argv[1], 'a') as ran: ran.write('x')\n"
    "print('hello from', sys.argv[3], flush=True)\n"
    "while not os.path.exists(sys.argv[2]): time.sleep(0.05)\n"
    "sys.exit(int(sys.argv[4]))\n"
)


class Playground:
    """A playground in a process of its own, on one SQLite file, that can be killed and started again."""

    def __init__(self, directory: Path, driver: str, *options: str) -> None:
        self.directory = directory
        self.driver = driver
        self.options = options
        self.process: forked.Program | None = None
        self.client = httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS)

    def start(self) -> None:
        """Start it; back once it answers."""
        ready = self.directory / "ready.json"
        ready.unlink(missing_ok=True)
        options = ["--port", "0", "--no-browser", "--db", f"sqlite:///{self.directory / 'nodus.db'}"]
        options += ["--driver", self.driver, *self.options, "--ready-file", str(ready)]
        self.process = forked.start("playground", *options)
        eventually(ready.exists)
        content = json.loads(ready.read_text())
        self.client.base_url = content["base_url"]
        self.client.headers["Authorization"] = f"Bearer {content['api_key']}"

    def end(self, how: signal.Signals) -> int:
        """Send a signal; return the exit status."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_SECONDS)

    def submit(self, key: str, **spec: Any) -> httpx.Response:
        """Submit a job; where the disk is so slow that others write for too long, come again, as the answer says."""
        answers: list[httpx.Response] = []

        def is_answered() -> bool:
            answers.append(self.client.post("/v1/jobs", json=spec, headers={"Idempotency-Key": key}))
            return answers[-1].status_code != 503

        eventually(is_answered)
        return answers[-1]

    def jobs(self) -> list[dict[str, Any]]:
        """List all jobs."""
        listed: list[dict[str, Any]] = self.client.get("/v1/jobs", params={"limit": 200}).json()["jobs"]
        return listed

    def attempts(self) -> int:
        """Count the submissions to the driver on record."""
        connection = sqlite3.connect(self.directory / "nodus.db")
        count: int = connection.execute("SELECT count(*) FROM attempts").fetchone()[0]
        connection.close()
        return count


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Playground]]:
    """Starts playgrounds; ends what is left of them."""
    made: list[Playground] = []

    def start(driver: str, *options: str) -> Playground:
        playground = Playground(tmp_path, driver, *options)
        made.append(playground)
        playground.start()
        return playground

    yield start
    for playground in made:
        playground.client.close()
        if playground.process is not None and playground.process.poll() is None:
            playground.end(signal.SIGKILL)


def test_simulated_jobs_go_on_after_a_kill(started: Callable[..., Playground]) -> None:
    """Fifty in flight, killed twice: each accepted one ends, at the cost that it would have had, from one job row."""
    playground = started("simulated", "--speed", "60", "--seed", "3")
    accepted: dict[str, str] = {}
    for number in range(JOBS):
        env = {"NODUS_SIM_DURATION_SECONDS": str(60 + 5 * number)}
        answer = playground.submit(f"job {number}", image="x", gpu="h100_80gb", env=env)
        assert answer.status_code == 202
        accepted[answer.json()["id"]] = f"job {number}"
        if number in (20, JOBS - 1):
            playground.end(signal.SIGKILL)
            playground.start()
    eventually(lambda: all(job["finished_at"] for job in playground.jobs()))
    jobs = playground.jobs()
    again = playground.submit("job 0", image="x", gpu="h100_80gb", env={"NODUS_SIM_DURATION_SECONDS": "60"})

    assert {job["id"] for job in jobs} == set(accepted)
    assert {job["status"] for job in jobs} == {"completed"}
    assert sorted(job["duration_s"] for job in jobs) == [60.0 + 5 * number for number in range(JOBS)]
    assert again.headers["idempotent-replayed"] == "true"
    assert playground.end(signal.SIGINT) == 0


@pytest.mark.skipif(os.name != "posix", reason="the process driver needs POSIX")
def test_running_commands_are_adopted_after_a_kill(started: Callable[..., Playground], tmp_path: Path) -> None:
    """Each ran once; those still running are waited for, those that ended meanwhile have their status and output."""
    playground = started("process", "--process-jobs", str(COMMANDS))
    early, late = tmp_path / "early", tmp_path / "late"

    def submit(number: int) -> str:
        ran = tmp_path / f"ran-{number}"
        gate, status = (early, "3") if number % 5 == 0 else (late, "0")
        command = [sys.executable, "-c", PROGRAM, str(ran), str(gate), str(number), status]
        answer = playground.submit(f"job {number}", image="x", gpu=GPUS[number // 8], command=command)
        assert answer.status_code == 202
        job_id: str = answer.json()["id"]
        return job_id

    made = [submit(number) for number in range(COMMANDS)]
    # Killed in the midst of starting them: some run, some are on their way, some nobody has heard of.
    eventually(lambda: sum((tmp_path / name).exists() for name in names(COMMANDS)) >= COMMANDS // 4)
    playground.end(signal.SIGKILL)
    early.touch()
    playground.start()
    eventually(lambda: {job["id"] for job in playground.jobs() if job["status"] == "failed"} == set(made[::5]))
    late.touch()
    eventually(lambda: all(job["finished_at"] for job in playground.jobs()))
    jobs = {job["id"]: job for job in playground.jobs()}
    logs = [playground.client.get(f"/v1/jobs/{job_id}/logs").text.splitlines()[1:] for job_id in made]

    statuses = ["completed" if number % 5 else "failed" for number in range(COMMANDS)]
    assert [jobs[job_id]["status"] for job_id in made] == statuses
    assert [(tmp_path / name).read_text() for name in names(COMMANDS)] == ["x"] * COMMANDS
    assert logs == [[f"hello from {number}"] for number in range(COMMANDS)]
    assert playground.attempts() == COMMANDS
    assert playground.end(signal.SIGINT) == 0


def names(count: int) -> list[str]:
    """Return the names of the files in which programs note that they ran."""
    return [f"ran-{number}" for number in range(count)]
