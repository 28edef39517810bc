"""The published document names what the server does, and says of it what the domain says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from nodus_control.api.openapi import document
from nodus_control.api.routes import OPERATIONS
from nodus_control.testing import LocalControlPlane
from nodus_control.version import VERSION
from nodus_control.webhooks.urls import MAX_URL_LENGTH
from nodus_core import spec as limits
from nodus_core.lifecycle import JobStatus
from nodus_core.suppliers_file import GPU_NAME, SupplierKind
from nodus_core.usage import GROUPINGS, MAX_GROUPS
from nodus_core.webhook_events import EVENT_TYPES
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = pytest.mark.anyio

SCHEMAS = document()["components"]["schemas"]


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


def resolved(reference: str) -> Any:
    """What a reference of the document leads to."""
    part: Any = document()
    for step in reference.removeprefix("#/").split("/"):
        part = part[step]
    return part


def operations() -> dict[tuple[str, str], Any]:
    """The operations of the document, by method and path."""
    return {
        (method.upper(), path): operation
        for path, item in document()["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }


def test_every_reference_leads_somewhere() -> None:
    """Nothing is named that is not there."""
    for reference in set(references(document())):
        assert resolved(reference), reference


def test_every_component_is_referred_to() -> None:
    """What a change leaves behind is noticed; the bodies of webhooks and the data of events have no operation."""
    used = set(references(document()))
    unused = {
        f"#/components/{kind}/{name}"
        for kind in ("headers", "responses", "schemas")
        for name in document()["components"][kind]
    } - used

    assert unused == {"#/components/schemas/JobEvent", "#/components/schemas/WebhookEvent"}


def test_table_and_document_name_the_same_operations() -> None:
    """By method and path; the document itself is none of them."""
    served = {(each.method, each.path) for each in OPERATIONS if each.path != "/openapi.json"}

    assert set(operations()) == served


def test_the_document_names_no_operation_twice() -> None:
    """Generated clients are named by them."""
    names = [operation["operationId"] for operation in operations().values()]

    assert sorted(names) == sorted(set(names))


def test_the_document_has_the_limits_of_the_domain() -> None:
    """Every value and limit stands in the code that enforces it, and here once more for readers."""
    job, webhook = SCHEMAS["JobSpec"]["properties"], SCHEMAS["WebhookSpec"]["properties"]
    kinds = [kind.value for kind in SupplierKind]
    gpu_name = f"^{GPU_NAME.pattern}$"
    principals, statuses = [kind.value for kind in PrincipalKind], [status.value for status in JobStatus]

    with_gpu = ("JobSpec", "JobView", "Offer", "UsageGroup")
    assert [SCHEMAS[name]["properties"]["gpu"]["pattern"] for name in with_gpu] == [gpu_name] * 4
    assert job["require_tiers"]["items"]["enum"] == kinds
    assert [SCHEMAS[name]["properties"]["kind"]["enum"] for name in ("Candidate", "Offer")] == [kinds, kinds]
    group = SCHEMAS["UsageGroup"]["properties"]
    assert group["kind"]["enum"] == [*kinds, None]
    assert group["principal_kind"]["enum"] == principals
    assert group["status"]["enum"] == [status.value for status in JobStatus if status.is_terminal]
    assert SCHEMAS["Usage"]["properties"]["groups"]["maxItems"] == MAX_GROUPS
    asked = {each["name"]: each for each in document()["paths"]["/v1/usage"]["get"]["parameters"]}
    assert asked["group_by"]["schema"]["items"]["anyOf"][0]["enum"] == list(GROUPINGS)
    assert job["image"]["maxLength"] == limits.MAX_IMAGE_LENGTH
    assert (job["gpu_count"]["minimum"], job["gpu_count"]["maximum"]) == limits.GPU_COUNT
    runtime = job["max_runtime_seconds"]
    assert (runtime["minimum"], runtime["maximum"]) == limits.MAX_RUNTIME_SECONDS
    assert runtime["default"] == limits.DEFAULT_MAX_RUNTIME_SECONDS
    assert job["prefer_region"]["maxLength"] == limits.MAX_REGION_LENGTH
    assert job["idempotency_key"]["maxLength"] == limits.MAX_IDEMPOTENCY_KEY_LENGTH
    for name in ("JobView", "Key", "WebhookEvent"):
        properties = SCHEMAS[name]["properties"]
        assert (properties.get("data") or SCHEMAS[name])["properties"]["principal_kind"]["enum"] == principals
    for name in ("JobView", "JobEvent"):
        assert SCHEMAS[name]["properties"]["status"]["enum"] == statuses
    assert webhook["events"]["items"]["enum"] == list(EVENT_TYPES)
    assert webhook["url"]["maxLength"] == MAX_URL_LENGTH


async def test_answers_have_the_fields_that_are_described(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: dict[str, Any]
) -> None:
    """No field is missing, and none is undocumented."""
    job = (await client.post("/v1/jobs", json=spec)).json()
    control_plane.advance(1000)
    answers = {
        "JobView": (await client.get(f"/v1/jobs/{job['id']}")).json(),
        "JobPage": (await client.get("/v1/jobs")).json(),
        "Key": (await client.get("/v1/key")).json(),
        "Routing": (await client.get(f"/v1/jobs/{job['id']}/routing")).json(),
        "Health": (await client.get("/healthz")).json(),
        "Readiness": (await client.get("/readyz")).json(),
        "OfferList": (offers := (await client.get("/v1/offers")).json()),
        "Offer": offers["offers"][0],
        "Quote": (await client.post("/v1/quotes", json=spec)).json(),
    }

    for name, answer in answers.items():
        assert set(answer) == set(SCHEMAS[name]["properties"]), name


async def test_the_document_is_served(client: httpx.AsyncClient) -> None:
    """Without a key, as OpenAPI 3.1, with this version, and with an example of every answer."""
    del client.headers["authorization"]
    served = (await client.get("/openapi.json")).json()

    assert served["openapi"] == "3.1.0"
    assert served["info"]["version"] == VERSION
    for operation in operations().values():
        for answer in operation["responses"].values():
            whole = resolved(answer["$ref"]) if "$ref" in answer else answer
            assert all("example" in content for content in whole.get("content", {}).values())


async def test_under_a_prefix_the_document_says_so(control_plane: LocalControlPlane) -> None:
    """Whoever follows it there finds the paths."""
    transport = httpx.ASGITransport(app=control_plane.asgi_app, root_path="/gateway")
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/gateway") as client:
        served = (await client.get("/openapi.json")).json()

    assert served["servers"] == [{"url": "/gateway"}]
    assert "servers" not in document()
