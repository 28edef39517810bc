"""The public interface as a user's type checker sees it: this file is checked, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from typing_extensions import assert_type

import nodus


def quick_start() -> None:
    """Submit, wait, read."""
    with nodus.Client() as client:
        assert_type(client, nodus.Client)
        job = client.run(
            image="ghcr.io/acme/train:v3",
            command=["python", "train.py", "--epochs", "10"],
            gpu="h100_80gb",
            gpu_count=8,
            env={"WANDB_API_KEY": "…"},
            max_runtime_seconds=18 * 3600,
            require_tiers=[nodus.SupplierKind.TIER3, "neocloud"],
            prefer_region="us-west-2",
            idempotency_key="nightly-2026-11-24",
            name="nightly",
            labels={"team": "search"},
        )
        assert_type(job, nodus.Job)
        client.run()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        client.run(image="i", gpus=8)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        client.run(image="i", gpu_count="8")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        client.list(nam="nightly")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        assert_type(job.wait(poll_seconds=2.0, timeout_seconds=20 * 3600), nodus.Job)
        assert_type(job.refresh(), nodus.Job)
        assert_type(job.cancel(), nodus.Job)


async def quick_start_async() -> None:
    """The same, awaited."""
    async with nodus.AsyncClient() as client:
        assert_type(client, nodus.AsyncClient)
        job = await client.run(image="ghcr.io/acme/train:v3", gpu=nodus.GpuType.H100_80GB)
        assert_type(job, nodus.AsyncJob)
        assert_type(await job.wait(timeout_seconds=None), nodus.AsyncJob)
        assert_type(await job.refresh(), nodus.AsyncJob)
        assert_type(await job.cancel(), nodus.AsyncJob)


def the_rest_of_the_client() -> None:
    """Every verb, and what it gives."""
    client = nodus.Client("nk_test_0", base_url="http://127.0.0.1:8787", timeout=5, max_retries=0)
    assert_type(client.get("0190"), nodus.Job)
    assert_type(client.list(limit=5), list[nodus.Job])
    assert_type(client.list(status=["queued", nodus.JobStatus.RUNNING], name="nightly"), list[nodus.Job])
    assert_type(client.iter_jobs(page_size=100), Iterator[nodus.Job])
    spec = nodus.JobSpec(image="ghcr.io/acme/train:v3", gpu="l40s", name=None)
    assert_type(client.run(**spec.model_dump()), nodus.Job)
    assert_type(client.quote(image="i", gpu="l40s"), nodus.Quote)
    assert_type(client.quote(image="i").largest_fitting, nodus.LargestFitting | None)
    assert_type(client.run_many([spec, {"image": "i", "gpu": "l40s"}]), list[nodus.Job | nodus.NodusError])
    assert_type(client.healthz(), dict[str, object])
    client.close()


async def the_rest_of_the_async_client() -> None:
    """Every verb, and what it gives once awaited."""
    client = nodus.AsyncClient("nk_test_0", base_url=None)
    assert_type(await client.get("0190"), nodus.AsyncJob)
    assert_type(await client.list(limit=5), list[nodus.AsyncJob])
    many = await client.run_many({"image": "i", "name": str(number)} for number in range(3))
    assert_type(many, list[nodus.AsyncJob | nodus.NodusError])
    assert_type(client.iter_jobs(page_size=100), AsyncIterator[nodus.AsyncJob])
    assert_type(await client.healthz(), dict[str, object])
    await client.aclose()


def attributes(job: nodus.Job) -> None:
    """What a handle tells without another round trip."""
    assert_type(job.id, str)
    assert_type(job.status, nodus.JobStatus)
    assert_type(job.supplier, str | None)
    assert_type(job.region, str | None)
    assert_type(job.cost_usd, float | None)
    assert_type(job.error_message, str | None)
    assert_type(job.name, str | None)
    assert_type(job.labels, dict[str, str])
    assert_type(job.is_terminal, bool)
    assert_type(job.succeeded, bool)


def errors(client: nodus.Client) -> None:
    """Each error has what its handler needs."""
    try:
        client.run(image="ghcr.io/acme/train:v3")
    except nodus.RateLimitError as error:
        assert_type(error.retry_after, float | None)
    except nodus.BudgetExceededError as error:
        assert_type(error.payload["monthly_spend_cap_usd"] - error.payload["month_to_date_usd"], float)
    except nodus.NodusError as error:
        assert_type(error.code, str)
        assert_type(error.message, str)
        assert_type(error.status_code, int | None)
        assert_type(error.request_id, str | None)
        assert_type(error.idempotency_key, str | None)


def timeouts(job: nodus.Job) -> None:
    """A wait that is over is a TimeoutError, as in the standard library."""
    try:
        job.wait(timeout_seconds=1)
    except TimeoutError as error:
        if isinstance(error, nodus.JobTimeoutError):
            assert_type(error.code, str)


def signatures(body: bytes, header: str | None) -> None:
    """Both directions, on raw bytes."""
    assert_type(nodus.sign_request(signing_secret="sgn_0", method="POST", path="/v1/jobs", body=body), dict[str, str])
    verified = nodus.verify_webhook(
        signing_secret="whsec_0", method="POST", path="/nodus", body=body, signature_header=header
    )
    assert_type(verified, bool)


def deliveries(body: bytes, header: str | None) -> None:
    """One class an event, told apart as any others are."""
    event = nodus.construct_event(
        body=body,
        signature_header=header,
        signing_secret=["whsec_0", "whsec_1"],
        path="/nodus",
        replay_guard=nodus.InMemoryReplayGuard(),
    )
    assert_type(event, nodus.WebhookEvent)
    if isinstance(event, nodus.JobCompleted):
        assert_type(event.cost_usd, float | None)
    elif isinstance(event, nodus.BudgetExceeded):
        assert_type(event.estimated_cost_usd, float | None)
    assert_type(event.principal_kind, nodus.PrincipalKind | None)


def webhooks(client: nodus.Client) -> None:
    """Endpoints and what was delivered to them."""
    hook = client.webhooks.create(url="https://hooks.acme.example/nodus", events=["job.completed"])
    assert_type(hook, nodus.Webhook)
    assert_type(hook.secret, str | None)
    assert_type(client.webhooks.list(), list[nodus.Webhook])
    assert_type(client.webhooks.rotate(hook.id).secret, str)
    assert_type(client.webhooks.enable(hook.id), nodus.Webhook)
    assert_type(client.webhooks.deliveries(hook.id), list[nodus.Delivery])
    assert_type(client.webhooks.iter_deliveries(hook.id), Iterator[nodus.Delivery])
    assert_type(client.webhooks.replay(hook.id, "d-1"), nodus.Delivery)
    assert_type(client.key(), nodus.KeyView)
    assert_type(client.offers(gpu=nodus.GpuType("rtx_4090")), list[nodus.Offer])
    assert_type(client.offers(gpu="l40s")[0].free_gpus, int | None)
    assert_type(client.usage(month="2026-10", group_by="day"), nodus.Usage)
    assert_type(client.usage(group_by=["day", "label:team"]).groups[0].cost_usd, float)


async def ledger(client: nodus.AsyncClient, job: nodus.AsyncJob) -> None:
    """Rows, checkpoints, proofs, and what verifies them."""
    checkpoint = await client.ledger.checkpoint()
    entries = await client.ledger.entries()
    key = await client.ledger.key()
    assert_type(entries, list[nodus.LedgerEntry])
    assert_type(client.ledger.iter_entries(), AsyncIterator[nodus.LedgerEntry])
    assert_type(await job.ledger(), list[nodus.LedgerEntry])
    assert_type(nodus.verify_ledger(entries, checkpoint=checkpoint, public_key=key), nodus.LedgerReport)
    assert_type(nodus.verify_ledger(["{}"], checkpoint="…", public_key=b""), nodus.LedgerReport)
    nodus.verify_inclusion(entries[0], await client.ledger.proof(1), checkpoint=checkpoint, public_key=key.vkey)
    nodus.verify_consistency(checkpoint, checkpoint, await client.ledger.consistency(1, 1))


async def live(client: nodus.AsyncClient, job: nodus.AsyncJob) -> None:
    """Events and output as they come."""
    async with client.events(after="latest") as events:
        assert_type(events, nodus.AsyncEventStream)
        async for event in events:
            assert_type(event, nodus.JobEvent)
            assert_type(event.status, nodus.JobStatus)
            assert_type(event.supplier, str | None)
    assert_type(job.events(after=2), nodus.AsyncEventStream)
    async for text in job.logs(follow=True):
        assert_type(text, str)
    assert_type(await job.logs(), str)
    assert_type(await client.logs(job.id), str)
    assert_type((await job.routing()).chosen, nodus.RoutingCandidate | None)


def live_sync(client: nodus.Client, job: nodus.Job) -> None:
    """The same without waiting."""
    assert_type(list(client.events(job.id)), list[nodus.JobEvent])
    assert_type(job.logs(), str)
    assert_type(client.logs(job.id, follow=True), nodus.LogStream)
    assert_type(client.routing(job.id), nodus.Routing)


def wrong_calls(client: nodus.Client) -> None:
    """Mistakes that a checker must find: were one of these accepted, the ignore would be unused, and reported."""
    client.run("ghcr.io/acme/train:v3")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.run(image=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.get()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    nodus.no_such_name  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018
