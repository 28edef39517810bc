"""A path is found, or refused, in the same way everywhere: at the root, and under a gateway's prefix."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import httpx
import pytest
from starlette.routing import Mount, Router
from starlette.types import ASGIApp

from nodus_control.api.routes import OPERATIONS
from nodus_control.testing import LocalControlPlane

SPEC = {"image": "x", "gpu": "l40s"}


@pytest.fixture
def control_plane() -> Iterator[LocalControlPlane]:
    """A control plane that only answers: nothing of its state changes by itself."""
    made = LocalControlPlane(serve=False)
    yield made
    made.close()


async def answers(app: ASGIApp, api_key: str, prefix: str = "") -> list[httpx.Response]:
    """What is asked of two paths, rightly and wrongly."""
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


def test_an_application_under_a_prefix_answers_as_one_at_the_root(control_plane: LocalControlPlane) -> None:
    """Status, headers and body, for requests that are right and requests that are wrong."""
    gateway = Router([Mount("/gateway", control_plane.asgi_app)])
    at_root = [seen(each) for each in anyio.run(answers, control_plane.asgi_app, control_plane.api_key)]
    control_plane.reset()
    under_prefix = [seen(each) for each in anyio.run(answers, gateway, control_plane.api_key, "/gateway")]

    assert [status for status, *_ in at_root] == [202, 200, 422, 400, 400, 401, 200, 401, 404, 404, 404, 405, 405, 405]
    assert under_prefix == at_root


def test_a_method_that_a_path_does_not_have_is_refused_with_those_that_it_has(control_plane: LocalControlPlane) -> None:
    """Of every path of the table, whichever of its operations stands first."""

    async def refusals() -> dict[str, httpx.Response]:
        transport = httpx.ASGITransport(control_plane.asgi_app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return {path: await client.request("PATCH", path) for path in sorted({each.path for each in OPERATIONS})}

    for path, refusal in anyio.run(refusals).items():
        has = sorted(each.method for each in OPERATIONS if each.path == path)

        assert (refusal.status_code, refusal.json()["error"]) == (405, "method_not_allowed"), path
        assert refusal.headers["allow"] == ", ".join(has)
