# Generated from tests/_async/test_copies.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""What holds a client's connections is not copied by accident; what it knows can be."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pytest

import nodus
from tests._sync.clients import scripted
from tests.support.script import Script, job_reply

MADE: dict[str, Callable[[nodus.Client], object]] = {
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
def test_a_handle_is_not_copied(kind: str, way: str) -> None:
    """The error names its class and a way out, rather than a lock inside; a shallow copy of a job is another handle."""
    with scripted(Script()) as client:
        handle = MADE[kind](client)
        if (kind, way) == ("Job", "copy"):
            assert copy.copy(handle) == handle
            return
        with pytest.raises(TypeError, match=f"cannot copy or pickle a (Async)?{kind}, which holds its client's"):
            WAYS[way](handle)


def test_a_copy_of_a_job_is_updated_by_itself() -> None:
    """So that one can be kept to compare with."""
    with scripted(Script(job_reply("running"), job_reply("completed"))) as client:
        job = client.get("a-job")
        before = copy.copy(job)
        job.refresh()

    assert (before.status.value, job.status.value) == ("running", "completed")


def test_what_a_handle_knows_can_be_copied() -> None:
    """As the error says."""
    with scripted(Script(job_reply("running"))) as client:
        job = client.get("a-job")

        assert pickle.loads(pickle.dumps(job.view)) == copy.deepcopy(job.view) == job.view
        assert client.job(job.id) == job


def test_handles_of_the_same_job_are_equal() -> None:
    """Whatever they last saw; on another control plane, another job may have that id."""
    with scripted(Script(job_reply("running"), job_reply("completed"))) as client:
        first, second = client.get("a-job"), client.get("a-job")
        other = client.job("another-job")
        child = client.with_options(timeout=1).job(first.id)
        with scripted(Script(), base_url="https://elsewhere.example") as elsewhere:
            stranger = elsewhere.job(first.id)

    assert first == second == child
    assert len({first, second, child}) == 1
    assert first.view != second.view
    assert first not in (other, stranger, first.id, first.view)


def test_options_keep_what_a_subclass_has_added() -> None:
    """Although a client cannot be copied."""

    class Tagged(nodus.Client):
        tag = ""

    with Tagged("k", http_client=Script()) as client:
        client.tag = "mine"
        child = client.with_options(timeout=1)

    assert (type(child), child.tag) == (Tagged, "mine")
