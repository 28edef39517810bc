# Generated from tests/_async/test_long_wait.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""A wait of twenty hours, through everything that a control plane goes through in that time."""

from __future__ import annotations

import pytest

from nodus import Client
from tests._sync.clients import scripted
from tests.support.clock import FakeClock
from tests.support.fleet import Fleet
from tests.support.outages import ANSWER_SECONDS, DAY_JOB, HOUR, OUTAGES, FailingServer
from tests.support.script import Script

POLL_SECONDS = 60.0
INTERVAL = POLL_SECONDS * 1.1 + ANSWER_SECONDS
"""The longest that may pass between two looks while nothing is wrong."""


def troubled_fleet(ends: dict[str, float]) -> tuple[FakeClock, FailingServer, Client]:
    """A clock, a server that has its spells, and a client."""
    clock = FakeClock()
    server = FailingServer(clock, Fleet(clock, ends))
    return clock, server, scripted(Script(then=server), clock)


@pytest.mark.parametrize("timeout_seconds", [None, 21 * HOUR])
def test_a_wait_survives_twenty_hours(timeout_seconds: float | None) -> None:
    """It is over within one interval of the job's end, and met every spell on the way."""
    clock, server, client = troubled_fleet({"a": DAY_JOB})
    with client:
        job = client.job("a")
        job.wait(poll_seconds=POLL_SECONDS, timeout_seconds=timeout_seconds)

    assert job.succeeded
    assert DAY_JOB <= clock.now() <= DAY_JOB + INTERVAL
    assert server.troubled >= len(OUTAGES) - 2
    assert server.longest_pause() <= INTERVAL


@pytest.mark.parametrize("poll_seconds", [30.0, 600.0])
def test_the_interval_is_what_was_asked_for(poll_seconds: float) -> None:
    """Trouble widens it, and it is itself again with the first good answer."""
    clock, server, client = troubled_fleet({"a": DAY_JOB})
    with client:
        client.job("a").wait(poll_seconds=poll_seconds)

    assert clock.now() <= DAY_JOB + poll_seconds * 1.1 + ANSWER_SECONDS
    assert server.longest_pause() <= poll_seconds * 1.1 + ANSWER_SECONDS


def test_waiting_for_all_survives_twenty_hours() -> None:
    """The same for many jobs: the last end is seen within one interval."""
    ends = {"a": DAY_JOB, "b": HOUR, "c": 10 * HOUR, "d": 2 * HOUR + 100.0}
    clock, server, client = troubled_fleet(ends)
    with client:
        jobs = client.wait_all([client.job(job_id) for job_id in ends], poll_seconds=POLL_SECONDS)

    assert [(job.id, job.succeeded) for job in jobs] == [(job_id, True) for job_id in ends]
    assert DAY_JOB <= clock.now() <= DAY_JOB + INTERVAL + len(ends) * ANSWER_SECONDS
    assert server.troubled >= len(OUTAGES) - 2


def test_completions_come_in_time_and_in_order_over_twenty_hours() -> None:
    """Each within one interval of its end, but for the one that ends while nobody can be asked."""
    in_an_outage = 2 * HOUR + 100.0
    ends = {"a": DAY_JOB, "b": HOUR, "c": 10 * HOUR, "d": in_an_outage, "e": 10 * HOUR + 1.0}
    clock, _, client = troubled_fleet(ends)
    seen: dict[str, float] = {}
    with client:
        handles = [client.job(job_id) for job_id in ends]
        for job in client.as_completed(handles, poll_seconds=POLL_SECONDS):
            seen[job.id] = clock.now()
    late = {job_id: seen[job_id] - end for job_id, end in ends.items()}

    assert list(seen) == ["b", "d", "c", "e", "a"]
    assert late.pop("d") <= 200.0 + INTERVAL
    assert max(late.values()) <= INTERVAL + len(ends) * ANSWER_SECONDS
    assert min(late.values()) >= 0.0
