"""`/v1/webhooks`, as callers meet it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from patience import PATIENCE_SECONDS
from webhooks.receiver import Receiver

import nodus
from nodus_control.api.openapi import document
from nodus_control.testing import LocalControlPlane
from nodus_core.webhook_events import EVENT_TYPES
from nodus_ledger.keys.keys import PrincipalKind
from nodus_ledger.webhooks.endpoints import MAX_ENDPOINTS

URL = "https://hooks.acme.internal/nodus"
GOOD = {"url": URL, "events": ["job.completed", "job.failed", "budget.threshold_reached"]}


@pytest.fixture
def http(control_plane: LocalControlPlane) -> Iterator[httpx.Client]:
    """Bare HTTP with the person's key."""
    headers = {"Authorization": f"Bearer {control_plane.api_key}"}
    with httpx.Client(
        base_url=control_plane.base_url, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS
    ) as opened:
        yield opened


@pytest.fixture
def stranger(control_plane: LocalControlPlane) -> Iterator[nodus.Client]:
    """A client of another customer."""
    minted = control_plane.plane.keys.mint(
        customer_id="other",
        label="",
        principal_kind=PrincipalKind.HUMAN,
        now=control_plane.plane.clock.now(),
        is_test=True,
    )
    with nodus.Client(api_key=minted.api_key, base_url=control_plane.base_url, max_retries=0) as opened:
        yield opened


def test_the_manuals_registration(http: httpx.Client) -> None:
    """201, and the secret in this answer alone."""
    answer = http.post("/v1/webhooks", json=GOOD)
    made = answer.json()
    seen = http.get(f"/v1/webhooks/{made['id']}").json()
    listed = http.get("/v1/webhooks").json()

    assert answer.status_code == 201
    assert {name: made[name] for name in GOOD} == GOOD
    assert made["id"].startswith("wh_")
    assert made["secret"].startswith("whsec_")
    assert made == {**seen, "secret": made["secret"]}
    assert listed == {"webhooks": [seen]}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": None}, "url"),
        ({"url": ""}, "url"),
        ({"url": 7}, "url"),
        ({"url": "hooks.example.com"}, "url"),
        ({"url": "ftp://hooks.example.com/"}, "url"),
        ({"url": "https://user:secret@hooks.example.com/"}, "url"),
        ({"url": "https://hooks.example.com/#x"}, "url"),
        ({"url": "https://hooks.example.com/" + "a" * 2048}, "url"),
        ({"events": None}, "events"),
        ({"events": []}, "events"),
        ({"events": "job.completed"}, "events"),
        ({"events": [1]}, "events"),
        ({"events": ["job.completed", "job.completed"]}, "events"),
        ({"events": ["job.done"]}, "events"),
        ({"secret": "whsec_mine"}, None),
    ],
)
def test_what_is_refused(http: httpx.Client, change: dict[str, object], field: str | None) -> None:
    """The error names the field, and repeats nothing of the URL."""
    answer = http.post("/v1/webhooks", json={**GOOD, **change})
    error = answer.json()

    assert (answer.status_code, error["error"], error.get("field")) == (422, "invalid_webhook", field)
    assert "secret@" not in answer.text


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"7"])
def test_a_body_that_is_no_object_is_refused(http: httpx.Client, body: bytes) -> None:
    """JSON of any other kind is an error."""
    answer = http.post("/v1/webhooks", content=body)

    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_webhook")


def test_an_unknown_event_is_named_beside_the_known_ones(client: nodus.Client) -> None:
    """Whoever mistyped a type sees the right one."""
    with pytest.raises(nodus.ValidationError) as refused:
        client.webhooks.create(URL, ["job.completed", "job.done"])

    assert "'job.done'" in refused.value.message
    for known in EVENT_TYPES:
        assert known in refused.value.message


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[fd00::1]/",
        "https://0xa000001/",
        "http://93.184.216.34/",
        "https://93.184.216.34:22/",
    ],
)
def test_a_url_that_leads_inside_is_refused(client: nodus.Client, url: str) -> None:
    """It is refused at registration, before any delivery."""
    with pytest.raises(nodus.ValidationError) as refused:
        client.webhooks.create(url, ["job.placed"])

    assert (refused.value.status_code, refused.value.code) == (422, "url_not_allowed")


def test_a_customer_has_at_most_sixteen(client: nodus.Client, stranger: nodus.Client) -> None:
    """Another customer's are no part of it, and a deleted one makes room."""
    made = [client.webhooks.create(f"{URL}/{number}", ["job.placed"]) for number in range(MAX_ENDPOINTS)]
    with pytest.raises(nodus.ValidationError) as refused:
        client.webhooks.create(URL, ["job.placed"])
    stranger.webhooks.create(URL, ["job.placed"])
    client.webhooks.delete(made[0].id)
    client.webhooks.create(URL, ["job.placed"])

    assert (MAX_ENDPOINTS, refused.value.code) == (16, "too_many_webhooks")


