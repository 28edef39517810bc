"""`client.webhooks` and `client.key()`: what each call sends, and again when; what it makes of the answer."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import nodus
from nodus._httpx import httpx
from tests._async.clients import scripted
from tests.support.script import AsyncScript, body_of, refusal, reply

UTC = datetime.timezone.utc
HOOK = {"id": "wh_b71c", "url": "https://hooks.acme.internal/nodus", "events": ["job.completed", "job.failed"]}
SECRET = "whsec_4a9e000000000000000000000000a1"
ATTEMPT = {"at": "2026-01-01T00:00:00Z", "status_code": 500, "latency_ms": 12.5, "error": None}
DELIVERY = {
    "id": "d-1",
    "event_id": "evt_1",
    "event_type": "job.completed",
    "status": "pending",
    "attempts": [ATTEMPT],
    "next_retry_at": "2026-01-01T00:00:30Z",
}

ONCE: dict[str, Callable[[nodus.AsyncClient], Coroutine[Any, Any, object]]] = {
    "create": lambda client: client.webhooks.create("https://a.example", ["job.failed"]),
    "rotate": lambda client: client.webhooks.rotate("wh_1"),
    "replay": lambda client: client.webhooks.replay("wh_1", "d-1"),
}
GOOD = {"create": {**HOOK, "secret": SECRET}, "rotate": {"secret": SECRET}, "replay": DELIVERY}


async def test_create_registers_an_endpoint() -> None:
    """The address and the types go out; the secret comes back, this once."""
    script = AsyncScript(reply(201, {**HOOK, "secret": SECRET}))
    async with scripted(script) as client:
        hook = await client.webhooks.create(url=HOOK["url"], events=HOOK["events"])

    request = script.requests[0]

    assert (request.method, request.url.raw_path) == ("POST", b"/v1/webhooks")
    assert body_of(request) == {"url": HOOK["url"], "events": HOOK["events"]}
    assert len(request.headers["Idempotency-Key"]) > 20
    assert (hook.id, hook.url, hook.events, hook.secret) == (*HOOK.values(), SECRET)


async def test_a_secret_shows_in_no_repr() -> None:
    """It would end in a log."""
    script = AsyncScript(reply(201, {**HOOK, "secret": SECRET}), reply(200, {"secret": SECRET}))
    async with scripted(script) as client:
        hook = await client.webhooks.create(HOOK["url"], HOOK["events"])
        rotated = await client.webhooks.rotate(hook.id)

    assert rotated.secret == SECRET
    assert SECRET not in repr(hook) + str(hook) + repr(rotated) + str(rotated)
    assert script.requests[1].url.raw_path == b"/v1/webhooks/wh_b71c/rotate"


async def test_enabling_may_be_tried_again() -> None:
    """Done twice, it is done once; so a lost answer is no reason to give up."""
    script = AsyncScript(httpx.ReadError("reset"), reply(200, {**HOOK, "disabled_at": None}))
    async with scripted(script) as client:
        hook = await client.webhooks.enable("wh_b71c")

    assert [request.url.raw_path for request in script.requests] == [b"/v1/webhooks/wh_b71c/enable"] * 2
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 1
    assert (hook.id, hook.disabled_at, hook.failing_since) == ("wh_b71c", None, None)


@pytest.mark.parametrize("answer", [{"id": 7, "secret": [SECRET]}, {"whsec": SECRET}, [SECRET], SECRET])
@pytest.mark.parametrize("name", ["create", "rotate"])
async def test_an_error_about_an_answer_with_a_secret_does_not_carry_it_on(name: str, answer: Any) -> None:
    """Errors are logged, and sent to trackers of errors."""
    script = AsyncScript(reply(201, answer))
    async with scripted(script) as client:
        with pytest.raises(nodus.APIError) as caught:
            await ONCE[name](client)

    assert caught.value.code == "invalid_response"
    assert caught.value.outcome_unknown
    assert caught.value.payload is None
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


async def test_endpoints_are_listed_and_looked_up() -> None:
    """In the server's order, and without a secret."""
    script = AsyncScript(reply(200, {"webhooks": [HOOK, {**HOOK, "id": "wh_2"}]}), reply(200, {**HOOK, "new": 1}))
    async with scripted(script) as client:
        hooks = await client.webhooks.list()
        hook = await client.webhooks.get("wh_b71c")

    assert [one.id for one in hooks] == ["wh_b71c", "wh_2"]
    assert hook == nodus.Webhook(id="wh_b71c", url=str(HOOK["url"]), events=["job.completed", "job.failed"])
    assert hook.secret is None
    assert [request.url.raw_path for request in script.requests] == [b"/v1/webhooks", b"/v1/webhooks/wh_b71c"]


