"""The verbs of the client, as the manual has them: what each sends, and what it makes of the answer."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

import nodus
from tests._async.clients import API_KEY, scripted
from tests.support.script import AsyncScript, body_of, job, job_reply, reply

RUN_DEFAULTS = {"gpu": "h100_80gb", "gpu_count": 1, "max_runtime_seconds": 3600}


async def test_run_submits_the_spec_with_the_defaults_of_the_manual() -> None:
    """Only what was given, and the three defaults, are in the body."""
    script = AsyncScript(reply(202, job()))
    async with scripted(script) as client:
        await client.run(image="ghcr.io/acme/train:v3", idempotency_key="k")

    request = script.requests[0]

    assert request.method == "POST"
    assert request.url == "https://api.nodus.run/v1/jobs"
    assert body_of(request) == {"image": "ghcr.io/acme/train:v3", "idempotency_key": "k", **RUN_DEFAULTS}


async def test_run_sends_every_argument_by_its_name() -> None:
    """The names in Python are the names on the wire, and enums go as their values."""
    script = AsyncScript(reply(202, job()))
    spec: dict[str, Any] = {
        "image": "ghcr.io/acme/train:v3",
        "command": ["python", "train.py", "--epochs", "10"],
        "gpu": nodus.GpuType.A100_40GB,
        "gpu_count": 8,
        "env": {"WANDB_API_KEY": "w"},
        "max_runtime_seconds": 172_800,
        "require_tiers": [nodus.SupplierKind.TIER3, "neocloud"],
        "prefer_region": "us-east-1",
        "idempotency_key": "step-7",
        "name": "step 7 of 夜間",
        "labels": {"team": "search", "gpu-test": ""},
    }
    async with scripted(script) as client:
        await client.run(**spec)

    assert body_of(script.requests[0]) == {**spec, "gpu": "a100_40gb", "require_tiers": ["tier3", "neocloud"]}


@pytest.mark.parametrize("mode", ["python", "json"])
async def test_a_spec_made_ahead_is_submitted_as_it_is(mode: str) -> None:
    """Its fields are the arguments of `run()`, in either form that it can be dumped in."""
    spec = nodus.JobSpec(
        image="i", command=("a", "b"), gpu="l40s", env={"A": "1"}, require_tiers=["tier3"], idempotency_key="k"
    )
    script = AsyncScript(job_reply("queued"))
    async with scripted(script) as client:
        await client.run(**spec.model_dump(mode=mode))

    assert body_of(script.requests[0]) == spec.model_dump(mode="json", exclude_none=True)


async def test_run_gives_a_handle_at_once() -> None:
    """The handle shows what the server said, and one request was enough."""
    script = AsyncScript(reply(202, job("queued")))
    async with scripted(script) as client:
        handle = await client.run(image="i")

    assert isinstance(handle, nodus.AsyncJob)
    assert handle.status == nodus.JobStatus.QUEUED
    assert (handle.supplier, handle.region, handle.cost_usd, handle.error_message) == (None, None, None, None)
    assert (handle.is_terminal, handle.succeeded, handle.replayed) == (False, False, False)
    assert len(script.requests) == 1


@pytest.mark.parametrize(("header", "expected"), [("true", True), ("True", True), ("false", False), ("", False)])
async def test_a_replayed_submission_is_marked(header: str, expected: bool) -> None:
    """`Idempotent-Replayed: true` says that an earlier submission made the job."""
    script = AsyncScript(reply(200, job("running"), idempotent_replayed=header))
    async with scripted(script) as client:
        handle = await client.run(image="i", idempotency_key="k")

    assert handle.replayed is expected


async def test_get_looks_a_job_up() -> None:
    """Every field of the view can be read from the handle."""
    fields: dict[str, Any] = {
        "supplier": "lambda",
        "region": "us-west-2",
        "cost_usd": 47.62,
        "error_code": "exit_status",
        "error_message": "exit status 1",
        "image": "i",
        "gpu": "h100_80gb",
        "gpu_count": 8,
        "created_at": "2026-01-01T00:00:00Z",
        "started_at": "2026-01-01T00:01:00Z",
        "finished_at": "2026-01-01T01:01:00Z",
        "duration_s": 3600.0,
        "estimated_cost_usd": 50.0,
        "retail_cost_usd": 98.32,
        "saved_usd": 50.7,
        "attempts": 2,
        "principal_kind": "agent",
    }
    script = AsyncScript(job_reply("failed", **fields))
    async with scripted(script) as client:
        handle = await client.get("a-job")

    times = {
        "created_at": datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
        "started_at": datetime.datetime(2026, 1, 1, 0, 1, tzinfo=datetime.timezone.utc),
        "finished_at": datetime.datetime(2026, 1, 1, 1, 1, tzinfo=datetime.timezone.utc),
    }

    assert script.requests[0].method == "GET"
    assert script.requests[0].url.raw_path == b"/v1/jobs/a-job"
    assert {name: getattr(handle, name) for name in fields} == {**fields, **times}
    assert handle.status == "failed"
    assert handle.is_terminal
    assert not handle.succeeded


async def test_fields_that_this_version_does_not_know_are_ignored() -> None:
    """A newer server may say more."""
    script = AsyncScript(job_reply("running", mood="cheerful", ledger={"seq": 1, "leaf_hash": "0", "new": 1}))
    async with scripted(script) as client:
        handle = await client.get("a-job")

    assert handle.status == "running"
    assert handle.view.ledger == nodus.LedgerRow(seq=1, leaf_hash="0")


@pytest.mark.parametrize(
    ("job_id", "segment"),
    [
        ("0198c0de-0000-7000-8000-000000000001", b"0198c0de-0000-7000-8000-000000000001"),
        ("a b", b"a%20b"),
        ("a/b", b"a%2Fb"),
        ("a?b#c%d", b"a%3Fb%23c%25d"),
        ("%2e%2e", b"%252e%252e"),
        ("…", b"%E2%80%A6"),
        ("...", b"..."),
    ],
)
async def test_a_job_id_is_one_segment_of_the_path(job_id: str, segment: bytes) -> None:
    """Whatever an id holds, it names a job and nothing else."""
    script = AsyncScript(then=job_reply("running"))
    async with scripted(script) as client:
        await client.get(job_id)
        await client.job(job_id).refresh()

    assert [request.url.raw_path for request in script.requests] == [b"/v1/jobs/" + segment] * 2


@pytest.mark.parametrize(
    "job_id", ["", ".", "..", "../x", "x/..", "a/../../b", "./x", "..\\x", "a\nb", "a\0", "\x7f", "\ud800", 7, None]
)
async def test_what_cannot_be_a_job_id_is_refused_before_sending(job_id: Any) -> None:
    """Nothing that could walk to another path, or that no URL can hold, reaches the network."""
    script = AsyncScript()
    async with scripted(script) as client:
        with pytest.raises(nodus.ValidationError) as looked_up:
            await client.get(job_id)
        with pytest.raises(nodus.ValidationError) as made:
            client.job(job_id)

    assert [looked_up.value.code, made.value.code] == ["invalid_job_id", "invalid_job_id"]
    assert looked_up.value.status_code is None
    assert script.requests == []


async def test_a_handle_can_be_made_without_a_request() -> None:
    """Its status is unknown until it is asked for."""
    script = AsyncScript(job_reply("completed", cost_usd=1.5))
    async with scripted(script) as client:
        handle = client.job("a-job")
        before = handle.id, handle.status.is_known, handle.is_terminal
        answer = await handle.refresh()

    assert before == ("a-job", False, False)
    assert answer is handle
    assert (handle.status, handle.cost_usd) == (nodus.JobStatus.COMPLETED, 1.5)


async def test_refresh_updates_the_handle_in_place() -> None:
    """What was read before does not change under the reader: the snapshot is swapped whole."""
    script = AsyncScript(job_reply("queued"), job_reply("running", supplier="lambda"))
    async with scripted(script) as client:
        handle = await client.get("a-job")
        before = handle.view
        await handle.refresh()

    assert (before.status, before.supplier) == ("queued", None)
    assert (handle.status, handle.supplier) == ("running", "lambda")


async def test_cancel_posts_and_takes_in_the_answer() -> None:
    """Cancelling carries an idempotency key and no body."""
    script = AsyncScript(job_reply("running"), job_reply("cancelled"))
    async with scripted(script) as client:
        handle = await client.get("a-job")
        answer = await handle.cancel()

    request = script.requests[1]

    assert answer is handle
    assert handle.status == nodus.JobStatus.CANCELLED
    assert (request.method, request.url.raw_path) == ("POST", b"/v1/jobs/0198c0de-0000-7000-8000-000000000001/cancel")
    assert request.content == b""
    assert request.headers["Content-Length"] == "0"
    assert len(request.headers["Idempotency-Key"]) > 20


async def test_logs_are_text_whatever_the_job_printed() -> None:
    """Bytes that are not UTF-8 are replaced, never an error."""
    script = AsyncScript(job_reply("running"), reply(200, None))
    script._answers[1] = type(script._answers[1])(200, content="loss 0.5 ☃\n".encode() + b"\xff\n")
    async with scripted(script) as client:
        handle = await client.get("a-job")
        printed = await handle.logs()

    assert printed == "loss 0.5 ☃\n\ufffd\n"
    assert script.requests[1].url.raw_path.endswith(b"/logs")


async def test_list_gives_the_most_recent_jobs() -> None:
    """Fifty unless told otherwise, as handles in the server's order."""
    script = AsyncScript(reply(200, {"jobs": [job(id="2"), job("completed", id="1")], "next_cursor": "more"}))
    async with scripted(script) as client:
        jobs = await client.list()

    assert [handle.id for handle in jobs] == ["2", "1"]
    assert all(isinstance(handle, nodus.AsyncJob) for handle in jobs)
    assert script.requests[0].url.raw_path == b"/v1/jobs?limit=50"


