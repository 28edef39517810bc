"""What holds a client's connections is not copied by accident; what it knows can be."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pytest

import nodus
from tests._async.clients import scripted
from tests.support.script import AsyncScript, job_reply

MADE: dict[str, Callable[[nodus.AsyncClient], object]] = {
    "Client": lambda client: client,
    "Job": lambda client: client.job("a-job"),
    "EventStream": lambda client: client.events(),
    "LogStream": lambda client: client.job("a-job").logs(follow=True),
    "Webhooks": lambda client: client.webhooks,
    "Ledger": lambda client: client.ledger,
    "JobIterator": lambda client: client.iter_jobs(),
    "CompletedJobs": lambda client: client.as_completed([]),
}


@dataclass
class Experiment:
    """What a user may keep a handle in."""

    handle: object


WAYS: dict[str, Callable[[object], object]] = {
    "copy": copy.copy,
    "deep copy": lambda handle: copy.deepcopy({"handle": handle}),
    "asdict": lambda handle: asdict(Experiment(handle)),
    "pickle": pickle.dumps,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", MADE)
async def test_a_handle_is_not_copied(kind: str, way: str) -> None:
    """The error names its class and a way out, rather than a lock inside; a shallow copy of a job is another handle."""
    async with scripted(AsyncScript()) as client:
        handle = MADE[kind](client)
        if (kind, way) == ("Job", "copy"):
            assert copy.copy(handle) == handle
            return
        with pytest.raises(TypeError, match=f"cannot copy or pickle a (Async)?{kind}, which holds its client's"):
            WAYS[way](handle)


async def test_a_copy_of_a_job_is_updated_by_itself() -> None:
    """So that one can be kept to compare with."""
    async with scripted(AsyncScript(job_reply("running"), job_reply("completed"))) as client:
        job = await client.get("a-job")
        before = copy.copy(job)
        await job.refresh()

    assert (before.status.value, job.status.value) == ("running", "completed")


async def test_what_a_handle_knows_can_be_copied() -> None:
    """As the error says."""
    async with scripted(AsyncScript(job_reply("running"))) as client:
        job = await client.get("a-job")

        assert pickle.loads(pickle.dumps(job.view)) == copy.deepcopy(job.view) == job.view
        assert client.job(job.id) == job


async def test_handles_of_the_same_job_are_equal() -> None:
    """Whatever they last saw; on another control plane, another job may have that id."""
    async with scripted(AsyncScript(job_reply("running"), job_reply("completed"))) as client:
        first, second = await client.get("a-job"), await client.get("a-job")
        other = client.job("another-job")
        child = client.with_options(timeout=1).job(first.id)
        async with scripted(AsyncScript(), base_url="https://elsewhere.example") as elsewhere:
            stranger = elsewhere.job(first.id)

    assert first == second == child
    assert len({first, second, child}) == 1
    assert first.view != second.view
    assert first not in (other, stranger, first.id, first.view)


async def test_options_keep_what_a_subclass_has_added() -> None:
    """Although a client cannot be copied."""

    class Tagged(nodus.AsyncClient):
        tag = ""

    async with Tagged("k", http_client=AsyncScript()) as client:
        client.tag = "mine"
        child = client.with_options(timeout=1)

    assert (type(child), child.tag) == (Tagged, "mine")