async def test_delete_gives_nothing() -> None:
    """204, no body."""
    script = AsyncScript(httpx.Response(204))
    async with scripted(script) as client:
        answer = await client.webhooks.delete("wh_1")  # type: ignore[func-returns-value]

    assert answer is None
    assert (script.requests[0].method, script.requests[0].url.raw_path) == ("DELETE", b"/v1/webhooks/wh_1")


async def test_what_an_attempt_before_has_deleted_is_deleted() -> None:
    """The first answer was lost: that the second finds nothing is what was wanted."""
    script = AsyncScript(httpx.ReadError("reset"), refusal(404, "webhook_not_found"))
    async with scripted(script) as client:
        await client.webhooks.delete("wh_1")

    assert script.unused == 0


async def test_deleting_what_never_was_is_an_error() -> None:
    """The first answer said so."""
    script = AsyncScript(refusal(404, "webhook_not_found"))
    async with scripted(script) as client:
        with pytest.raises(nodus.NotFoundError) as caught:
            await client.webhooks.delete("wh_1")

    assert caught.value.code == "webhook_not_found"


async def test_deliveries_show_every_attempt() -> None:
    """What was tried, what came of it, and when it is tried next."""
    script = AsyncScript(reply(200, {"deliveries": [DELIVERY], "next_cursor": None}))
    async with scripted(script) as client:
        deliveries = await client.webhooks.deliveries("wh_1", limit=5)

    at = datetime.datetime(2026, 1, 1, tzinfo=UTC)

    assert script.requests[0].url.raw_path == b"/v1/webhooks/wh_1/deliveries?limit=5"
    assert deliveries == [
        nodus.Delivery(
            id="d-1",
            status="pending",
            event_id="evt_1",
            event_type="job.completed",
            attempts=[nodus.DeliveryAttempt(at=at, status_code=500, latency_ms=12.5, error=None)],
            next_retry_at=at + datetime.timedelta(seconds=30),
        )
    ]


async def test_deliveries_can_be_walked_through_to_the_end() -> None:
    """A page is asked for when the one before is used up; a cursor that comes back ends it."""
    pages = [(["5", "4"], "a&b"), ([], "c"), (["3"], "a&b")]
    script = AsyncScript(
        *(reply(200, {"deliveries": [{**DELIVERY, "id": i} for i in ids], "next_cursor": c}) for ids, c in pages)
    )
    async with scripted(script) as client:
        ids = [delivery.id async for delivery in client.webhooks.iter_deliveries("wh_1", page_size=2)]

    assert ids == ["5", "4", "3"]
    assert [request.url.query for request in script.requests] == [
        b"limit=2",
        b"limit=2&cursor=a%26b",
        b"limit=2&cursor=c",
    ]


async def test_replay_delivers_once_more() -> None:
    """The answer is the delivery, which is pending again."""
    script = AsyncScript(reply(202, DELIVERY))
    async with scripted(script) as client:
        delivery = await client.webhooks.replay("wh_1", "d-1")

    assert script.requests[0].url.raw_path == b"/v1/webhooks/wh_1/deliveries/d-1/replay"
    assert len(script.requests[0].headers["Idempotency-Key"]) > 20
    assert (delivery.id, delivery.status, delivery.event_id) == ("d-1", "pending", "evt_1")


async def test_a_server_that_says_nothing_more_has_replayed_too() -> None:
    """An empty body is no reason to raise after it was done."""
    script = AsyncScript(httpx.Response(204))
    async with scripted(script) as client:
        delivery = await client.webhooks.replay("wh_1", "d-1")

    assert delivery == nodus.Delivery(id="d-1", status="pending")


@pytest.mark.parametrize("name", ONCE)
@pytest.mark.parametrize("failure", [httpx.ReadError("reset"), httpx.ReadTimeout("late"), 500, 502, 409])
async def test_what_must_not_happen_twice_is_not_sent_twice(name: str, failure: Any) -> None:
    """The server may have acted: the caller is told, and decides."""
    script = AsyncScript(refusal(failure) if isinstance(failure, int) else failure)
    async with scripted(script) as client:
        with pytest.raises(nodus.NodusError) as caught:
            await ONCE[name](client)

    assert len(script.requests) == 1
    assert caught.value.attempts == 1
    assert caught.value.outcome_unknown is (failure != 409)
    assert caught.value.idempotency_key == script.requests[0].headers["Idempotency-Key"]


@pytest.mark.parametrize("name", ONCE)
@pytest.mark.parametrize(
    "failure", [refusal(429), refusal(503), refusal(409, "signature_replayed"), httpx.ConnectError("refused")]
)
async def test_it_is_sent_again_where_nothing_was_done(name: str, failure: Any) -> None:
    """The server said so, or never heard of it; the key stays the same."""
    script = AsyncScript(failure, reply(200, GOOD[name]))
    async with scripted(script) as client:
        await ONCE[name](client)

    keys = {request.headers["Idempotency-Key"] for request in script.requests}

    assert len(script.requests) == 2
    assert len(keys) == 1