@pytest.mark.parametrize(
    ("status", "query"),
    [
        ("running", b"limit=5&status=running"),
        (nodus.JobStatus.QUEUED, b"limit=5&status=queued"),
        ([nodus.JobStatus.QUEUED, "placed"], b"limit=5&status=queued%2Cplaced"),
        ([], b"limit=5"),
    ],
)
async def test_list_filters_by_status(status: Any, query: bytes) -> None:
    """One status or several, by comma."""
    script = AsyncScript(reply(200, {"jobs": [], "next_cursor": None}))
    async with scripted(script) as client:
        await client.list(limit=5, status=status)

    assert script.requests[0].url.query == query


@pytest.mark.parametrize(
    "status", ["", b"running", 7, object(), ["running", ""], [None], [7], "r\u00fcnning", "\ud800", "a\nb"]
)
async def test_what_cannot_be_a_status_is_refused_before_sending(status: Any) -> None:
    """An empty one too, which would filter nothing."""
    script = AsyncScript()
    async with scripted(script) as client:
        with pytest.raises(nodus.ValidationError) as listing:
            await client.list(status=status)
        with pytest.raises(nodus.ValidationError) as iterating:
            client.iter_jobs(status=status)

    assert listing.value.code == iterating.value.code == "invalid_argument"
    assert script.requests == []


