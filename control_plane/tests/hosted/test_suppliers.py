"""Suppliers that change while processes run on them."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from hosted.processes import Hosted
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
