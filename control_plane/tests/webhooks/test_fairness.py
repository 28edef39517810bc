"""Endpoints that hang, or fail for days: what they cost the others, and what becomes of them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from patience import PATIENCE_SECONDS, eventually
from webhooks.receiver import Answer, Receiver

import nodus
from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane
from nodus_control.testing import LocalControlPlane
from nodus_control.webhooks.deliverer import LEASE_MS
from nodus_control.webhooks.fair_share import Limits
from nodus_core.spec import parse_spec
from nodus_core.times import timestamp
from nodus_core.webhook_retries import Outcome
from nodus_ledger.keys.keys import KeyRecord, PrincipalKind
from nodus_ledger.webhooks.deliveries import Outgoing
from nodus_ledger.webhooks.endpoints import MAX_ENDPOINTS

pytestmark = pytest.mark.both_engines

DAY_SECONDS = 86_400


def new_customer(control_plane: ControlPlane, name: str) -> KeyRecord:
    """Make a customer, and a key of it."""
    minted = control_plane.keys.mint(
        customer_id=name, label="", principal_kind=PrincipalKind.SERVICE, now=control_plane.clock.now(), is_test=True
    )
    key = control_plane.keys.find(minted.api_key)
    assert key is not None
    return key


def register(control_plane: ControlPlane, key: KeyRecord, url: str) -> str:
    """Register an endpoint for accepted jobs; return its id."""
    return control_plane.webhooks.endpoints.register(
        key.customer_id, url, ["job.placed"], None, control_plane.clock.now()
    ).endpoint.id


def submit(control_plane: ControlPlane, key: KeyRecord, count: int = 1) -> None:
    """Submit jobs; each is an event for every endpoint of the customer."""
    for _ in range(count):
        control_plane.jobs.submit(key, parse_spec({"image": "a/b", "gpu": "l40s"}), None, control_plane.clock.now())
    control_plane.wake()


class Silence:
    """An endpoint that never answers."""

    def __init__(self, listening: socket.socket, connections: ExitStack) -> None:
        self._listening = listening
        self._connections = connections
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/hang"

    def wait_for(self, count: int) -> None:
        """Wait until so many more attempts have connected; each of them knows all about its endpoint by then."""
        for _ in range(count):
            self._connections.enter_context(self._listening.accept()[0])


@contextmanager
def silence() -> Iterator[Silence]:
    """Listen, and never answer."""
    with socket.socket() as listening, ExitStack() as connections:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1000)
        listening.settimeout(PATIENCE_SECONDS)
        yield Silence(listening, connections)


def test_hanging_endpoints_of_many_customers_delay_nobody_else(
    control_plane: LocalControlPlane, receiver: Receiver
) -> None:
    """They fill all places of the quick, are counted as slow, and others go on at once: long before any times out."""
    inner = control_plane.plane
    inner.webhooks.deliverer._limits = Limits(quick=12, in_all=64, customer=4)
    with silence() as hanging:
        for number in range(4):
            key = new_customer(inner, f"bad-{number}")
            for _ in range(4):
                register(inner, key, hanging.url)
            submit(inner, key, 3)
        hanging.wait_for(12)
        good = new_customer(inner, "good")
        register(inner, good, receiver.url)
        submit(inner, good)
        receiver.wait_for(1)
        in_flight = len(inner.webhooks.deliverer._in_flight)

    assert 12 <= in_flight <= 17


def test_new_endpoints_give_a_customer_no_more_places(control_plane: LocalControlPlane, receiver: Receiver) -> None:
    """What is under way to deleted ones counts on."""
    inner = control_plane.plane
    inner.webhooks.deliverer._limits = Limits(customer=5)
    key, good = new_customer(inner, "bad"), new_customer(inner, "good")
    register(inner, good, receiver.url)
    with silence() as hanging:
        for begun in (5, 0):
            endpoints = [register(inner, key, hanging.url) for _ in range(MAX_ENDPOINTS)]
            submit(inner, key)
            hanging.wait_for(begun)
            submit(inner, good)
            # When this has come, whatever was due before it has been begun, as far as it may.
            receiver.wait_for(1 if begun else 2)
            for endpoint_id in endpoints:
                inner.webhooks.endpoints.delete("bad", endpoint_id, inner.clock.now())
        customers = [each.customer_id for each in inner.webhooks.deliverer._in_flight.values()]

    assert customers.count("bad") == 5


def test_room_that_an_attempt_leaves_during_the_look_is_used(
    database_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for all that is due waits for what is begun then, too."""
    still = LocalControlPlane(database=database_url, serve=False)
    deliverer = still.plane.webhooks.deliverer
    deliverer._limits = Limits(endpoint=1)
    key = new_customer(still.plane, "acme")
    register(still.plane, key, receiver.url)
    submit(still.plane, key, 2)
    answers, claim = threading.Event(), deliverer._deliveries.claim
    receiver.script(Answer(first=answers.wait))
    begun = deliverer._begin_due()

    def claim_slowly(*args: Any, **facts: Any) -> list[Outgoing]:
        claimed = claim(*args, **facts)
        answers.set()
        eventually(lambda: not deliverer._in_flight)
        return claimed

    monkeypatch.setattr(deliverer._deliveries, "claim", claim_slowly)
    made = deliverer.run_due()
    still.close()

    assert (begun, made, len(receiver.requests)) == (1, 1, 2)


def attempt(control_plane: ControlPlane, outcome: Outcome) -> str | None:
    """Make the one attempt that is due now, with this outcome; return the delivery's id, or None for nothing due."""
    now, deliveries = control_plane.clock.now(), control_plane.webhooks.deliveries
    due = deliveries.due(now=now, real_now=0)
    claimed = deliveries.claim("me", now=now, real_now=0, lease_ms=LEASE_MS, shares={each.id: 1 for each in due})
    if not claimed:
        return None
    (outgoing,) = claimed
    deliveries.finish("me", outgoing, outcome, began=now, ended=now, chance=0.5)
    return outgoing.id