async def test_a_listing_can_be_of_one_name() -> None:
    """On every page, beside the other filters; and a handle tells its job's name."""
    pages = [{"jobs": [job(id=str(number), name="a & b")], "next_cursor": "c" if number else None} for number in (1, 0)]
    script = AsyncScript(*[reply(200, page) for page in pages], then=reply(200, pages[1]))
    async with scripted(script) as client:
        iterated = [handle.name async for handle in client.iter_jobs(page_size=1, name="a & b")]
        listed = [handle.name for handle in await client.list(limit=1, status="queued", name="a & b")]

    assert iterated == ["a & b", "a & b"]
    assert listed == ["a & b"]
    assert [request.url.query for request in script.requests] == [
        b"limit=1&name=a+%26+b",
        b"limit=1&cursor=c&name=a+%26+b",
        b"limit=1&status=queued&name=a+%26+b",
    ]


async def test_a_server_that_knows_no_names_gives_no_jobs_of_one() -> None:
    """It ignores the filter and sends every job: whoever cancels what a listing gives must not cancel those."""
    pages = [{"jobs": [job(id=str(number))], "next_cursor": "c" if number else None} for number in (1, 0)]
    script = AsyncScript(*[reply(200, page) for page in pages], then=reply(200, pages[0]))
    async with scripted(script) as client:
        iterated = [handle async for handle in client.iter_jobs(name="nightly")]
        listed = await client.list(name="nightly")

    assert iterated == listed == []
    assert len(script.requests) == 3


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb", "a\0", "\ud800", 7, b"a", ["a"]])
async def test_what_cannot_be_a_name_is_refused_before_sending(name: Any) -> None:
    """In a submission and in a filter, each time with the rule."""
    script = AsyncScript()
    async with scripted(script) as client:
        with pytest.raises(nodus.ValidationError) as submitting:
            await client.run(image="i", name=name)
        with pytest.raises(nodus.ValidationError, match="`name` must be 1 to 128 printable") as listing:
            await client.list(name=name)
        with pytest.raises(nodus.ValidationError) as iterating:
            client.iter_jobs(name=name)

    assert submitting.value.code == "invalid_spec"
    assert submitting.value.message.startswith("`name` ")
    assert listing.value.code == iterating.value.code == "invalid_argument"
    assert script.requests == []


