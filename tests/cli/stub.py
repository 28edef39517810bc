"""A control plane of a few lines, for the command to talk to: real HTTP on loopback, answers scripted by the test."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.support.joined_server import JoinedServer, QuietHandler

API_KEY = "nk_test_cli"
CREATED_AT = "2026-01-02T03:04:05Z"


@dataclass
class Request:
    """What arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        payload: dict[str, object] = json.loads(self.body)
        return payload


@dataclass
class Answer:
    """What goes back.

    Attributes:
        status: the HTTP status.
        payload: the JSON body; text as it is.
        headers: besides the usual ones.
    """

    status: int = 200
    payload: object = None
    headers: dict[str, str] = field(default_factory=dict)


Script = Callable[[Request], Answer]


class Stub:
    """The server, what it was asked, and what it answers.

    Attributes:
        requests: all that arrived, oldest first.
        scripts: answers by `"METHOD /path"`; one function for every request there.
        hold: while set, requests to these routes wait; `arrived` says that one does.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.scripts: dict[str, Script] = {}
        self.arrived = threading.Event()
        self.release = threading.Event()
        self.base_url = ""

    def answer(self, route: str, *answers: Answer) -> None:
        """Return these answers, in this order; the last one again and again."""
        left = list(answers)
        self.scripts[route] = lambda request: left.pop(0) if len(left) > 1 else left[0]

    def hang(self, route: str) -> None:
        """Do not answer these requests until the end of the test."""

        def wait(request: Request) -> Answer:
            self.arrived.set()
            self.release.wait()
            return Answer(503)

        self.scripts[route] = wait

    def called(self, route: str) -> list[Request]:
        """Return the requests that a route got."""
        return [request for request in self.requests if f"{request.method} {request.path}" == route]

    def respond(self, request: Request) -> Answer:
        self.requests.append(request)
        script = self.scripts.get(f"{request.method} {request.path}")
        return Answer(404, {"error": "not_found", "message": "Nothing here."}) if script is None else script(request)


def job(job_id: str = "job-1", status: str = "completed", **fields: object) -> dict[str, object]:
    """Return a JobView as the wire has it."""
    view: dict[str, object] = {
        "id": job_id,
        "status": status,
        "image": "ghcr.io/acme/train:v3",
        "gpu": "h100_80gb",
        "gpu_count": 1,
        "created_at": CREATED_AT,
    }
    return view | fields


@contextlib.contextmanager
def serving() -> Iterator[Stub]:
    """Run a stub on a free port."""
    stub = Stub()

    class Handler(QuietHandler):
        def answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = stub.respond(Request(self.command, parts.path, parse_qs(parts.query), headers, body))
            text = answer.payload if isinstance(answer.payload, str) else json.dumps(answer.payload)
            with contextlib.suppress(ConnectionError):
                self.send_response_only(answer.status)
                usual = {"X-Request-Id": "req_1", "Date": self.date_time_string()}
                for name, value in {**usual, **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

    with JoinedServer(Handler) as server:
        stub.base_url = f"http://127.0.0.1:{server.port}"
        try:
            yield stub
        finally:
            stub.release.set()