def test_another_customers_webhook_reads_as_absent(
    control_plane: LocalControlPlane, client: nodus.Client, stranger: nodus.Client, receiver: Receiver
) -> None:
    """In every call, its deliveries included."""
    hook = client.webhooks.create(receiver.url, ["job.placed"])
    client.run(image="a/b", gpu="l40s")
    control_plane.advance(0)
    (delivery,) = client.webhooks.deliveries(hook.id)
    own = stranger.webhooks.create(receiver.url, ["job.placed"])
    for call in (
        lambda: stranger.webhooks.get(hook.id),
        lambda: stranger.webhooks.delete(hook.id),
        lambda: stranger.webhooks.rotate(hook.id),
        lambda: stranger.webhooks.deliveries(hook.id),
        lambda: stranger.webhooks.replay(hook.id, delivery.id),
    ):
        with pytest.raises(nodus.NotFoundError) as absent:
            call()
        assert absent.value.code == "webhook_not_found"
    with pytest.raises(nodus.NotFoundError) as absent:
        stranger.webhooks.replay(own.id, delivery.id)

    assert absent.value.code == "delivery_not_found"
    assert [each.id for each in stranger.webhooks.list()] == [own.id]
    assert len(receiver.requests) == 1


def test_an_agent_may_look_but_not_change(
    control_plane: LocalControlPlane, client: nodus.Client, agent: nodus.Client, receiver: Receiver
) -> None:
    """Where a customer's events go, and how often, is no agent's to decide."""
    hook = client.webhooks.create(receiver.url, ["job.placed"])
    client.run(image="a/b", gpu="l40s")
    control_plane.advance(0)
    (delivery,) = agent.webhooks.deliveries(hook.id)
    for call in (
        lambda: agent.webhooks.create(URL, ["job.placed"]),
        lambda: agent.webhooks.delete(hook.id),
        lambda: agent.webhooks.rotate(hook.id),
        lambda: agent.webhooks.enable(hook.id),
        lambda: agent.webhooks.replay(hook.id, delivery.id),
    ):
        with pytest.raises(nodus.AuthenticationError) as refused:
            call()
        assert (refused.value.status_code, refused.value.code) == (403, "forbidden_principal")
    control_plane.advance(0)

    assert [each.id for each in agent.webhooks.list()] == [hook.id]
    assert len(receiver.requests) == 1


def test_what_stands_in_the_query_of_a_url_is_shown_once(
    control_plane: LocalControlPlane, client: nodus.Client, agent: nodus.Client, receiver: Receiver
) -> None:
    """To whoever registered it, in the answer; it is delivered to all the same, and nobody reads the token again."""
    url = f"{receiver.url}?token=T_q7x&T_q7y&empty="
    shown = f"{receiver.url}?token=***&***&empty=***"
    created = client.webhooks.create(url, ["job.placed"])
    client.run(image="a/b", gpu="l40s")
    control_plane.advance(0)
    looks = [one for each in (client, agent) for one in (each.webhooks.get(created.id), *each.webhooks.list())]
    recorded = str(client.webhooks.deliveries(created.id)) + str(client.ledger.entries())

    assert created.url == url
    assert {look.url for look in looks} == {shown}
    assert [request.path for request in receiver.requests] == ["/nodus?token=T_q7x&T_q7y&empty="]
    assert "T_q7" not in recorded


def test_an_idempotency_key_registers_once(http: httpx.Client) -> None:
    """The second answer has no secret: whoever lost the first one rotates."""
    headers = {"Idempotency-Key": "hook-1"}
    first = http.post("/v1/webhooks", json=GOOD, headers=headers)
    again = http.post("/v1/webhooks", json=GOOD, headers=headers)
    other = http.post("/v1/webhooks", json={**GOOD, "events": ["job.placed"]}, headers=headers)

    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert {**again.json(), "secret": first.json()["secret"]} == first.json()
    assert (other.status_code, other.json()["error"]) == (422, "idempotency_key_reused")
    assert len(http.get("/v1/webhooks").json()["webhooks"]) == 1
    assert http.post("/v1/webhooks", json=GOOD, headers={"Idempotency-Key": ""}).status_code == 400


def test_writing_takes_no_query(http: httpx.Client) -> None:
    """A signature would not cover it."""
    hook = http.post("/v1/webhooks", json=GOOD).json()["id"]
    answers = [
        http.post("/v1/webhooks?a=1", json=GOOD),
        http.post(f"/v1/webhooks/{hook}/rotate?a=1"),
        http.post(f"/v1/webhooks/{hook}/deliveries/x/replay?a=1"),
        http.delete(f"/v1/webhooks/{hook}?a=1"),
    ]

    assert [(answer.status_code, answer.json()["error"]) for answer in answers] == [(400, "unexpected_query")] * 4


