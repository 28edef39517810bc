"""The receivers in examples/, each started as a user would start it, and sent what a receiver is sent."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import nodus

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SECRET = "whsec_4a9e000000000000000000000000a1"
COMPLETED = {
    "job_id": "0198",
    "principal_kind": "agent",
    "cost_usd": 47.62,
    "supplier": "lambda",
    "region": "us-west-2",
}


class Receiver:
    """A running example.

    Attributes:
        process: its process; standard output is what it made of the events.
        port: where it listens on loopback.
    """

    def __init__(self, program: str) -> None:
        environment = {**os.environ, "NODUS_WEBHOOK_SECRET": SECRET, "PORT": "0"}
        self.process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / program)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.port = self._port()

    def _port(self) -> int:
        """The port that the server says it took; it says so once it listens."""
        assert self.process.stderr is not None
        said = []
        for line in self.process.stderr:
            said.append(line)
            found = re.search(r"http://127\.0\.0\.1:([0-9]+)", line)
            if found:
                return int(found[1])
        raise AssertionError("the example ended:\n" + "".join(said))

    def post(self, body: bytes, header: str | None) -> tuple[int, str]:
        """Send a delivery; return the status and the text of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json", **({} if header is None else {"Nodus-Signature": header})}
        try:
            connection.request("POST", "/nodus", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def stop(self) -> list[str]:
        """End it; return the lines that it printed, without those of the servers themselves."""
        self.process.terminate()
        printed, _ = self.process.communicate(timeout=60)
        return [line for line in printed.splitlines() if not line.startswith(("INFO:", " * "))]


@pytest.fixture(params=["fastapi", "flask"])
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    """Each of the examples, running."""
    needed = ["fastapi", "uvicorn"] if request.param == "fastapi" else ["flask"]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    running = Receiver(f"webhook_{request.param}.py")
    yield running
    if running.process.returncode is None:
        running.stop()


def delivery(kind: str, event_id: str, data: dict[str, object]) -> bytes:
    envelope = {"id": event_id, "type": kind, "created_at": "2026-01-01T00:00:00.000Z", "data": data}
    return json.dumps(envelope).encode()


def signed(body: bytes, *, ago: int = 0, secret: str = SECRET) -> str:
    """The header of a delivery that was signed so many seconds ago."""
    headers = nodus.sign_request(signing_secret=secret, method="POST", path="/nodus", body=body, now=time.time() - ago)
    return headers["Nodus-Signature"]


def test_a_receiver_handles_what_is_genuine_once_and_refuses_the_rest(receiver: Receiver) -> None:
    """A good delivery, a retry of it, its replay, and what strangers, slow clocks and broken senders send."""
    body = delivery("job.completed", "evt_1", {**COMPLETED})
    header = signed(body)

    assert receiver.post(body, header)[0] == 204
    assert receiver.post(body, signed(body, ago=30))[0] == 204

    refused = {
        "signature_replayed": receiver.post(body, header),
        "signature_missing": receiver.post(body, None),
        "signature_malformed": receiver.post(body, "v1=0"),
        "signature_invalid": receiver.post(body, signed(body, secret="whsec_another")),
        "signature_stale": receiver.post(body, signed(body, ago=3600)),
        "signature_future": receiver.post(body, signed(body, ago=-3600)),
    }
    for code, (status, text) in refused.items():
        assert (status, code in text) == (401, True), code
    broken = receiver.post(b"[]", signed(b"[]"))
    assert (broken[0], "invalid_event" in broken[1]) == (400, True)

    failed = delivery("job.failed", "evt_2", {"job_id": "0199", "error_code": "no_supplier"})
    budget = delivery(
        "budget.threshold_reached", "evt_3", {"month_to_date_usd": 20.5, "monthly_spend_cap_usd": 25, "fraction": 0.8}
    )
    paused = delivery("job.paused", "evt_4", {"until": "noon"})
    for other in (failed, budget, paused):
        assert receiver.post(other, signed(other))[0] == 204

    assert receiver.stop() == [
        "0198 completed on lambda for $47.62",
        "0199 failed: no_supplier",
        "$20.5 of $25.0 are spent",
        "job.paused: {'until': 'noon'}",
    ]


def test_the_two_receivers_differ_in_their_framework_only() -> None:
    """What one teaches the other teaches too."""
    handlers = []
    for framework in ("fastapi", "flask"):
        text = (EXAMPLES / f"webhook_{framework}.py").read_text(encoding="utf-8")
        handlers.append(text[text.index("def handle(") : text.index("if __name__")])

    assert handlers[0] == handlers[1]
