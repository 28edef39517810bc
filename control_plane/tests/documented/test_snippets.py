"""What users copy from the documentation runs as it stands, but for the host and the key."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from patience import PATIENCE_SECONDS
from starlette.requests import Request
from webhooks.unhurried import no_attempt_runs_out_of_time, no_name_server_is_asked

import nodus
from nodus_control.serving.server import Server
from nodus_control.testing import LocalControlPlane
from nodus_ledger.admin.program import main

PAGE = Path(__file__).with_name("snippets.md")
__all__ = ["no_attempt_runs_out_of_time", "no_name_server_is_asked"]
HOST = "https://api.nodus.run"
SNIPPETS: dict[str, tuple[str, str]] = {
    title: (language, text)
    for title, language, text in re.findall(
        r"^## (.*?)\n\n```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
}


@pytest.fixture
def control_plane(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalControlPlane]:
    """A playground on loopback, to which no proxy leads."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with LocalControlPlane() as started:
        yield started


def run_python(title: str, base_url: str, names: dict[str, Any]) -> Any:
    """Run a block of Python; return the value of its last line where that is an expression."""
    language, text = SNIPPETS[title]
    assert language == "python"
    tree = ast.parse(text.replace(HOST, base_url))
    last = tree.body[-1]
    value: ast.expr = ast.Constant(None)
    if isinstance(last, ast.Expr):
        value = last.value
        tree.body.pop()
    exec(compile(tree, PAGE.name, "exec", dont_inherit=True), names)
    return eval(compile(ast.fix_missing_locations(ast.Expression(value)), PAGE.name, "eval", dont_inherit=True), names)


def run_shell(title: str, base_url: str = "") -> subprocess.CompletedProcess[str]:
    """Run a block of shell, with the `python` of these tests."""
    language, text = SNIPPETS[title]
    assert language == "console"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["/bin/sh", "-c", text.replace(HOST, base_url)],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_snippet_is_run_here() -> None:
    """Whatever is added to the page has its test in this file."""
    source = Path(__file__).read_text(encoding="utf-8")

    assert len(SNIPPETS) == PAGE.read_text(encoding="utf-8").count("\n## ")
    assert [title for title in SNIPPETS if f'"{title}"' not in source] == []


@pytest.mark.skipif(
    shutil.which("python", path=Path(sys.executable).parent) is None, reason="no `python` beside this one"
)
def test_an_operator_mints_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a shell with access to the database; the key opens it, with what was said of it."""
    monkeypatch.setenv("NODUS_DATABASE_URL", f"sqlite:///{tmp_path / 'nodus.db'}")
    monkeypatch.delenv("NODUS_REDIS_URL", raising=False)
    done = run_shell("An operator mints a key")
    listed = main(["list"])

    assert (done.returncode, done.stderr, listed) == (0, "", 0)
    assert re.fullmatch(
        r"api_key         nk_live_\w{43}\n"
        r"signing_secret  sgn_[0-9a-f]{64}     # shown once, never again\n"
        r"key_id          [0-9a-f-]{36}\n"
        r"principal_kind  agent\n"
        r"monthly_cap     \$2500\.00\n",
        done.stdout,
    )


class Log:
    """A structured logger."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, float]]] = []

    def warning(self, event: str, **fields: float) -> None:
        """Keep a line."""
        self.lines.append((event, fields))


def test_an_agent_shrinks_its_job_to_its_budget(control_plane: LocalControlPlane) -> None:
    """The refusal says what it would cost and what is left; a job of that size is accepted."""
    log = Log()
    with nodus.Client(
        api_key=control_plane.agent_api_key,
        signing_secret=control_plane.agent_signing_secret,
        base_url=control_plane.base_url,
    ) as client:
        client.run(image="ghcr.io/acme/eval:v2", gpu="h100_80gb", max_runtime_seconds=15 * 3600)
        names = {"client": client, "nodus": nodus, "log": log}
        run_python("An agent shrinks its job to its budget", control_plane.base_url, names)
        [(event, fields)] = log.lines
        count = int(fields["headroom"] / (fields["quoted"] / 8))
        client.run(image="ghcr.io/acme/eval:v2", gpu="h100_80gb", gpu_count=count)
        left = client.key().headroom_usd

    assert event == "budget blocked"
    assert fields == {"quoted": 10.32, "headroom": pytest.approx(5.65)}
    assert count == 4
    assert left == pytest.approx(0.49)


def test_a_request_is_signed_for_another_http_stack(
    control_plane: LocalControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its comment says."""
    monkeypatch.setenv("NODUS_API_KEY", control_plane.agent_api_key)
    monkeypatch.setenv("NODUS_SIGNING_SECRET", control_plane.agent_signing_secret)
    # The snippet leaves httpx its five seconds, which a busy machine may need for itself.
    patient = SimpleNamespace(post=functools.partial(httpx.post, timeout=PATIENCE_SECONDS))
    names = {"httpx": patient, "json": json, "nodus": nodus, "os": os}
    answer = run_python("A request is signed for another HTTP stack", control_plane.base_url, names)

    assert repr(answer) == "<Response [202 Accepted]>"
    assert answer.json()["status"] == "queued"


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_a_webhook_is_registered(control_plane: LocalControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer has the secret, this once."""
    monkeypatch.setenv("NODUS_API_KEY", control_plane.api_key)
    done = run_shell("A webhook is registered", control_plane.base_url)
    made = json.loads(done.stdout)

    assert done.returncode == 0
    assert made["id"].startswith("wh_")
    assert made["url"] == "https://hooks.acme.internal/nodus"
    assert made["events"] == ["job.completed", "job.failed", "budget.threshold_reached"]
    assert made["secret"].startswith("whsec_")


def test_a_delivery_is_verified(control_plane: LocalControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real one is taken, and one that nobody signed is not."""
    app = FastAPI()
    names = {"app": app, "json": json, "nodus": nodus, "os": os, "HTTPException": HTTPException, "Request": Request}
    run_python("A delivery is verified", control_plane.base_url, names)
    receiver = Server(app)
    receiver.start()
    try:
        with nodus.Client(api_key=control_plane.api_key, base_url=control_plane.base_url) as client:
            hook = client.webhooks.create(f"{receiver.base_url}/nodus", ["job.completed"])
            monkeypatch.setenv("NODUS_WEBHOOK_SECRET", str(hook.secret))
            client.run(image="ghcr.io/acme/train:v3", env={"NODUS_SIM_DURATION_SECONDS": "1"})
            control_plane.advance(3600)
            [delivery] = client.webhooks.deliveries(hook.id)
        forged = httpx.post(f"{receiver.base_url}/nodus", json={"type": "job.completed"}, timeout=PATIENCE_SECONDS)
    finally:
        receiver.stop()

    assert (delivery.event_type, delivery.status) == ("job.completed", "delivered")
    assert [attempt.status_code for attempt in delivery.attempts] == [200]
    assert (forged.status_code, forged.json()) == (401, {"detail": "bad signature"})
