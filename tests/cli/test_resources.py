"""`nodus key`, `nodus webhooks` and `nodus ledger`."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator

import httpx
import pytest

import nodus as sdk
from tests.cli.conftest import Command
from tests.cli.pseudo_terminal import PATIENCE_SECONDS
from tests.cli.stub import Answer, Request, Stub
from tests.cli.test_interrupts import posix_only
from tests.support.joined_server import JoinedServer, QuietHandler

HOOK = {
    "id": "wh_1",
    "url": "https://hooks.example/nodus",
    "events": ["job.completed"],
    "created_at": "2026-01-01T00:00:00Z",
}
SECRET = "whsec_" + "0" * 48
DELIVERY = {
    "id": "d_1",
    "event_id": "evt_1",
    "event_type": "job.completed",
    "status": "failed",
    "attempts": [{"at": "2026-01-01T00:00:00Z", "status_code": 500, "latency_ms": 3}],
    "next_retry_at": None,
}


def test_the_key_is_shown_with_its_budget(stub: Stub, nodus: Command) -> None:
    """There is a form for people and one for programs."""
    stub.answer(
        "GET /v1/key",
        Answer(
            200,
            {
                "id": "key-1",
                "label": "planner",
                "principal_kind": "agent",
                "signing_required": True,
                "monthly_spend_cap_usd": 25.0,
                "month_to_date_usd": 5.5,
                "headroom_usd": 19.5,
            },
        ),
    )
    shown, as_json = nodus("key"), nodus("key", "--json")

    assert (shown.status, as_json.status) == (0, 0)
    assert "headroom       $19.50" in shown.stdout
    assert json.loads(as_json.stdout)["monthly_spend_cap_usd"] == 25.0


def test_an_endpoint_is_created_with_its_secret_shown_once(stub: Stub, nodus: Command) -> None:
    """A note on stderr says that it is shown only once."""
    stub.answer("POST /v1/webhooks", Answer(201, {**HOOK, "secret": SECRET}))
    words = ("webhooks", "create", str(HOOK["url"]), "--event", "job.completed", "--event", "job.failed")
    shown, as_json = nodus(*words), nodus(*words, "--json")

    assert stub.requests[0].json() == {"url": HOOK["url"], "events": ["job.completed", "job.failed"]}
    assert f"secret   {SECRET}" in shown.stdout
    assert json.loads(as_json.stdout)["secret"] == SECRET
    assert ("shown only once" in shown.stderr, as_json.stderr) == (True, "")


def test_endpoints_are_listed_shown_and_deleted(stub: Stub, nodus: Command) -> None:
    """Their secrets are not shown."""
    stub.answer("GET /v1/webhooks", Answer(200, {"webhooks": [HOOK]}))
    stub.answer("GET /v1/webhooks/wh_1", Answer(200, HOOK))
    stub.answer("DELETE /v1/webhooks/wh_1", Answer(204))

    assert nodus("webhooks", "list").stdout == f"wh_1\tlive\t{HOOK['url']}\tjob.completed\n"
    assert "secret" not in json.loads(nodus("webhooks", "list", "--json").stdout)
    assert "wh_1" in nodus("webhooks", "get", "wh_1").stdout
    assert json.loads(nodus("webhooks", "get", "wh_1", "--json").stdout)["url"] == HOOK["url"]
    assert nodus("webhooks", "delete", "wh_1").stdout == "deleted wh_1\n"
    assert json.loads(nodus("webhooks", "delete", "wh_1", "--json").stdout) == {"id": "wh_1", "deleted": True}


def test_a_new_secret_is_data(stub: Stub, nodus: Command) -> None:
    """Stdout has nothing else."""
    stub.answer("POST /v1/webhooks/wh_1/rotate", Answer(200, {"secret": SECRET}))

    assert nodus("webhooks", "rotate", "wh_1").stdout == f"{SECRET}\n"
    assert json.loads(nodus("webhooks", "rotate", "wh_1", "--json").stdout) == {"id": "wh_1", "secret": SECRET}


def test_an_endpoint_is_enabled_again(stub: Stub, nodus: Command) -> None:
    """Its state afterwards is shown, and beforehand why it was disabled."""
    disabled = {"disabled_at": "2026-01-01T00:00:00Z", "disabled_reason": "failing"}
    stub.answer("GET /v1/webhooks/wh_1", Answer(200, {**HOOK, **disabled, "failing_since": "2025-12-27T00:00:00Z"}))
    stub.answer("POST /v1/webhooks/wh_1/enable", Answer(200, {**HOOK, "disabled_at": None}))
    before, after = nodus("webhooks", "get", "wh_1"), nodus("webhooks", "enable", "wh_1")

    assert "failing" in before.stdout
    assert "failing since" in before.stdout
    assert "disabled" not in after.stdout
    assert json.loads(nodus("webhooks", "enable", "wh_1", "--json").stdout)["disabled_at"] is None


def test_deliveries_are_listed_and_replayed(stub: Stub, nodus: Command) -> None:
    """Each is a row, with the outcome of its last attempt."""
    stub.answer("GET /v1/webhooks/wh_1/deliveries", Answer(200, {"deliveries": [DELIVERY], "next_cursor": None}))
    stub.answer("POST /v1/webhooks/wh_1/deliveries/d_1/replay", Answer(200, {**DELIVERY, "status": "pending"}))
    listed, replayed = nodus("webhooks", "deliveries", "wh_1"), nodus("webhooks", "replay", "wh_1", "d_1", "--json")

    assert listed.stdout == "d_1\tfailed\tjob.completed\tevt_1\t1\t500\t\n"
    assert json.loads(nodus("webhooks", "deliveries", "wh_1", "--json").stdout)["id"] == "d_1"
    assert json.loads(replayed.stdout)["status"] == "pending"
    assert nodus("webhooks", "deliveries", "wh_1", "--all", "--limit", "3").status == 2


def test_an_endpoint_that_is_not_there_exits_4(stub: Stub, nodus: Command) -> None:
    """The hint does not speak of jobs."""
    stub.answer("GET /v1/webhooks/wh_2", Answer(404, {"error": "webhook_not_found", "message": "No such webhook."}))
    result = nodus("webhooks", "get", "wh_2")

    assert result.status == 4
    assert "nodus list" not in result.stderr


class Application:
    """What deliveries are forwarded to."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 204
        received = self.received
        application = self

        class Handler(QuietHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(application.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        self.server = JoinedServer(Handler)
        self.url = f"http://127.0.0.1:{self.server.port}/hooks/nodus"


@pytest.fixture
def application() -> Iterator[Application]:
    """An application on loopback."""
    running = Application()
    with running.server:
        yield running


@posix_only
@pytest.mark.usefixtures("backend")
def test_deliveries_are_received_here_and_forwarded(stub: Stub, nodus: Command, application: Application) -> None:
    """Byte for byte, if signed; the endpoint is removed when the command ends."""
    body = b'{"id":"evt_1","type":"job.completed","data":{"job_id":"job-1"}}'
    answers: list[int] = []
    deliveries: list[threading.Thread] = []

    def deliver(url: str) -> None:
        path = "/hooks/nodus"
        signed = sdk.sign_request(signing_secret=SECRET, method="POST", path=path, body=body)
        try:
            with httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as control_plane:
                answers.append(control_plane.post(url, content=body, headers=signed).status_code)
                application.status = 500
                answers.append(control_plane.post(url, content=body, headers=signed).status_code)
                answers.append(control_plane.post(url, content=body + b" ", headers=signed).status_code)
                answers.append(control_plane.post(url + "/x", content=body, headers=signed).status_code)
                answers.append(control_plane.get(url).status_code)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    def register(request: Request) -> Answer:
        url = str(request.json()["url"])
        deliveries.append(threading.Thread(target=deliver, args=(url,)))
        deliveries[0].start()
        return Answer(201, {**HOOK, "url": url, "secret": SECRET})

    stub.scripts["POST /v1/webhooks"] = register
    stub.answer("DELETE /v1/webhooks/wh_1", Answer(204))
    result = nodus("webhooks", "listen", "--forward-to", application.url, "--json")
    deliveries[0].join()
    registered, *shown = [json.loads(line) for line in result.stdout.splitlines()]

    assert (result.status, result.stderr) == (130, "")
    assert answers == [204, 500, 401, 404, 411]
    assert [(path, content) for path, _, content in application.received] == [("/hooks/nodus", body)] * 2
    assert sdk.verify_webhook(
        signing_secret=SECRET,
        method="POST",
        path="/hooks/nodus",
        body=body,
        signature_header=application.received[0][1]["nodus-signature"],
    )
    assert [(each["status"], each["event"]["id"]) for each in shown] == [(204, "evt_1"), (500, "evt_1")]
    assert registered["webhook"]["secret"] == SECRET
    assert len(stub.called("DELETE /v1/webhooks/wh_1")) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--forward-to", "ftp://x"),
        ("--forward-to", "localhost:3000"),
        ("--forward-to", "http://localhost:0"),
        ("--forward-to", "http://localhost:99999"),
        ("--forward-to", "http://localhost:3000/a", "--public-url", "https://tunnel.example/b"),
        (),
    ],
)
def test_where_to_forward_must_be_sayable(stub: Stub, nodus: Command, words: tuple[str, ...]) -> None:
    """URLs are checked before an endpoint is registered; the signature covers the path."""
    assert nodus("webhooks", "listen", *words).status == 2
    assert stub.requests == []
