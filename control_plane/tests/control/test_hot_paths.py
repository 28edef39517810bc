"""The paths that are answered ahead of the framework are answered as the framework would."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import httpx
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp

from nodus_control.hot_paths import HotPaths
from nodus_control.testing import LocalControlPlane

SPEC = {"image": "x", "gpu": "l40s"}


@pytest.fixture
def plane() -> Iterator[LocalControlPlane]:
    """A control plane that only answers: nothing of its state changes by itself."""
    made = LocalControlPlane(serve=False)
    yield made
    made.close()


def without_hot_paths(plane: LocalControlPlane) -> FastAPI:
    """The same application, as it would be if the framework did everything."""
    app = plane.asgi_app
    assert isinstance(app, FastAPI)
    app.user_middleware = [each for each in app.user_middleware if repr(each.cls) != repr(HotPaths)]
    app.middleware_stack = None
    return app


async def answers(app: ASGIApp, api_key: str, prefix: str = "") -> list[httpx.Response]:
    """What is asked of both paths, rightly and wrongly."""
    headers = {"Authorization": f"Bearer {api_key}", "Idempotency-Key": "one"}
    base_url = f"http://127.0.0.1{prefix}"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base_url) as client:
        first = await client.post("/v1/jobs", json=SPEC, headers=headers)
        job = f"/v1/jobs/{first.json()['id']}"
        return [
            first,
            await client.post("/v1/jobs", json=SPEC, headers=headers),
            await client.post("/v1/jobs", json={**SPEC, "gpu": "abacus"}, headers=headers),
            await client.post("/v1/jobs", content=b"{", headers=headers),
            await client.post("/v1/jobs?limit=1", json=SPEC, headers=headers),
            await client.post("/v1/jobs", json=SPEC),
            await client.get(job, headers=headers),
            await client.get(job),
            await client.get("/v1/jobs/none", headers=headers),
            await client.get("/v1/jobs/a%2Fb", headers=headers),
            await client.get("/v1/jobs/", headers=headers),
            await client.put("/v1/jobs", headers=headers),
            await client.delete(job, headers=headers),
            await client.head(job, headers=headers),
        ]


def seen(response: httpx.Response) -> tuple[object, ...]:
    """What a caller sees that is the same every time."""
    headers = {
        name: value for name, value in response.headers.items() if name not in ("x-request-id", "content-length")
    }
    content = response.json() if response.content else None
    if isinstance(content, dict):
        content = {name: value for name, value in content.items() if name != "request_id"}
    return response.status_code, headers, content


def test_they_answer_as_the_framework_does(plane: LocalControlPlane) -> None:
    """Status, headers and body, for requests that are right and requests that are wrong."""
    ahead = [seen(each) for each in anyio.run(answers, plane.asgi_app, plane.api_key)]
    plane.reset()
    behind = [seen(each) for each in anyio.run(answers, without_hot_paths(plane), plane.api_key)]

    assert ahead == behind
    assert [status for status, *_ in ahead[:2]] == [202, 200]


def test_an_application_under_a_prefix_answers_too(plane: LocalControlPlane) -> None:
    """There the framework takes them, which knows of the prefix."""
    gateway = FastAPI()
    gateway.mount("/gateway", plane.asgi_app)
    statuses = [each.status_code for each in anyio.run(answers, gateway, plane.api_key, "/gateway")]

    assert statuses == [202, 200, 422, 400, 400, 401, 200, 401, 404, 404, 404, 405, 405, 405]
