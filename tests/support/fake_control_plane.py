"""The truth behind a server that misbehaves: a control plane small enough to know what it did."""

from __future__ import annotations

import json
import threading
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.server import Received
from tests.support.streams import LIFECYCLE

JOB_IDS = ("job-1", "job-2", "job-3", "job-4", "job-5")
"""Jobs that are there from the start, newest first."""

LOOKS = 2
"""How many times a job shows itself as live before it is over."""

PAGE_LIMIT = 2
"""Jobs a page at most, so that listing them takes several requests."""

EVENT_STREAM = "text/event-stream"

LOGS = "epoch 1\nepoch 2\n"

_WEBHOOK = {"id": "wh_1", "url": "https://example.com/hook", "events": ["job.completed"]}
_DELIVERY = {"id": "d_1", "status": "pending"}
_ROW = {
    "seq": 1,
    "at": "2026-01-01T00:00:00Z",
    "kind": "job.submitted",
    "job_id": "job-1",
    "key_id": "key-1",
    "principal_kind": "agent",
    "payload": {},
    "prev_hash": "0" * 64,
    "leaf": "{}",
    "leaf_hash": "1" * 64,
}

FIXED: dict[str, object] = {
    "GET /v1/jobs/job-1/routing": {"chosen": "lambda", "candidates": [{"supplier": "lambda"}]},
    "GET /v1/key": {"id": "key-1", "label": "ci"},
    "GET /v1/offers": {"offers": [{"supplier": "lab", "gpu": "l40s", "usd_per_gpu_hour": 0.5}]},
    "POST /v1/quotes": {"estimated_cost_usd": 0.5, "candidates": [], "fits": True},
    "GET /v1/usage": {
        "from": "2026-10-01T00:00:00.000Z",
        "to": "2026-11-01T00:00:00.000Z",
        "simulated": False,
        "groups": [{"day": "2026-10-05", "jobs": 2, "gpu_seconds": 60.5, "cost_usd": 0.25}],
        "total": {"jobs": 2, "gpu_seconds": 60.5, "cost_usd": 0.25},
    },
    "GET /v1/webhooks": {"webhooks": [_WEBHOOK]},
    "POST /v1/webhooks": _WEBHOOK,
    "GET /v1/webhooks/wh_1": _WEBHOOK,
    "DELETE /v1/webhooks/wh_1": None,
    "POST /v1/webhooks/wh_1/rotate": {"secret": "whsec_2"},
    "POST /v1/webhooks/wh_1/enable": _WEBHOOK,
    "GET /v1/webhooks/wh_1/deliveries": {"deliveries": [_DELIVERY], "next_cursor": None},
    "POST /v1/webhooks/wh_1/deliveries/d_1/replay": _DELIVERY,
    "GET /v1/ledger": {"entries": [_ROW], "next_after": None},
    "GET /v1/ledger/key": {"origin": "o", "algorithm": "ed25519", "public_key": "AA==", "vkey": "o+1+AA=="},
    "GET /v1/ledger/statement": '{"origin":"o"}\n{"leaf":"{}"}\n{"final":true}\n',
    "GET /v1/ledger/checkpoint": {"origin": "o", "size": 1, "root_hash": "1" * 64, "note": "n"},
    "GET /v1/ledger/1/proof": {"seq": 1, "size": 1, "leaf_hash": "1" * 64, "hashes": []},
    "GET /v1/ledger/consistency": {"from": 1, "to": 1, "hashes": []},
}
"""What is always answered the same."""


