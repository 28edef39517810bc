"""Real jobs, end to end, on a control plane started for the occasion: only supplier and price are simulated.

The same program is submitted by the sync client, by the async client on asyncio and on trio, and by the command line;
then one that fails. Exits 0 only if each job ended as it should.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import trio

import nodus

IMAGE = "ghcr.io/acme/train:v3"
PROGRAM = Path(__file__).resolve().with_name("train.py")
TRAIN = [sys.executable, str(PROGRAM), "--epochs", "5"]
DIVERGE = [*TRAIN, "--learning-rate", "1000"]
NODUS = [sys.executable, "-m", "nodus"]

START_SECONDS = 30.0
STOP_SECONDS = 10.0
# What a server that was asked to stop may answer: that all is well, or which signal it was.
STOPPED = (0, -signal.SIGTERM, 128 + signal.SIGTERM)
JOB_SECONDS = 30.0
POLL_SECONDS = 0.2


class DemoError(Exception):
    """Something did not go as it should have."""


def sync_client() -> None:
    """The quick start, as a script would have it."""
    with nodus.Client() as client:
        job = client.run(image=IMAGE, command=TRAIN, gpu="h100_80gb", max_runtime_seconds=60)
        job.wait(poll_seconds=POLL_SECONDS, timeout_seconds=JOB_SECONDS)
        report(job, job.logs())


async def async_client() -> None:
    """The same in a coroutine, on whichever event loop runs it."""
    async with nodus.AsyncClient() as client:
        job = await client.run(image=IMAGE, command=TRAIN, gpu="h100_80gb", max_runtime_seconds=60)
        await job.wait(poll_seconds=POLL_SECONDS, timeout_seconds=JOB_SECONDS)
        report(job, await job.logs())


def command_line() -> None:
    """The same in one shell line."""
    options = ["--image", IMAGE, "--gpu", "h100_80gb", "--wait", "--timeout", str(int(JOB_SECONDS)), "--json"]
    command = [*NODUS, "run", *options, "--", *TRAIN]
    print("$", shlex.join(["nodus", *command[len(NODUS) :]]))
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise DemoError(f"`nodus run` ended with exit status {done.returncode}")
    with nodus.Client() as client:
        job = client.get(json.loads(done.stdout)["id"])
        report(job, job.logs())


def failing_program() -> None:
    """A training that diverges: the job fails, and says so."""
    with nodus.Client() as client:
        job = client.run(image=IMAGE, command=DIVERGE, gpu="h100_80gb", max_runtime_seconds=60)
        job.wait(poll_seconds=POLL_SECONDS, timeout_seconds=JOB_SECONDS)
        show(job, job.logs())
        if job.status != nodus.JobStatus.FAILED or not job.error_message:
            raise DemoError(f"job {job.id} should have failed with a message, and is {job.status}: {job.error_message}")


def report(job: nodus.Job | nodus.AsyncJob, output: str) -> None:
    """Show a job that should have succeeded, and insist that it has."""
    show(job, output)
    if not job.succeeded:
        raise DemoError(f"job {job.id} is {job.status}: {job.error_message}")
    if "epoch 5/5" not in output:
        raise DemoError(f"job {job.id} did not print what {PROGRAM.name} prints")
    if job.supplier is None or job.cost_usd is None:
        raise DemoError(f"job {job.id} has no supplier or no cost: {job!r}")


def show(job: nodus.Job | nodus.AsyncJob, output: str) -> None:
    """Print what the program printed, then how the job ended."""
    print(f"job {job.id}")
    for line in output.splitlines():
        print(f"  | {line}")
    cost = "no cost" if job.cost_usd is None else f"${job.cost_usd:.6f}"
    print(job.status, job.supplier, cost)
    if job.error_message:
        print(f"error_message: {job.error_message}")


@contextlib.contextmanager
def control_plane(folder: Path) -> Iterator[dict[str, str]]:
    """A control plane on a free port that really runs what is submitted; yields its address and key."""
    ready_file, log_file = folder / "ready.json", folder / "control-plane.log"
    command = [
        *NODUS,
        "playground",
        "--driver",
        "process",
        "--port",
        "0",
        "--no-browser",
        "--ready-file",
        str(ready_file),
    ]
    with log_file.open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield wait_until_ready(server, ready_file)
    except Exception:
        print(f"--- the control plane said:\n{log_file.read_text(errors='replace')}---", file=sys.stderr)
        raise
    finally:
        stop(server)
    if server.returncode not in STOPPED:
        raise DemoError(f"the control plane ended with exit status {server.returncode}")


def wait_until_ready(server: subprocess.Popen[bytes], ready_file: Path) -> dict[str, str]:
    """Wait for the file that the control plane writes once it answers; return what is in it."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise DemoError(f"the control plane did not start: exit status {server.returncode}")
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            return dict(json.loads(ready_file.read_text(encoding="utf-8")))
        time.sleep(0.05)
    raise DemoError(f"the control plane was not ready within {START_SECONDS:g} s")


def stop(server: subprocess.Popen[bytes]) -> None:
    """Ask the control plane to stop; insist after a while."""
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def configure(connection: dict[str, str]) -> None:
    """Let every client of this process, and of those that it starts, find the control plane."""
    for name in [name for name in os.environ if name.startswith("NODUS_")]:
        del os.environ[name]
    os.environ["NODUS_BASE_URL"] = connection["base_url"]
    os.environ["NODUS_API_KEY"] = connection["api_key"]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"


def main() -> int:
    """Run every part; return the exit status."""
    parts = [
        ("sync client", sync_client),
        ("async client on asyncio", lambda: asyncio.run(async_client())),
        ("async client on trio", lambda: trio.run(async_client)),
        ("command line", command_line),
        ("a program that fails", failing_program),
    ]
    try:
        with tempfile.TemporaryDirectory(prefix="nodus-demo-") as folder, control_plane(Path(folder)) as connection:
            configure(connection)
            for title, part in parts:
                print(f"\n== {title} ==", flush=True)
                part()
    except (DemoError, nodus.NodusError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe demo was interrupted.", file=sys.stderr)
        return 128 + signal.SIGINT
    print("\nThe demo succeeded: every job ended as it should.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
