"""One file and two commands: `serve` and `worker` on an operator's own engines, from the submission to the bill."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hosted.processes import Hosted, Process, post
from hosted.test_self_hosted import client_of
from patience import eventually
from servers.container_engines import ContainerEngine
from servers.registry import Registry
from servers.slurm import SlurmCluster

from nodus_control.control_plane import ControlPlane
from nodus_ledger.verification.verify import verify

MICROS_PER_GPU_SECOND = 1000
"""What a GPU costs here: $3.60 an hour."""

CLUSTER_IMAGE = "registry.example/none:1"

CONTAINERS = """\
[[supplier]]
name = "lab"
kind = "own"
regions = ["basement"]
driver = "docker"
gpus = {{ h100_80gb = 2 }}
usd_per_gpu_hour = {{ h100_80gb = 3.6 }}
[supplier.docker]
endpoint = "{endpoint}"
gpu_devices = ["/dev/null", "/dev/zero"]
network = "none"
min_free_disk_gib = 0
"""

CLUSTER = """\
[[supplier]]
name = "cluster"
kind = "own"
regions = ["campus"]
driver = "slurm"
usd_per_gpu_hour = {{ h100_80gb = 3.6 }}
[supplier.slurm]
folder = "{folder}"
partition = "gpu"
gpu_names = {{ h100_80gb = "h100" }}
images = {{ "{image}" = [] }}
"""


@dataclass
class Site:
    """An operator's site: what serves it, and an image that it can run."""

    hosted: Hosted
    control_plane: ControlPlane
    suppliers: tuple[str, str]
    image: str
    client: httpx.Client
    worker: Process

    def submit(self, script: str | None, **changes: Any) -> str:
        """Submit a job that runs a script of the shell, or the image's own command; return its id."""
        command = {} if script is None else {"command": ["sh", "-c", script]}
        spec = {"image": self.image, "gpu": "h100_80gb", "max_runtime_seconds": 600, **command, **changes}
        found: str = post(self.client, "/v1/jobs", spec).raise_for_status().json()["id"]
        return found

    def job(self, job_id: str) -> dict[str, Any]:
        """Read a job."""
        found: dict[str, Any] = self.client.get(f"/v1/jobs/{job_id}").raise_for_status().json()
        return found

    def until(self, job_id: str, *statuses: str) -> dict[str, Any]:
        """Wait until a job has one of these statuses."""
        eventually(
            lambda: self.job(job_id)["status"] in statuses, lambda: f"{self.job(job_id)}\n{self.hosted.output()}"
        )
        return self.job(job_id)

    def ended(self, job_id: str) -> dict[str, Any]:
        """Wait until a job has ended."""
        return self.until(job_id, "completed", "failed", "cancelled")

    def output(self, job_id: str) -> bytes:
        """Read all that a job printed."""
        return self.client.get(f"/v1/jobs/{job_id}/logs").raise_for_status().content


@contextlib.contextmanager
def site_of(here: ControlPlane, hosted: Hosted, text: str, image: str, folder: Path) -> Iterator[Site]:
    """Serve a suppliers file, with one worker."""
    path = folder / "suppliers.toml"
    path.write_text(text, encoding="utf-8")
    suppliers = ("--suppliers", str(path))
    base_url = hosted.serve(*suppliers)
    worker = hosted.work(*suppliers)
    with client_of(here, base_url, is_test=False) as client:
        yield Site(hosted, here, suppliers, image, client, worker)


@pytest.fixture
def lab(
    here: ControlPlane, hosted: Hosted, container_engine: ContainerEngine, image_registry: Registry, tmp_path: Path
) -> Iterator[Site]:
    """A machine with an engine for containers."""
    image = image_registry.publish("busybox", command=["env"], env={"FROM_IMAGE": "yes"})
    with site_of(here, hosted, CONTAINERS.format(endpoint=container_engine.endpoint), image, tmp_path) as site:
        yield site
    hosted.stop()
    container_engine.empty()


@pytest.fixture
def campus(here: ControlPlane, slurm: SlurmCluster, hosted: Hosted, tmp_path: Path) -> Iterator[Site]:
    """A Slurm cluster."""
    text = CLUSTER.format(folder=slurm.folder / "nodus", image=CLUSTER_IMAGE)
    with site_of(here, hosted, text, CLUSTER_IMAGE, tmp_path) as site:
        yield site
    hosted.stop()


def test_an_image_runs_its_own_command(lab: Site, container_engine: ContainerEngine) -> None:
    """With its variables and the job's; time and cost are what the engine says."""
    job = lab.ended(lab.submit(None, env={"FROM_JOB": "one\ntwo"}))
    (container,) = container_engine.containers()
    state = container_engine.inspect(container["Id"])["State"]
    engine_seconds = seconds_between(state["StartedAt"], state["FinishedAt"])
    printed = lab.output(job["id"]).decode()

    assert (job["status"], job["supplier"], job["region"], job["simulated"]) == ("completed", "lab", "basement", False)
    assert "FROM_IMAGE=yes\n" in printed
    assert "FROM_JOB=one\ntwo\n" in printed
    assert abs(job["duration_s"] - engine_seconds) < 1
    assert verify(lab.control_plane.database).is_sound