@pytest.fixture
def still(database_url: str) -> Iterator[ControlPlane]:
    """A control plane that does nothing by itself."""
    control_plane = ControlPlane(database_url, clock=ManualClock())
    yield control_plane
    control_plane.close()


def test_an_endpoint_that_does_not_answer_is_held_back_as_a_whole(still: ControlPlane) -> None:
    """One delivery tries it, the others wait for the hold to end, and say so; an answer releases them all."""
    silent = Outcome(None, 15_000, "timed_out")
    key = new_customer(still, "acme")
    hook = register(still, key, "http://127.0.0.1:9/")
    submit(still, key, 3)
    began = still.clock.now()
    first, second = attempt(still, silent), attempt(still, silent)
    still.clock.advance_to(began + 31_000)
    third = attempt(still, silent)
    held_until = still.webhooks.endpoints.get("acme", hook).held_until
    page = still.webhooks.deliveries.page("acme", hook, limit=5, cursor=None)
    next_retries = {each.id: each.next_retry_at for each in page.deliveries}
    nothing = attempt(still, silent)
    wakes_at = still.webhooks.deliveries.next_after(still.clock.now())
    still.clock.advance_to(began + 46_000)
    answered = attempt(still, Outcome(500, 5))
    released = attempt(still, Outcome(204, 5))

    assert held_until == wakes_at == began + 46_000
    assert nothing is None
    assert len({first, second, third}) == 3
    assert next_retries == {first: began + 46_000, second: began + 46_000, third: began + 31_000 + 30_000}
    assert {answered, released} == {first, second}
    assert still.webhooks.endpoints.get("acme", hook).failing_since is None


def test_the_ledger_says_when_a_held_delivery_is_tried_next(still: ControlPlane) -> None:
    """It says the same time as the delivery does."""
    key = new_customer(still, "acme")
    hook = register(still, key, "http://127.0.0.1:9/")
    submit(still, key)
    for _ in range(4):
        assert attempt(still, Outcome(None, 1, "connection_failed")) is not None
        (delivery,) = still.webhooks.deliveries.page("acme", hook, limit=5, cursor=None).deliveries
        rows = still.trust_ledger.entries("acme", job_id=None, after=0, limit=200).entries
        assert delivery.next_retry_at is not None
        assert rows[-1].payload["next_retry_at"] == timestamp(delivery.next_retry_at)
        still.clock.advance_to(delivery.next_retry_at)


def test_a_replay_is_tried_at_once(still: ControlPlane) -> None:
    """Whoever asks for it has reason to believe that the endpoint is back."""
    key = new_customer(still, "acme")
    hook = register(still, key, "http://127.0.0.1:9/")
    submit(still, key)
    delivery_id = attempt(still, Outcome(None, 1, "timed_out"))
    assert delivery_id is not None
    for _ in range(3):
        (delivery,) = still.webhooks.deliveries.page("acme", hook, limit=5, cursor=None).deliveries
        assert delivery.next_retry_at is not None
        still.clock.advance_to(delivery.next_retry_at)
        attempt(still, Outcome(None, 1, "timed_out"))
    held_until = still.webhooks.endpoints.get("acme", hook).held_until
    replayed = still.webhooks.deliveries.replay("acme", hook, delivery_id, still.clock.now())

    assert held_until == still.clock.now() + 60_000
    assert replayed.next_retry_at == still.clock.now()
    assert attempt(still, Outcome(204, 5)) == delivery_id


def test_days_of_nothing_but_failures_disable_an_endpoint(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """It can be seen; what waited has failed, and later events are not for it."""
    receiver.always(Answer(500))
    hook = client.webhooks.create(receiver.url, ["job.placed"])
    for _ in range(5):
        client.run(image="a/b", gpu="l40s")
        control_plane.advance(DAY_SECONDS)
    before = client.webhooks.get(hook.id)
    client.run(image="a/b", gpu="l40s")
    control_plane.advance(DAY_SECONDS)
    made = len(receiver.requests)
    client.run(image="a/b", gpu="l40s")
    control_plane.advance(DAY_SECONDS)
    after = client.webhooks.get(hook.id)

    assert (before.disabled_at, before.disabled_reason, before.held_until) == (None, None, None)
    assert before.failing_since == before.created_at
    assert after.disabled_at is not None
    assert after.disabled_reason == "failing"
    assert made == len(receiver.requests) == 26
    assert {each.status for each in client.webhooks.deliveries(hook.id)} == {"failed"}


def test_a_disabled_endpoint_can_be_enabled_again(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """Later events come, and what failed can be replayed; that it once answered 410 is forgotten."""
    receiver.script(Answer(410))
    hook = client.webhooks.create(receiver.url, ["job.placed"])
    client.run(image="a/b", gpu="l40s")
    control_plane.advance(0)
    disabled = client.webhooks.get(hook.id)
    (failed,) = client.webhooks.deliveries(hook.id)
    enabled = client.webhooks.enable(hook.id)
    client.run(image="a/b", gpu="l40s")
    client.webhooks.replay(hook.id, failed.id)
    control_plane.advance(0)

    assert disabled.disabled_at is not None
    assert (disabled.disabled_reason, enabled.disabled_reason) == ("gone", None)
    assert (enabled.disabled_at, enabled.failing_since) == (None, None)
    assert len(receiver.requests) == 3
    assert {each.status for each in client.webhooks.deliveries(hook.id)} == {"delivered"}
