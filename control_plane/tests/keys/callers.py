"""Calls over HTTP, signed or spoilt, and the self-hosted control planes that answer them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import httpx
from patience import PATIENCE_SECONDS

import nodus
from nodus_control.api.app import create_app
from nodus_control.control_plane import ControlPlane
from nodus_control.serving.server import Server
from nodus_ledger.admin.program import main
from nodus_ledger.database.redis_store import RedisStore

SPEC = {"image": "ghcr.io/acme/train:v3", "gpu": "h100_80gb", "max_runtime_seconds": 60}
WEBHOOK = {"url": "https://hooks.example.com/nodus", "events": ["budget.exceeded"]}


@dataclass(frozen=True)
class Minted:
    """A key as `mint --json` prints it."""

    key_id: str
    api_key: str
    signing_secret: str | None


class Caller:
    """A user's HTTP stack of their own, on one control plane."""

    def __init__(self, control_plane: ControlPlane, base_url: str) -> None:
        self.control_plane = control_plane
        self.base_url = base_url
        self.http = httpx.Client(base_url=base_url, trust_env=False, timeout=PATIENCE_SECONDS)

    def call(
        self,
        key: Minted,
        method: str,
        path: str,
        payload: object = None,
        *,
        secret: str | None = None,
        now: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Make one request, signed where the key has a secret."""
        body = b"" if payload is None else json.dumps(payload).encode()
        sent = {"Authorization": f"Bearer {key.api_key}"}
        if secret or key.signing_secret:
            sent |= nodus.sign_request(
                signing_secret=secret or key.signing_secret or "",
                method=method,
                path=path.partition("?")[0],
                body=body,
                now=now,
            )
        return self.http.request(method, path, content=body, headers={**sent, **(headers or {})})


@contextmanager
def serve(database_url: str, redis_url: str | None = None) -> Iterator[Caller]:
    """Run the API of the self-hosted form on a database that others may share."""
    redis = None if redis_url is None else RedisStore(redis_url)
    control_plane = ControlPlane(database_url, seed=None, is_alone=False, redis=redis)
    server = Server(create_app(control_plane))
    server.start()
    caller = Caller(control_plane, server.base_url)
    try:
        yield caller
    finally:
        caller.http.close()
        server.stop()
        control_plane.close()


def admin(*arguments: str) -> str:
    """Run an operator's command that must succeed; return what it prints."""
    with redirect_stdout(io.StringIO()) as printed:
        status = main(arguments)
    assert status == 0
    return printed.getvalue()


def mint(database_url: str, *options: str, redis_url: str | None = None) -> Minted:
    """Mint an agent's test key."""
    place = ["--db", database_url, *([] if redis_url is None else ["--redis", redis_url])]
    printed = admin("mint", "--customer-id", "acme", "--kind", "service", "--test", "--json", *place, *options)
    minted: dict[str, Any] = json.loads(printed)
    return Minted(minted["key_id"], minted["api_key"], minted["signing_secret"])


def code_of(answer: httpx.Response) -> tuple[int, object]:
    """The status and the code of an answer; None for a success."""
    return answer.status_code, answer.json().get("error")