@pytest.mark.parametrize("hook_id", ["", ".", "..", "a/../b", "a\n", "\ud800", None, 7])
async def test_what_cannot_be_an_id_is_refused_before_sending(hook_id: Any) -> None:
    """As with jobs."""
    script = AsyncScript()
    async with scripted(script) as client:
        for call in (
            client.webhooks.get,
            client.webhooks.delete,
            client.webhooks.rotate,
            client.webhooks.enable,
            client.webhooks.deliveries,
        ):
            with pytest.raises(nodus.ValidationError) as caught:
                await call(hook_id)

            assert (caught.value.code, caught.value.status_code) == ("invalid_webhook_id", None)
        with pytest.raises(nodus.ValidationError, match="is not the id of a webhook"):
            client.webhooks.iter_deliveries(hook_id)
        with pytest.raises(nodus.ValidationError) as caught:
            await client.webhooks.replay("wh_1", hook_id)

    assert caught.value.code == "invalid_delivery_id"
    assert script.requests == []


async def test_an_id_is_one_segment_of_the_path() -> None:
    """Whatever it holds."""
    script = AsyncScript(reply(200, HOOK), reply(202, DELIVERY))
    async with scripted(script) as client:
        await client.webhooks.get("a/b?c")
        await client.webhooks.replay("a b", "…")

    assert [request.url.raw_path for request in script.requests] == [
        b"/v1/webhooks/a%2Fb%3Fc",
        b"/v1/webhooks/a%20b/deliveries/%E2%80%A6/replay",
    ]


@pytest.mark.parametrize(
    ("url", "events"),
    [
        ("", ["job.failed"]),
        (None, ["job.failed"]),
        ("https://a.example", "job.failed"),
        ("https://a.example", []),
        ("https://a.example", [""]),
        ("https://a.example", [7]),
        ("https://a.example", None),
    ],
)
async def test_an_endpoint_that_cannot_be_one_is_refused_before_sending(url: Any, events: Any) -> None:
    """A single string of a type above all, which is a sequence of letters."""
    script = AsyncScript()
    async with scripted(script) as client:
        with pytest.raises(nodus.ValidationError) as caught:
            await client.webhooks.create(url, events)

    assert caught.value.code == "invalid_argument"
    assert script.requests == []


@pytest.mark.parametrize("limit", [0, -1, True, "5", 1.0])
async def test_a_limit_below_one_is_refused_before_sending(limit: Any) -> None:
    """So is what is no whole number."""
    script = AsyncScript()
    async with scripted(script) as client:
        with pytest.raises(nodus.ValidationError, match="limit"):
            await client.webhooks.deliveries("wh_1", limit=limit)
        with pytest.raises(nodus.ValidationError, match="page_size"):
            client.webhooks.iter_deliveries("wh_1", page_size=limit)

    assert script.requests == []


async def test_an_agents_key_is_told_that_it_may_not() -> None:
    """403, as any other refusal of a key."""
    script = AsyncScript(refusal(403, "forbidden_principal"))
    async with scripted(script) as client:
        with pytest.raises(nodus.AuthenticationError) as caught:
            await client.webhooks.rotate("wh_1")

    assert caught.value.code == "forbidden_principal"
    assert not caught.value.outcome_unknown


async def test_key_gives_the_budget() -> None:
    """What the key is, and what is left of its month."""
    view = {
        "id": "0f3c-b210",
        "label": "planner-prod",
        "principal_kind": "agent",
        "signing_required": True,
        "monthly_spend_cap_usd": 2500,
        "month_to_date_usd": 20.5,
        "realised_usd": 15.25,
        "in_flight_usd": 5.25,
        "headroom_usd": 2479.5,
        "resets_at": "2026-02-01T00:00:00Z",
    }
    script = AsyncScript(reply(200, {**view, "new": 1}))
    async with scripted(script) as client:
        key = await client.key()

    assert script.requests[0].url.raw_path == b"/v1/key"
    assert key.model_dump() == {**view, "resets_at": datetime.datetime(2026, 2, 1, tzinfo=UTC)}
    assert key.principal_kind is nodus.PrincipalKind.AGENT


async def test_a_key_without_a_cap_has_no_headroom_to_speak_of() -> None:
    """None is not zero."""
    script = AsyncScript(reply(200, {"id": "k", "monthly_spend_cap_usd": None, "headroom_usd": None}))
    async with scripted(script) as client:
        key = await client.key()

    assert (key.monthly_spend_cap_usd, key.headroom_usd) == (None, None)


async def test_a_client_with_other_options_has_its_webhooks_too() -> None:
    """They go by the options of the client that they are taken from."""
    script = AsyncScript(reply(200, {"webhooks": []}))
    async with scripted(script) as client:
        await client.with_options(headers={"X-Team": "ml"}).webhooks.list()

    assert script.requests[0].headers["X-Team"] == "ml"