def what_a_job_prints_costs_and_ends_with_is_true(site: Site) -> None:
    script = "printf '\\377\\376'; head -c 5000000 /dev/zero; printf '\\200'; seq 1 9999; sleep 1; exit 7"
    job = site.ended(site.submit(script, gpu_count=2))
    printed = site.output(job["id"])
    lines = b"".join(b"%d\n" % number for number in range(1, 10_000))
    micros = round(job["duration_s"] * 1000) * 2 * MICROS_PER_GPU_SECOND // 1000

    assert (job["status"], job["error_code"]) == ("failed", "nonzero_exit")
    assert "7" in job["error_message"]
    # Compared by lengths first: five million bytes are long to show.
    assert len(printed) == 5_000_003 + len(lines)
    assert hashlib.sha256(printed).digest() == hashlib.sha256(b"\xff\xfe" + bytes(5_000_000) + b"\x80" + lines).digest()
    assert job["duration_s"] >= 0.9
    assert round(job["cost_usd"] * 1_000_000) == micros
    assert job["simulated"] is False


def test_what_a_job_prints_costs_and_ends_with_is_true_in_containers(lab: Site) -> None:
    """Five million bytes of any kind, its exit status, and the price of exactly the time that it took."""
    what_a_job_prints_costs_and_ends_with_is_true(lab)


def test_what_a_job_prints_costs_and_ends_with_is_true_on_a_cluster(campus: Site) -> None:
    """Five million bytes of any kind, its exit status, and the price of exactly the time that it took."""
    what_a_job_prints_costs_and_ends_with_is_true(campus)


def a_job_outlives_its_worker_and_runs_once(site: Site) -> None:
    job_id = site.submit("echo began; sleep 3; echo ended")
    site.until(job_id, "running")
    site.worker.kill()
    site.worker.wait()
    site.hosted.work(*site.suppliers)
    job = site.ended(job_id)

    assert (job["status"], job["attempts"]) == ("completed", 1)
    assert site.output(job_id) == b"began\nended\n"
    assert job["duration_s"] >= 2.9  # a sleep of three seconds, between two readings of the engine's clock
    assert verify(site.control_plane.database).is_sound


def test_a_job_outlives_its_worker_and_runs_once_in_containers(lab: Site) -> None:
    """Whoever takes over bills it for what it ran, not for what was seen of it."""
    a_job_outlives_its_worker_and_runs_once(lab)


def test_a_job_outlives_its_worker_and_runs_once_on_a_cluster(campus: Site) -> None:
    """Whoever takes over bills it for what it ran, not for what was seen of it."""
    a_job_outlives_its_worker_and_runs_once(campus)


def test_more_jobs_than_gpus_wait_and_all_of_them_run(lab: Site) -> None:
    """Two at a time: nobody is refused, and nobody fails."""
    jobs = [lab.submit(f"echo {number}") for number in range(6)]
    ended = [lab.ended(job_id) for job_id in jobs]

    assert [job["status"] for job in ended] == ["completed"] * 6
    assert [lab.output(job_id) for job_id in jobs] == [b"%d\n" % number for number in range(6)]


def a_job_is_cancelled_on_its_engine(site: Site) -> None:
    job_id = site.submit("trap 'echo asked; exit 0' TERM; echo began; while true; do sleep 0.1; done")
    site.until(job_id, "running")
    eventually(lambda: site.output(job_id) == b"began\n")
    post(site.client, f"/v1/jobs/{job_id}/cancel").raise_for_status()
    job = site.ended(job_id)

    assert job["status"] == "cancelled"
    assert site.output(job_id) == b"began\nasked\n"


def test_a_job_is_cancelled_on_its_engine_in_containers(lab: Site) -> None:
    """Its program gets a signal to end by."""
    a_job_is_cancelled_on_its_engine(lab)


def test_a_job_is_cancelled_on_its_engine_on_a_cluster(campus: Site) -> None:
    """Its program gets a signal to end by."""
    a_job_is_cancelled_on_its_engine(campus)


def test_the_price_list_says_what_is_free(lab: Site) -> None:
    """Whoever holds a key for real jobs sees the operator's own machine."""
    (offer,) = lab.client.get("/v1/offers").raise_for_status().json()["offers"]

    assert (offer["supplier"], offer["kind"], offer["free_gpus"], offer["simulated"]) == ("lab", "own", 2, False)


def seconds_between(began: str, ended: str) -> float:
    """Subtract two of an engine's times, which have nine decimals."""
    first, second = (datetime.fromisoformat(f"{text[:26].rstrip('Z')}+00:00") for text in (began, ended))
    return (second - first).total_seconds()
