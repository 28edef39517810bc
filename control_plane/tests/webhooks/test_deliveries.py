"""What endpoints receive, when it is tried again, and what is kept of it."""

from __future__ import annotations

import itertools
import threading

import pytest
from webhooks.receiver import Answer, Receiver

import nodus
from nodus_control.testing import LocalControlPlane
from nodus_core.webhook_events import EventType
from nodus_core.webhook_retries import DELAYS_SECONDS, next_delay_ms

pytestmark = pytest.mark.both_engines


EVERYTHING = [kind.value for kind in EventType]


def register(client: nodus.Client, receiver: Receiver, *events: str) -> tuple[str, str]:
    """Register the receiver; return the endpoint's id and secret."""
    hook = client.webhooks.create(receiver.url, list(events or EVERYTHING))
    assert hook.secret is not None
    return hook.id, hook.secret


def run(client: nodus.Client, **env: str) -> nodus.Job:
    """Submit a small job."""
    return client.run(image="ghcr.io/acme/train:v3", gpu="h100_80gb", env=env)


def events(receiver: Receiver, secret: str) -> list[nodus.WebhookEvent]:
    """Verify everything that was received, and read it."""
    return [request.event(secret) for request in receiver.requests]


def test_a_completed_job_is_told_of_twice(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """On acceptance and at its end, with what the manual says."""
    _, secret = register(client, receiver)
    job = run(client, NODUS_SIM_DURATION_SECONDS="3600")
    control_plane.advance(3 * 3600)
    job.refresh()

    placed, completed = events(receiver, secret)

    assert isinstance(placed, nodus.JobPlaced)
    assert (placed.job_id, placed.principal_kind, placed.estimated_cost_usd) == (job.id, "human", 1.29)
    assert isinstance(completed, nodus.JobCompleted)
    assert (completed.job_id, completed.cost_usd, completed.supplier) == (job.id, job.cost_usd, job.supplier)
    assert (completed.region, completed.duration_s) == (job.region, job.duration_s)
    assert completed.principal_kind == "human"


def test_a_failed_job_is_told_of(control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver) -> None:
    """The event has the error, and the supplier that had the job last."""
    _, secret = register(client, receiver, "job.failed")
    job = run(client, NODUS_SIM_OUTCOME="failed", NODUS_SIM_DURATION_SECONDS="60")
    control_plane.advance(3600)
    job.refresh()

    (failed,) = events(receiver, secret)

    assert isinstance(failed, nodus.JobFailed)
    assert failed.error_code is not None
    assert (failed.error_code, failed.error_message) == (job.error_code, job.error_message)
    assert failed.last_supplier == job.supplier


def test_a_job_that_nobody_takes_any_more_names_its_last_supplier(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """It is back in the queue when it fails, but somebody had it."""
    _, secret = register(client, receiver, "job.failed")
    job = run(client, NODUS_SIM_DURATION_SECONDS="3600")
    control_plane.advance(300)
    had = job.refresh().supplier
    assert had is not None
    for supplier in control_plane.plane.catalogue.suppliers:
        if supplier != had:
            control_plane.outage(supplier)
    control_plane.outage(had)
    control_plane.advance(3600)

    (failed,) = events(receiver, secret)

    assert isinstance(failed, nodus.JobFailed)
    assert (failed.error_code, failed.last_supplier) == ("no_supplier", had)


def test_a_cancelled_job_is_told_of(control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver) -> None:
    """The event says what the job cost."""
    _, secret = register(client, receiver, "job.cancelled")
    job = run(client, NODUS_SIM_DURATION_SECONDS="3000")
    control_plane.advance(600)
    job.cancel()
    control_plane.advance(60)
    job.refresh()

    (cancelled,) = events(receiver, secret)

    assert isinstance(cancelled, nodus.JobCancelled)
    assert (cancelled.cost_usd, cancelled.supplier, cancelled.region) == (job.cost_usd, job.supplier, job.region)


def test_a_replayed_submission_is_told_of_once(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """The same idempotency key is the same job, and the same event."""
    register(client, receiver, "job.placed")
    for _ in range(3):
        client.run(image="a/b", gpu="h100_80gb", idempotency_key="once")
    control_plane.advance(0)

    assert len(receiver.requests) == 1


def test_a_budget_is_told_of_once_when_it_nears_its_cap(
    control_plane: LocalControlPlane, client: nodus.Client, agent: nodus.Client, receiver: Receiver
) -> None:
    """At 80 % of the cap, when a reservation crosses it, and not at the next one."""
    _, secret = register(client, receiver, "budget.threshold_reached")
    first = agent.run(image="a/b", gpu="h100_80gb", gpu_count=8)
    control_plane.advance(0)
    assert receiver.requests == []
    second = agent.run(image="a/b", gpu="h100_80gb", gpu_count=8, max_runtime_seconds=3500)
    agent.run(image="a/b", gpu="h100_80gb", gpu_count=8, max_runtime_seconds=600)
    control_plane.advance(0)

    (reached,) = events(receiver, secret)

    assert isinstance(reached, nodus.BudgetThresholdReached)
    assert (reached.fraction, reached.monthly_spend_cap_usd, reached.principal_kind) == (0.8, 25.0, "agent")
    assert reached.month_to_date_usd == pytest.approx(10.32 + 10.32 * 3500 / 3600, abs=1e-6)
    assert (reached.job_id, reached.key_id) == (second.id, agent.key().id)
    assert first.id != second.id


def test_the_threshold_is_told_of_again_next_month(
    control_plane: LocalControlPlane, client: nodus.Client, agent: nodus.Client, receiver: Receiver
) -> None:
    """The event is sent once in each month."""
    register(client, receiver, "budget.threshold_reached")
    for _ in range(2):
        agent.run(image="a/b", gpu_count=8, max_runtime_seconds=7200, env={"NODUS_SIM_DURATION_SECONDS": "60"})
        control_plane.advance(32 * 86_400)

    assert len(receiver.requests) == 2


def test_the_fraction_is_the_operators(receiver: Receiver) -> None:
    """The control plane's setting says at which fraction of the cap the event is sent."""
    with (
        LocalControlPlane(threshold=0.25) as control_plane,
        nodus.Client(api_key=control_plane.api_key, base_url=control_plane.base_url) as client,
        nodus.Client(
            api_key=control_plane.agent_api_key,
            base_url=control_plane.base_url,
            signing_secret=control_plane.agent_signing_secret,
        ) as agent,
    ):
        _, secret = register(client, receiver, "budget.threshold_reached")
        agent.run(image="a/b", gpu="h100_80gb", gpu_count=8)
        control_plane.advance(0)

        (reached,) = events(receiver, secret)

    assert isinstance(reached, nodus.BudgetThresholdReached)
    assert reached.fraction == 0.25


def test_a_refused_submission_is_told_of(
    control_plane: LocalControlPlane, client: nodus.Client, agent: nodus.Client, receiver: Receiver
) -> None:
    """What tells of it is kept, although the submission is not; the ledger has it too."""
    _, secret = register(client, receiver)
    with pytest.raises(nodus.BudgetExceededError) as refused:
        agent.run(image="a/b", gpu="h100_80gb", gpu_count=8, max_runtime_seconds=36_000)
    control_plane.advance(0)

    (exceeded,) = events(receiver, secret)

    assert isinstance(exceeded, nodus.BudgetExceeded)
    assert isinstance(refused.value.payload, dict)
    assert exceeded.estimated_cost_usd == refused.value.payload["estimated_cost_usd"]
    assert exceeded.month_to_date_usd == refused.value.payload["month_to_date_usd"] == 0
    assert exceeded.monthly_spend_cap_usd == 25.0
    assert (exceeded.principal_kind, exceeded.job_id) == ("agent", None)
    assert client.list() == []
    assert "budget.exceeded" in [entry.kind for entry in client.ledger.entries()]


def test_only_what_was_subscribed_to_is_sent(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """And only from the registration on."""
    run(client, NODUS_SIM_DURATION_SECONDS="60")
    _, secret = register(client, receiver, "job.completed")
    control_plane.advance(3600)

    assert [event.type for event in events(receiver, secret)] == ["job.completed"]


def test_the_schedule_is_that_of_the_manual(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """At once, 30 s, 2 min, 10 min and 1 h, each ±20 %, from the end of the attempt before; then it has failed."""
    hook, secret = register(client, receiver, "job.placed")
    receiver.always(Answer(500))
    run(client)
    control_plane.advance(2 * 3600)

    (delivery,) = client.webhooks.deliveries(hook)
    times = [attempt.at for attempt in delivery.attempts]
    gaps = [(after - before).total_seconds() for before, after in itertools.pairwise(times)]

    assert (delivery.status, delivery.next_retry_at) == ("failed", None)
    assert [attempt.status_code for attempt in delivery.attempts] == [500] * 5
    assert len(receiver.requests) == 5
    for gap, nominal in zip(gaps, DELAYS_SECONDS[1:], strict=True):
        assert nominal * 0.8 <= gap <= nominal * 1.2
    assert gaps != [float(nominal) for nominal in DELAYS_SECONDS[1:]]
    assert len({event.id for event in events(receiver, secret)}) == 1
    assert len({request.body for request in receiver.requests}) == 1


@pytest.mark.parametrize("chance", [0.0, 0.25, 0.5, 1.0])
def test_a_delay_lies_within_a_fifth(chance: float) -> None:
    """The spread is linear, and its ends belong to it."""
    delays = [next_delay_ms(made, chance) for made in range(1, 6)]

    assert delays == [round(nominal * 1000 * (0.8 + 0.4 * chance)) for nominal in (30, 120, 600, 3600)] + [None]


def test_a_retry_that_succeeds_ends_it(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """Until then the delivery is pending, and says when it is tried next."""
    hook, _ = register(client, receiver, "job.placed")
    receiver.script(Answer(503), Answer(429))
    run(client)
    control_plane.advance(0)
    (waiting,) = client.webhooks.deliveries(hook)
    control_plane.advance(600)

    (delivered,) = client.webhooks.deliveries(hook)

    assert waiting.status == "pending"
    assert waiting.next_retry_at is not None
    assert (delivered.status, delivered.next_retry_at) == ("delivered", None)
    assert [attempt.status_code for attempt in delivered.attempts] == [503, 429, 204]
    assert delivered.attempts[1].at == waiting.next_retry_at


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver, status: int
) -> None:
    """Every status from 200 to 299 ends the attempts."""
    hook, _ = register(client, receiver, "job.placed")
    receiver.always(Answer(status))
    run(client)
    control_plane.advance(0)

    assert [each.status for each in client.webhooks.deliveries(hook)] == ["delivered"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver, status: int
) -> None:
    """They are failures: where they lead nobody has judged."""
    hook, _ = register(client, receiver, "job.placed")
    receiver.script(Answer(status, {"Location": receiver.url + "/elsewhere"}))
    run(client)
    control_plane.advance(0)

    (delivery,) = client.webhooks.deliveries(hook)

    assert [request.path for request in receiver.requests] == ["/nodus"]
    assert (delivery.status, delivery.attempts[0].status_code) == ("pending", status)


def test_410_ends_everything_for_that_endpoint(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """What waits fails, what happens later is not sent, and it can be seen."""
    hook, _ = register(client, receiver)
    receiver.script(Answer(500), Answer(410))
    run(client)
    control_plane.advance(0)
    run(client)
    control_plane.advance(3 * 3600)

    deliveries = client.webhooks.deliveries(hook)

    assert len(receiver.requests) == 2
    assert {delivery.status for delivery in deliveries} == {"failed"}
    assert {delivery.next_retry_at for delivery in deliveries} == {None}
    assert client.webhooks.get(hook).disabled_at is not None
    with pytest.raises(nodus.APIError) as refused:
        client.webhooks.replay(hook, deliveries[0].id)
    assert (refused.value.status_code, refused.value.code) == (409, "webhook_disabled")


def test_a_replay_sends_the_same_event_again(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """Under its id, whatever became of it before, and with the whole schedule before it."""
    hook, secret = register(client, receiver, "job.placed")
    receiver.always(Answer(500))
    run(client)
    control_plane.advance(2 * 3600)
    (failed,) = client.webhooks.deliveries(hook)
    receiver.script(Answer(500), Answer(200))

    replayed = client.webhooks.replay(hook, failed.id)
    control_plane.advance(60)
    (delivered,) = client.webhooks.deliveries(hook)

    assert (replayed.id, replayed.status, replayed.event_id) == (failed.id, "pending", failed.event_id)
    assert (delivered.status, len(delivered.attempts)) == ("delivered", 7)
    assert {event.id for event in events(receiver, secret)} == {failed.event_id}


def test_what_was_delivered_can_be_replayed(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """The receiver may have lost it."""
    hook, _ = register(client, receiver, "job.placed")
    run(client)
    control_plane.advance(0)
    (delivered,) = client.webhooks.deliveries(hook)
    client.webhooks.replay(hook, delivered.id)
    control_plane.advance(0)

    assert len(receiver.requests) == 2


def test_deliveries_are_listed_by_pages(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """Newest first, every one once."""
    hook, _ = register(client, receiver, "job.placed")
    for _ in range(5):
        run(client)
    control_plane.advance(0)

    listed = [each.event_id for each in client.webhooks.iter_deliveries(hook, page_size=2)]

    assert listed == [each.event_id for each in client.webhooks.deliveries(hook)]
    assert len(set(listed)) == 5


def test_every_attempt_is_in_the_ledger(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """Status, latency and next retry, and whose principal it was; the URL is not, because it may hold a token."""
    hook, _ = register(client, receiver, "job.placed")
    receiver.script(Answer(500))
    job = run(client)
    control_plane.advance(60)

    (delivery,) = client.webhooks.deliveries(hook)
    first, second = [entry for entry in client.ledger.entries(job_id=job.id) if entry.kind == "webhook.attempted"]

    assert (first.payload["status_code"], second.payload["status_code"]) == (500, 204)
    assert (first.payload["attempt"], second.payload["attempt"]) == (1, 2)
    assert first.payload["delivery_id"] == second.payload["delivery_id"] == delivery.id
    assert first.payload["next_retry_at"] == second.payload["attempted_at"]
    assert second.payload["next_retry_at"] is None
    assert isinstance(first.payload["latency_ms"], int)
    assert (first.principal_kind, first.key_id) == ("human", client.key().id)
    assert receiver.url not in str(first.payload)


def test_a_slow_endpoint_holds_up_nobody_else(control_plane: LocalControlPlane, client: nodus.Client) -> None:
    """With many events for it waiting, others have theirs at once."""
    release = threading.Event()
    with Receiver() as slow, Receiver() as quick:
        slow.always(Answer(first=release.wait))
        register(client, slow, "job.placed")
        for _ in range(20):
            run(client)
        slow.wait_for(4)
        _, secret = register(client, quick, "job.placed")
        run(client)
        quick.wait_for(1)
        sent_meanwhile = len(slow.requests)
        release.set()
        control_plane.advance(0)

        assert [event.type for event in events(quick, secret)] == ["job.placed"]
        assert sent_meanwhile == 4
        assert len(slow.requests) == 21


def test_rotation_signs_with_both_secrets_for_a_day(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """The receiver changes over in its own time."""
    hook, old = register(client, receiver, "job.placed")
    new = client.webhooks.rotate(hook).secret
    run(client)
    control_plane.advance(24 * 3600)
    run(client)
    control_plane.advance(0)
    both, alone = receiver.requests

    assert both.event(old) == both.event(new)
    assert str(both.signature).count("v1=") == 2
    assert str(alone.signature).count("v1=") == 1
    assert alone.event(new).type == "job.placed"
    with pytest.raises(nodus.SignatureError):
        alone.event(old)


def test_rotating_again_keeps_the_secret_that_the_receiver_knows(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """Who lost the answer to a rotation rotates again. The header never has more than five signatures."""
    hook, first = register(client, receiver, "job.placed")
    latest = [client.webhooks.rotate(hook).secret for _ in range(3)]
    run(client)
    control_plane.advance(0)
    latest += [client.webhooks.rotate(hook).secret for _ in range(3)]
    run(client)
    control_plane.advance(0)
    early, late = receiver.requests

    assert {early.event(secret).type for secret in [first, *latest[:3]]} == {"job.placed"}
    assert {late.event(secret).type for secret in latest[1:]} == {"job.placed"}
    assert str(late.signature).count("v1=") == 5


def test_a_deleted_endpoint_gets_nothing_more(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """Not even what was waiting to be tried again."""
    hook, _ = register(client, receiver, "job.placed")
    receiver.always(Answer(500))
    run(client)
    control_plane.advance(0)
    client.webhooks.delete(hook)
    run(client)
    control_plane.advance(2 * 3600)

    assert len(receiver.requests) == 1
    assert client.webhooks.list() == []
    with pytest.raises(nodus.NotFoundError):
        client.webhooks.deliveries(hook)


def test_a_reset_forgets_endpoints(control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver) -> None:
    """A reset removes all but the keys."""
    register(client, receiver)
    control_plane.reset()
    run(client)
    control_plane.advance(3600)

    assert client.webhooks.list() == []
    assert receiver.requests == []


def test_the_signed_path_has_no_query(
    control_plane: LocalControlPlane, client: nodus.Client, receiver: Receiver
) -> None:
    """The query goes on the wire, unsigned."""
    hook = client.webhooks.create(receiver.url + "/a%2Fb;c?token=1&x=%27", ["job.placed"])
    assert hook.secret is not None
    run(client)
    control_plane.advance(0)
    (request,) = receiver.requests

    assert request.path == "/nodus/a%2Fb;c?token=1&x=%27"
    assert nodus.verify_webhook(
        signing_secret=hook.secret,
        method="POST",
        path="/nodus/a%2Fb;c",
        body=request.body,
        signature_header=request.signature,
    )


def test_a_running_clock_delivers_by_itself(receiver: Receiver) -> None:
    """Nobody needs to advance it; a leaping one passes by no retry."""
    with (
        LocalControlPlane(speed=3600.0) as control_plane,
        nodus.Client(api_key=control_plane.api_key, base_url=control_plane.base_url) as client,
    ):
        register(client, receiver, "job.placed", "job.completed")
        receiver.script(Answer(500))
        run(client, NODUS_SIM_DURATION_SECONDS="600")

        kinds = {request.body.split(b'"type":"')[1].split(b'"')[0] for request in receiver.wait_for(3)}

    assert kinds == {b"job.placed", b"job.completed"}
