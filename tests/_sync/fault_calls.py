# Generated from tests/_async/fault_calls.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Every public call, as the fault tests make it: what it needs, and what it gives when all goes well."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

from nodus import Client, Job, NodusError
from tests.support.clock import FakeClock
from tests.support.fake_control_plane import JOB_IDS, LOGS
from tests.support.faults import FaultServer
from tests.support.soundness import API_KEY, ENV_VALUE, SIGNING_SECRET, hurried

Call = Callable[[Client], Awaitable[object]]

JOB_ID = JOB_IDS[0]

PATIENCE_SECONDS = 120.0
"""A timeout for answers that are good, however busy the machine is."""

PATIENCE: dict[str, Any] = {"poll_seconds": 2.0, "unreachable_seconds": 20.0}
"""How long the waits below put up with failures: a handful of looks."""


def run(client: Client) -> object:
    job = client.run(image="i", env={"HF_TOKEN": ENV_VALUE})
    assert isinstance(job, Job)
    return job.id.partition("-")[0]


def get(client: Client) -> object:
    return (client.get(JOB_ID)).id


def list_jobs(client: Client) -> object:
    return [job.id for job in client.list(limit=2)]


def iterate(client: Client) -> object:
    return [job.id for job in client.iter_jobs(page_size=2)]


def healthz(client: Client) -> object:
    return type(client.healthz())


def refresh(client: Client) -> object:
    job = client.job(JOB_ID)
    assert job.refresh() is job
    return job.id, job.status.is_known


def wait(client: Client) -> object:
    job = client.job(JOB_ID)
    assert job.wait(**PATIENCE) is job
    return job.id, job.status.value


def wait_briefly(client: Client) -> object:
    """A wait with a deadline of its own, that cancels the job if it passes."""
    job = client.job(JOB_ID)
    job.wait(poll_seconds=2.0, timeout_seconds=20.0, cancel_on_exit=True)
    return job.id, job.status.value


def cancel(client: Client) -> object:
    job = client.job(JOB_ID).cancel()
    return job.id, job.status.value


def logs(client: Client) -> object:
    return type(client.job(JOB_ID).logs())


def wait_all(client: Client) -> object:
    jobs = client.wait_all([client.job(job_id) for job_id in JOB_IDS], **PATIENCE)
    return [(job.id, job.status.value) for job in jobs]


def as_completed(client: Client) -> object:
    handles = [client.job(job_id) for job_id in JOB_IDS]
    ended = [(job.id, job.status.value) for job in client.as_completed(handles, **PATIENCE)]
    return sorted(ended)


def child(client: Client) -> object:
    """A call of a client that shares the connections of another."""
    return (client.with_options(max_retries=1, headers={"X-Team": "a"}).get(JOB_ID)).id


def events(client: Client) -> object:
    """However the events were come by, the last one is that the job is over."""
    told = [event.status.value for event in client.job(JOB_ID).events()]
    return told[-1]


def output(client: Client) -> object:
    """What a job prints, followed to its end: whatever bytes come."""
    return type("".join([text for text in client.job(JOB_ID).logs(follow=True)]))


def routing(client: Client) -> object:
    """Any object may be one: a decision that is not made yet has nothing in it."""
    return type(client.job(JOB_ID).routing()).__name__


def key(client: Client) -> object:
    return (client.key()).id


def offers(client: Client) -> object:
    return [each.supplier for each in client.offers(gpu="l40s")]


def quote(client: Client) -> object:
    return (client.quote(image="i", env={"HF_TOKEN": ENV_VALUE})).estimated_cost_usd


def run_many(client: Client) -> object:
    """What has become of some jobs, when others were accepted already, is raised here."""
    results = client.run_many([{"image": "i", "env": {"HF_TOKEN": ENV_VALUE}}, {"image": "j"}])
    for each in results:
        if isinstance(each, NodusError):
            raise each
    return [each.id.split("-")[0] for each in results]


def usage(client: Client) -> object:
    return (client.usage(month="2026-10", group_by="day")).total.jobs


def create_webhook(client: Client) -> object:
    return (client.webhooks.create("https://example.com/hook", ["job.completed"])).id


def list_webhooks(client: Client) -> object:
    return [webhook.id for webhook in client.webhooks.list()]


def get_webhook(client: Client) -> object:
    return (client.webhooks.get("wh_1")).id


def delete_webhook(client: Client) -> object:
    return client.webhooks.delete("wh_1")  # type: ignore[func-returns-value]  # that is what is checked


def enable_webhook(client: Client) -> object:
    return (client.webhooks.enable("wh_1")).id


def rotate_webhook(client: Client) -> object:
    return (client.webhooks.rotate("wh_1")).secret


def list_deliveries(client: Client) -> object:
    return [delivery.id for delivery in client.webhooks.deliveries("wh_1")]


