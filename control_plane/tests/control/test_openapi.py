"""The published document says what the server does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from nodus_control.api.openapi import document
from nodus_control.api.schemas import SCHEMAS
from nodus_control.testing import LocalControlPlane

pytestmark = pytest.mark.anyio


def references(part: object) -> Iterator[str]:
    """Find every reference of a document."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def every_route(routes: Iterable[Any]) -> Iterator[Any]:
    """Walk through routes, and through those of included routers where the framework keeps them apart."""
    for route in routes:
        included = getattr(route, "original_router", None)
        yield from [route] if included is None else every_route(included.routes)


def test_every_reference_leads_somewhere() -> None:
    """Nothing is named that is not there."""
    whole = document()
    for found in set(references(whole)):
        part: Any = whole
        for step in found.removeprefix("#/").split("/"):
            part = part[step]


def test_every_route_is_described_and_nothing_else(plane: LocalControlPlane) -> None:
    """By path and method."""
    app = plane.asgi_app
    assert isinstance(app, FastAPI)
    served = {
        (method.lower(), path)
        for route in every_route(app.routes)
        if (path := getattr(route, "path", "")).startswith(("/v1", "/healthz", "/readyz"))
        for method in getattr(route, "methods", ())
    }
    described = {
        (method, path) for path, item in document()["paths"].items() for method in item if method != "parameters"
    }

    assert described == served


async def test_answers_have_the_fields_that_are_described(
    client: httpx.AsyncClient, plane: LocalControlPlane, spec: dict[str, Any]
) -> None:
    """No more and no fewer."""
    job = (await client.post("/v1/jobs", json=spec)).json()
    plane.advance(1000)
    answers = {
        "JobView": (await client.get(f"/v1/jobs/{job['id']}")).json(),
        "JobPage": (await client.get("/v1/jobs")).json(),
        "Key": (await client.get("/v1/key")).json(),
        "Routing": (await client.get(f"/v1/jobs/{job['id']}/routing")).json(),
        "Health": (await client.get("/healthz")).json(),
        "Readiness": (await client.get("/readyz")).json(),
    }

    for name, answer in answers.items():
        assert set(answer) == set(SCHEMAS[name]["properties"]), name


async def test_the_document_is_served(client: httpx.AsyncClient) -> None:
    """Without a key, as OpenAPI 3.1, with an example of every answer."""
    del client.headers["authorization"]
    served = (await client.get("/openapi.json")).json()
    operations = [item[method] for item in served["paths"].values() for method in item if method != "parameters"]

    assert served["openapi"] == "3.1.0"
    for operation in operations:
        for answer in operation["responses"].values():
            assert all("example" in content for content in answer.get("content", {}).values())