async def test_a_bare_array_is_a_listing_too() -> None:
    """Older servers have no envelope."""
    script = AsyncScript(then=reply(200, [job(id="2"), job(id="1")]))
    async with scripted(script) as client:
        listed = [handle.id for handle in await client.list()]
        iterated = [handle.id async for handle in client.iter_jobs()]

    assert listed == ["2", "1"]
    assert iterated == ["2", "1"]
    assert len(script.requests) == 2


@pytest.mark.parametrize("limit", [0, -1, 1.5, "5", True, None])
async def test_a_limit_below_one_is_refused_before_sending(limit: Any) -> None:
    """So is what is no whole number, and at the call, not at the first step of the iteration."""
    script = AsyncScript()
    async with scripted(script) as client:
        with pytest.raises(nodus.ValidationError) as listing:
            await client.list(limit=limit)
        with pytest.raises(nodus.ValidationError) as iterating:
            client.iter_jobs(page_size=limit)

    assert [listing.value.code, iterating.value.code] == ["invalid_argument"] * 2
    assert script.requests == []


async def test_iter_jobs_follows_the_cursor_to_the_end() -> None:
    """A page is asked for when the one before is used up."""
    script = AsyncScript(
        reply(200, {"jobs": [job(id="4"), job(id="3")], "next_cursor": "a+b&c"}),
        reply(200, {"jobs": [job(id="2")], "next_cursor": "z"}),
        reply(200, {"jobs": [], "next_cursor": None}),
    )
    async with scripted(script) as client:
        ids = [handle.id async for handle in client.iter_jobs(page_size=2)]

    assert ids == ["4", "3", "2"]
    assert [request.url.query for request in script.requests] == [
        b"limit=2",
        b"limit=2&cursor=a%2Bb%26c",
        b"limit=2&cursor=z",
    ]


@pytest.mark.parametrize("cursors", [["a", "a"], ["a", "b", "a"], [""]])
async def test_iter_jobs_ends_where_a_cursor_comes_back(cursors: list[str]) -> None:
    """A server that goes in circles does not make the iteration endless."""
    script = AsyncScript(*(reply(200, {"jobs": [job()], "next_cursor": cursor}) for cursor in cursors))
    async with scripted(script) as client:
        ids = [handle.id async for handle in client.iter_jobs()]

    assert len(ids) == len(cursors)
    assert script.unused == 0


async def test_iter_jobs_asks_for_nothing_that_is_not_read() -> None:
    """Leaving the iteration on the first page leaves the second where it is."""
    script = AsyncScript(reply(200, {"jobs": [job(id="2"), job(id="1")], "next_cursor": "more"}))
    async with scripted(script) as client:
        async for handle in client.iter_jobs():
            if handle.id == "1":
                break

    assert len(script.requests) == 1


async def test_healthz_gives_the_answer_and_sends_no_credentials() -> None:
    """A smoke test must not need, nor show, a key."""
    script = AsyncScript(reply(200, {"status": "ok", "version": "1"}))
    async with scripted(script, signing_secret="sgn_1") as client:
        health = await client.healthz()

    headers = script.requests[0].headers

    assert health == {"status": "ok", "version": "1"}
    assert script.requests[0].url.raw_path == b"/healthz"
    assert not {"authorization", "nodus-signature", "idempotency-key"} & set(headers)
    assert API_KEY not in str(headers.raw)


async def test_a_job_shows_where_it_stands() -> None:
    """The `repr` is for people: the class, the id, and what is known."""
    script = AsyncScript(job_reply("completed", id="7", supplier="lambda", region="us-west-2", cost_usd=47.62))
    async with scripted(script) as client:
        handle = await client.get("7")

    facts = "id='7', status=JobStatus.COMPLETED, supplier='lambda', region='us-west-2', cost_usd=47.62"

    assert repr(handle) == f"{nodus.AsyncJob.__name__}({facts})"


async def test_a_job_that_cost_nothing_says_so() -> None:
    """Zero dollars are known, unlike no figure at all."""
    script = AsyncScript(job_reply("cancelled", id="7", cost_usd=0))
    async with scripted(script) as client:
        handle = await client.get("7")

    assert repr(handle) == f"{nodus.AsyncJob.__name__}(id='7', status=JobStatus.CANCELLED, cost_usd=0.0)"