def iterate_deliveries(client: Client) -> object:
    return [delivery.id for delivery in client.webhooks.iter_deliveries("wh_1")]


def replay_delivery(client: Client) -> object:
    return (client.webhooks.replay("wh_1", "d_1")).id


def job_rows(client: Client) -> object:
    return [row.seq for row in client.job(JOB_ID).ledger()]


def ledger_entries(client: Client) -> object:
    return [row.seq for row in client.ledger.entries()]


def iterate_ledger(client: Client) -> object:
    return [row.seq for row in client.ledger.iter_entries()]


def checkpoint(client: Client) -> object:
    return (client.ledger.checkpoint()).size


def statement(client: Client) -> object:
    return type("".join([line for line in client.ledger.statement("2026-10")]))


def ledger_key(client: Client) -> object:
    return (client.ledger.key()).origin


def proof(client: Client) -> object:
    return (client.ledger.proof(1)).seq


def consistency(client: Client) -> object:
    return list((client.ledger.consistency(1, 1)).hashes)


_ALL_OVER = [(job_id, "completed") for job_id in JOB_IDS]

CALLS: dict[str, tuple[Call, object]] = {
    "run": (run, "made"),
    "get": (get, JOB_ID),
    "list": (list_jobs, list(JOB_IDS[:2])),
    "iter_jobs": (iterate, list(JOB_IDS)),
    "healthz": (healthz, dict),
    "refresh": (refresh, (JOB_ID, True)),
    "wait": (wait, (JOB_ID, "completed")),
    "wait with a deadline": (wait_briefly, (JOB_ID, "completed")),
    "cancel": (cancel, (JOB_ID, "cancelled")),
    # Whatever bytes come are logs, and a text has no shape that could be wrong.
    "logs": (logs, str),
    "wait_all": (wait_all, _ALL_OVER),
    "as_completed": (as_completed, _ALL_OVER),
    "with_options": (child, JOB_ID),
}
"""The calls about jobs by name, and what each gives where nothing is wrong."""

SIDE_CALLS: dict[str, tuple[Call, object]] = {
    "events": (events, "completed"),
    "logs, followed": (output, str),
    "routing": (routing, "Routing"),
    "offers": (offers, ["lab"]),
    "quote": (quote, 0.5),
    "run_many": (run_many, ["made", "made"]),
    "usage": (usage, 2),
    "key": (key, "key-1"),
    "webhooks.create": (create_webhook, "wh_1"),
    "webhooks.list": (list_webhooks, ["wh_1"]),
    "webhooks.get": (get_webhook, "wh_1"),
    "webhooks.delete": (delete_webhook, None),
    "webhooks.rotate": (rotate_webhook, "whsec_2"),
    "webhooks.enable": (enable_webhook, "wh_1"),
    "webhooks.deliveries": (list_deliveries, ["d_1"]),
    "webhooks.iter_deliveries": (iterate_deliveries, ["d_1"]),
    "webhooks.replay": (replay_delivery, "d_1"),
    "ledger": (job_rows, [1]),
    "ledger.entries": (ledger_entries, [1]),
    "ledger.iter_entries": (iterate_ledger, [1]),
    "ledger.checkpoint": (checkpoint, 1),
    # Whatever lines come are the statement: that they prove what they say is verified afterwards.
    "ledger.statement": (statement, str),
    "ledger.key": (ledger_key, "o"),
    "ledger.proof": (proof, 1),
    "ledger.consistency": (consistency, []),
}
"""The same for all the others."""

ALL_CALLS = {**CALLS, **SIDE_CALLS}


def client_of(server: FaultServer, **options: Any) -> Client:
    """A client with every kind of secret, for which sleeps are over at once and stalls are short.

    Where nothing stalls it is patient: on a busy machine, a good answer may take a while.
    """
    return client_at(server.url, **{"timeout": 0.05 if server.is_slow else PATIENCE_SECONDS, **options})


def client_at(base_url: str, **options: Any) -> Client:
    """The same, of a server that may not be there."""
    options = {
        "api_key": API_KEY,
        "signing_secret": SIGNING_SECRET,
        "base_url": base_url,
        "timeout": 0.05,
        "_clock": hurried(FakeClock),
        "_rng": random.Random(7),
        **options,
    }
    return Client(**options)


def assert_recovered(client: Client, server: FaultServer) -> None:
    """Check that nothing is held: no place of the pool, and the next call works."""
    pool = repr(client._session._pool)
    assert " 0 busy," in pool, pool

    server.heal()
    patient = client.with_options(timeout=PATIENCE_SECONDS, max_retries=0)
    assert (patient.get(JOB_ID)).id == JOB_ID
    assert patient.job(JOB_ID).logs() == LOGS
