"""Suppliers that change while processes run on them."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from hosted.processes import Hosted, post
from hosted.test_self_hosted import client_of, submit
from patience import PATIENCE_SECONDS, eventually
from supplier_files import SHIPPED

from nodus_control.control_plane import ControlPlane
from nodus_ledger.verification.verify import verify


@pytest.mark.both_engines
def test_the_others_notice_suppliers_that_were_accepted(hosted: Hosted, here: ControlPlane, tmp_path: Path) -> None:
    """They turn unready, say so, and place nothing; what is started with the new ones takes the jobs."""
    file = tmp_path / "new.toml"
    file.write_text(
        SHIPPED.read_text(encoding="utf-8").replace("h100_80gb = 1.29", "h100_80gb = 1.30"), encoding="utf-8"
    )
    before = hosted.serve()
    hosted.work()
    after = hosted.serve("--suppliers", str(file), "--accept-suppliers")

    def ready(base_url: str) -> tuple[int, str]:
        answer = httpx.get(f"{base_url}/readyz", trust_env=False, timeout=PATIENCE_SECONDS)
        return answer.status_code, answer.json()["checks"]["suppliers"]

    eventually(lambda: ready(before)[0] == 503, hosted.output)
    eventually(lambda: hosted.output().count("restart with the accepted file") == 2, hosted.output)
    with client_of(here, after) as client:
        job_id = submit(client, 1)[0]
        hosted.work("--suppliers", str(file))
        eventually(lambda: client.get(f"/v1/jobs/{job_id}").json()["status"] != "queued", hosted.output)
        candidates = client.get(f"/v1/jobs/{job_id}/routing").json()["candidates"]

    assert ready(after) == (200, "ok")
    assert "another suppliers file was accepted" in ready(before)[1]
    assert {each["usd_per_gpu_hour"] for each in candidates if each["supplier"] == "hyperbolic"} == {1.30}
    assert hosted.stop() == [0, 0, 0, 0]
    assert verify(here.database).is_sound


MIXED = """\
[[supplier]]
name = "mock"
kind = "neocloud"
regions = ["nowhere"]
driver = "simulated"
usd_per_gpu_hour = { l4 = 0.01 }

[[supplier]]
name = "lab"
kind = "own"
regions = ["basement"]
driver = "docker"
gpus = { l4 = 4 }
usd_per_gpu_hour = { l4 = 0.02 }
[supplier.docker]
endpoint = "unix://{PLACE}/nobody-listens.sock"

[[supplier]]
name = "campus"
kind = "own"
regions = ["hall-1"]
driver = "slurm"
usd_per_gpu_hour = { l4 = 0.03 }
[supplier.slurm]
folder = "{PLACE}/cluster"
images = { "acme/eval:v2" = ["run"] }

[[supplier]]
name = "desk"
kind = "own"
regions = ["here"]
driver = "process"
gpus = { l4 = 4 }
usd_per_gpu_hour = { l4 = 0.04 }
"""


@pytest.mark.both_engines
def test_a_file_with_all_drivers_serves_each_job_where_it_can_run(
    hosted: Hosted, here: ControlPlane, tmp_path: Path
) -> None:
    """A live job runs for real though a simulation is cheaper, and an engine that is away costs it nothing."""
    file = tmp_path / "mixed.toml"
    file.write_text(MIXED.replace("{PLACE}", str(tmp_path)), encoding="utf-8")
    base_url = hosted.serve("--suppliers", str(file))
    hosted.work("--suppliers", str(file))
    spec = {"image": "busybox", "gpu": "l4", "command": ["echo", "it ran"], "max_runtime_seconds": 600}
    ends = ("completed", "failed")
    with client_of(here, base_url) as test, client_of(here, base_url, is_test=False) as live:
        simulated = {**spec, "env": {"NODUS_SIM_DURATION_SECONDS": "1"}}
        ids = [post(client, "/v1/jobs", each).json()["id"] for client, each in ((test, simulated), (live, spec))]
        eventually(lambda: all(live.get(f"/v1/jobs/{each}").json()["status"] in ends for each in ids), hosted.output)
        of_test, of_live = (live.get(f"/v1/jobs/{each}").json() for each in ids)
        offers = [{each["supplier"] for each in client.get("/v1/offers").json()["offers"]} for client in (test, live)]
        rejected = {
            each["supplier"]: each["rejected"] for each in live.get(f"/v1/jobs/{ids[1]}/routing").json()["candidates"]
        }
        output = live.get(f"/v1/jobs/{ids[1]}/logs").text

    assert (of_test["status"], of_test["supplier"], of_test["simulated"]) == ("completed", "mock", True)
    assert (of_live["status"], of_live["supplier"], of_live["simulated"]) == ("completed", "desk", False)
    assert "it ran\n" in output
    assert offers == [{"mock"}, {"lab", "campus", "desk"}]
    assert rejected["campus"] == "cannot_run"
    assert "mock" not in rejected
    assert hosted.stop() == [0, 0]
    assert verify(here.database).is_sound


def test_a_supplier_with_jobs_cannot_leave_the_file(hosted: Hosted, here: ControlPlane, tmp_path: Path) -> None:
    """The process does not start: exit status 3, one line, and the jobs by name; the others go on."""
    with_it = tmp_path / "with.toml"
    with_it.write_text(
        MIXED.split("\n\n")[0] + "\n[supplier.simulated]\nprovisioning_seconds = [600, 600]\n", encoding="utf-8"
    )
    without = tmp_path / "without.toml"
    without.write_text(with_it.read_text(encoding="utf-8").replace('"mock"', '"other"'), encoding="utf-8")
    base_url = hosted.serve("--suppliers", str(with_it))
    hosted.work("--suppliers", str(with_it))
    with client_of(here, base_url) as client:
        job_id = post(client, "/v1/jobs", {"image": "x", "gpu": "l4"}).json()["id"]
        eventually(lambda: client.get(f"/v1/jobs/{job_id}").json()["status"] == "placed", hosted.output)
        status, said = hosted.fail("worker", "--suppliers", str(without), "--accept-suppliers")
        ready = httpx.get(f"{base_url}/readyz", trust_env=False, timeout=PATIENCE_SECONDS)

    assert status == 3
    assert len(said.splitlines()) == 1
    assert all(part in said for part in (job_id, '"mock"', "keep each of them"))
    assert (ready.status_code, ready.json()["checks"]["suppliers"]) == (200, "ok")