class FakeControlPlane:
    """Takes requests and keeps what became of them.

    Attributes:
        taken: the ids of the jobs that each idempotency key made; one, unless the key was not honoured.
    """

    def __init__(self) -> None:
        self._looks = dict.fromkeys(JOB_IDS, 0)
        self._cancelled: set[str] = set()
        self._mutex = threading.Lock()
        self.taken: dict[str, list[str]] = {}

    def answer(self, request: Received) -> bytes:
        """Do what a request asks for; return the answer as it goes over the wire."""
        with self._mutex:
            status, payload, headers = self._respond(request)
        body = payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()
        return http_answer(status, body, **headers)

    def has(self, key: str | None) -> bool:
        """Whether a submission with this idempotency key was taken."""
        return key in self.taken

    def _respond(self, request: Received) -> tuple[int, object, dict[str, str]]:
        url = urlsplit(request.target)
        fixed = f"{request.method} {url.path}"
        if fixed in FIXED:
            return 200, FIXED[fixed], {}
        segments = [unquote(segment) for segment in url.path.split("/")[1:]]
        if segments == ["healthz"]:
            return 200, {"status": "ok", "version": "1"}, {}
        if segments == ["v1", "jobs"]:
            return self._submit(request) if request.method == "POST" else (200, self._page(parse_qs(url.query)), {})
        if segments == ["v1", "jobs", "batch"]:
            return 200, {"results": [self._submit_one(spec) for spec in json.loads(request.body)["jobs"]]}, {}
        job_id = segments[2]
        if job_id not in self._looks:
            return 404, {"error": "job_not_found", "message": "There is no such job."}, {}
        if segments[3:] == ["logs"]:
            return 200, LOGS, {"content_type": "text/plain"}
        if segments[3:] == ["events"]:
            return 200, self._events(job_id, int(request.header("last-event-id") or 0)), {"content_type": EVENT_STREAM}
        if segments[3:] == ["cancel"]:
            self._cancelled.add(job_id)
        return 200, self._look(job_id), {}

    def _events(self, job_id: str, after: int) -> str:
        """What remains of a job's stream; when it has been told, the job is over."""
        self._looks[job_id] = LOOKS
        events = [
            f"id: {seq}\nevent: status\ndata: {json.dumps({'seq': seq, 'job_id': job_id, 'status': status})}\n\n"
            for seq, status in enumerate(LIFECYCLE, start=1)
        ]
        return "".join(events[after:])

    def _submit(self, request: Received) -> tuple[int, object, dict[str, str]]:
        key = request.header("idempotency-key")
        assert key is not None
        assert json.loads(request.body)["idempotency_key"] == key
        if key in self.taken:
            return 200, self._look(self.taken[key][0]), {"idempotent_replayed": "true"}
        return 202, self._make(key), {}

    def _submit_one(self, spec: dict[str, str]) -> dict[str, object]:
        """Take one job of a batch."""
        key = spec["idempotency_key"]
        if key in self.taken:
            return {"job": self._look(self.taken[key][0]), "replayed": True}
        return {"job": self._make(key), "replayed": False}

    def _make(self, key: str) -> dict[str, object]:
        job_id = f"made-{len(self.taken)}"
        self._looks[job_id] = 0
        self.taken[key] = [job_id]
        return self._view(job_id)

    def _page(self, query: dict[str, list[str]]) -> dict[str, object]:
        wanted = query["status"][0].split(",") if "status" in query else None
        jobs = [job_id for job_id in self._looks if wanted is None or self._view(job_id)["status"] in wanted]
        start, limit = int(query.get("cursor", ["0"])[0]), min(int(query["limit"][0]), PAGE_LIMIT)
        more = start + limit < len(jobs)
        shown = [self._look(job_id) for job_id in jobs[start : start + limit]]
        return {"jobs": shown, "next_cursor": str(start + limit) if more else None}

    def _look(self, job_id: str) -> dict[str, object]:
        view = self._view(job_id)
        self._looks[job_id] += 1
        return view

    def _view(self, job_id: str) -> dict[str, object]:
        over = self._looks[job_id] >= LOOKS
        status = "cancelled" if job_id in self._cancelled else "completed" if over else "running"
        return {"id": job_id, "status": status, "cost_usd": 1.5 if over else None}


def http_answer(status: int, body: bytes, **headers: str) -> bytes:
    """A whole answer with its length; `retry_after="1"` is the header `Retry-After`."""
    headers = {"content_type": "application/json", "content_length": str(len(body)), **headers}
    lines = [f"HTTP/1.1 {status} Some Reason", *(f"{name.replace('_', '-')}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