@pytest.mark.parametrize(
    ("query", "status"),
    [("limit=0", 422), ("limit=x", 422), ("cursor=x", 400), ("cursor=ajE", 400), ("cursor=%F0%9F%92%A9", 400)],
)
def test_a_page_that_is_none_is_refused(http: httpx.Client, query: str, status: int) -> None:
    """A wrong limit or cursor is an error, as in every listing."""
    hook = http.post("/v1/webhooks", json=GOOD).json()["id"]

    assert http.get(f"/v1/webhooks/{hook}/deliveries?{query}").status_code == status


def test_deleting_is_answered_with_nothing(http: httpx.Client) -> None:
    """204; the second time there is nothing to delete."""
    hook = http.post("/v1/webhooks", json=GOOD).json()["id"]
    first, second = http.delete(f"/v1/webhooks/{hook}"), http.delete(f"/v1/webhooks/{hook}")

    assert (first.status_code, first.content) == (204, b"")
    assert (second.status_code, second.json()["error"]) == (404, "webhook_not_found")


def test_every_call_needs_a_key(control_plane: LocalControlPlane) -> None:
    """No path of webhooks answers a stranger."""
    paths = [path for path in document()["paths"] if path.startswith("/v1/webhooks")]
    methods = [(method, path) for path in paths for method in document()["paths"][path] if method != "parameters"]
    with httpx.Client(base_url=control_plane.base_url, trust_env=False, timeout=PATIENCE_SECONDS) as bare:
        statuses = {
            bare.request(method.upper(), path.replace("{", "").replace("}", "")).status_code for method, path in methods
        }

    assert len(methods) == 8
    assert statuses == {401}


def inbox(control_plane: LocalControlPlane) -> list[dict[str, Any]]:
    """Read the built-in receiver."""
    with urllib.request.urlopen(f"{control_plane.base_url}/_dev/inbox") as answer:
        deliveries: list[dict[str, Any]] = json.load(answer)["deliveries"]
    return deliveries


def test_the_inbox_shows_what_was_delivered(control_plane: LocalControlPlane, client: nodus.Client) -> None:
    """Body, headers and event, and that the signature is right."""
    hook = client.webhooks.create(f"{control_plane.base_url}/_dev/inbox/mine", ["job.placed"])
    job = client.run(image="a/b", gpu="l40s")
    control_plane.advance(0)
    (delivery,) = inbox(control_plane)

    assert (delivery["name"], delivery["signature_valid"]) == ("mine", True)
    assert delivery["event"] == json.loads(delivery["body"])
    assert delivery["event"]["data"]["job_id"] == job.id
    assert delivery["received_at"] == "2026-01-01T00:00:00.000Z"
    assert nodus.verify_webhook(
        signing_secret=str(hook.secret),
        method="POST",
        path="/_dev/inbox/mine",
        body=delivery["body"].encode(),
        signature_header=delivery["headers"]["nodus-signature"],
    )


def test_the_inbox_keeps_only_what_was_signed_for_it(control_plane: LocalControlPlane, client: nodus.Client) -> None:
    """Not what somebody else signed, or for another path, or twice, or not at all: that is refused, and forgotten."""
    hook = client.webhooks.create(f"{control_plane.base_url}/_dev/inbox/mine", ["job.placed"])
    secret = str(hook.secret)

    def post(path: str, body: bytes, headers: list[tuple[str, str]]) -> int:
        answer = httpx.post(
            control_plane.base_url + path, content=body, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS
        )
        return answer.status_code

    def sign(secret: str, path: str, body: bytes) -> list[tuple[str, str]]:
        return list(nodus.sign_request(signing_secret=secret, method="POST", path=path, body=body).items())

    signed = sign(secret, "/_dev/inbox/mine", b"\xff[")
    statuses = [
        post("/_dev/inbox/mine", b"\xff[", signed),
        post("/_dev/inbox/mine", b"\xff[]", signed),
        post("/_dev/inbox/mine", b"\xff[", signed * 2),
        post("/_dev/inbox/mine", b"{}", sign("whsec_other", "/_dev/inbox/mine", b"{}")),
        post("/_dev/inbox/other", b"{}", sign(secret, "/_dev/inbox/other", b"{}")),
        post("/_dev/inbox/mine", b"[" * 100_000, []),
    ]

    shown = inbox(control_plane)
    assert statuses == [204, 401, 401, 401, 401, 401]
    assert [(each["signature_valid"], each["event"], each["body"]) for each in shown] == [(True, None, "\ufffd[")]
    httpx.delete(f"{control_plane.base_url}/_dev/inbox", trust_env=False, timeout=PATIENCE_SECONDS)
    assert inbox(control_plane) == []
