# Generated from tests/_async/test_many_jobs.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Waiting for many jobs: in order, with few requests, across failures."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

import nodus
from nodus import Client, Job
from tests._sync.clients import scripted
from tests.support.clock import NEW_YEAR, FakeClock
from tests.support.fleet import Fleet
from tests.support.script import Script, refusal, reply


def fleet_of(ends: dict[str, float], failed: frozenset[str] = frozenset()) -> tuple[FakeClock, Fleet, Client]:
    """A clock, the jobs it governs, and a client of theirs."""
    clock = FakeClock()
    fleet = Fleet(clock, ends, failed)
    return clock, fleet, scripted(Script(then=fleet), clock)


def end_of(job: Job) -> float:
    """When a job of a fleet ended, on the clock."""
    assert job.finished_at is not None
    return job.finished_at.timestamp() - NEW_YEAR


def handles(client: Client, ids: list[str]) -> list[Job]:
    return [client.job(job_id) for job_id in ids]


def collect(jobs: Iterator[Job], ids: list[str]) -> None:
    """Note down what an iterator gives, and keep it should it raise."""
    for job in jobs:
        ids.append(job.id)


def test_wait_all_gives_the_same_handles_in_the_order_given() -> None:
    """The handles are those that were passed in, updated in place, whatever order the jobs ended in."""
    _, _, client = fleet_of({"a": 9.0, "b": 3.0, "c": 6.0}, failed=frozenset("c"))
    with client:
        jobs = handles(client, ["c", "a", "b"])
        ended = client.wait_all(jobs)

    assert [id(job) for job in ended] == [id(job) for job in jobs]
    assert [(job.id, job.status.value, job.cost_usd) for job in ended] == [
        ("c", "failed", 6.0),
        ("a", "completed", 9.0),
        ("b", "completed", 3.0),
    ]


def test_as_completed_gives_jobs_in_the_order_of_their_ends() -> None:
    """Jobs that ended between two rounds come in the order in which they ended."""
    ends = {f"job-{n}": (n * 7919 % 101) / 10 for n in range(100)}
    _, _, client = fleet_of(ends)
    with client:
        order = [job.id for job in client.as_completed(handles(client, list(ends)))]

    assert order == sorted(ends, key=lambda job_id: ends[job_id])


@pytest.mark.parametrize("says_date", [False, True])
def test_the_order_is_true_although_a_round_takes_a_while(says_date: bool) -> None:
    """A job seen alive early in a round may end before one whose end is found later in it."""
    ends = {f"job-{n}": (n * 7919 % 1009) / 1009 * 30 for n in range(1000)}
    clock = FakeClock()
    fleet = Fleet(clock, ends, answer_seconds=0.1, says_date=says_date)
    fleet.down += [500] * 2
    with scripted(Script(then=fleet), clock) as client:
        order = [end_of(job) for job in client.as_completed(handles(client, list(ends)))]

    assert order == sorted(order)
    assert len(order) == 1000


def test_a_job_waits_for_its_place_no_longer_than_it_must() -> None:
    """A server that tells its time lets a job be given in the round that finds its end, unless that was in the round.

    Until it is known how far apart the two clocks are, a `Date` is a second late, and so may a job be given a round.
    """
    ends = {f"job-{n}": 0.5 + n for n in range(500)}
    a_round = 2.0 * 1.1 + 0.05 * 6
    clock = FakeClock()
    fleet = Fleet(clock, ends, answer_seconds=0.05, says_date=True)
    with scripted(Script(then=fleet), clock) as client:
        late = [clock.now() - end_of(job) for job in client.as_completed(handles(client, list(ends)))]

    assert sum(seconds > a_round for seconds in late) < 0.1 * len(late)
    assert max(late) < 2 * a_round


def test_what_waits_for_its_place_is_given_before_the_wait_ends() -> None:
    """A timeout takes nothing away that had ended."""
    ends = {f"job-{n}": math.inf for n in range(400)} | {"a": 0.35, "b": 0.25}
    clock = FakeClock()
    fleet = Fleet(clock, ends, answer_seconds=0.1)
    ended: list[str] = []
    with scripted(Script(then=fleet), clock) as client:
        with pytest.raises(nodus.JobTimeoutError, match="400 jobs"):
            collect(client.as_completed(handles(client, list(ends)), timeout_seconds=1.0), ended)

    assert ended == ["b", "a"]


def test_a_round_over_many_jobs_costs_a_request_for_two_hundred() -> None:
    """1,000 live jobs are five pages a round, and their common end is found on pages too."""
    ends = {f"job-{n}": 5.0 for n in range(1000)}
    clock, fleet, client = fleet_of(ends)
    with client:
        client.wait_all(handles(client, list(ends)))

    rounds = len(clock.slept)

    assert rounds == 3
    assert len(fleet.requests) == rounds * 5 + 1 + 5
    assert all(request.startswith("/v1/jobs?") for request in fleet.requests)


def test_a_few_jobs_among_many_are_asked_for_singly() -> None:
    """Where pages would cost more than a request for each, the jobs are asked for one by one."""
    ends = {f"job-{n}": math.inf for n in range(5000)} | {"x": 60.0, "y": 61.0}
    clock, fleet, client = fleet_of(ends)
    with client:
        client.wait_all(handles(client, ["x", "y"]))

    assert len(fleet.requests) <= 4 + 2 * len(clock.slept)
    assert sum(request.startswith("/v1/jobs?") for request in fleet.requests) <= 2


def test_one_job_is_asked_for_directly() -> None:
    """A single job never costs more than a request a round."""
    _, fleet, client = fleet_of({"a": 3.0})
    with client:
        client.wait_all(handles(client, ["a"]))

    assert set(fleet.requests) == {"/v1/jobs/a"}


def test_the_same_job_twice_is_two_handles_of_one_job() -> None:
    """Both handles are updated, and one request serves both."""
    _, fleet, client = fleet_of({"a": 0.0})
    with client:
        first, second = client.wait_all(handles(client, ["a", "a"]))

    assert first.succeeded
    assert second.succeeded
    assert first is not second
    assert fleet.requests == ["/v1/jobs/a"]


def test_jobs_that_are_over_cost_nothing() -> None:
    """Handles that are terminal already are given at once, and no jobs at all are no wait at all."""
    _, fleet, client = fleet_of({"a": 0.0})
    with client:
        done = client.get("a")
        asked = len(fleet.requests)

        assert client.wait_all([done]) == [done]
        assert client.wait_all([]) == []
    assert len(fleet.requests) == asked


def test_a_failing_round_is_made_again() -> None:
    """Errors that pass do not end the wait, nor is a job lost over them."""
    ends = {f"job-{n}": float(n % 40) for n in range(400)}
    _, fleet, client = fleet_of(ends)
    fleet.down += [500, 503, 429, 502]
    with client:
        ended = client.wait_all(handles(client, list(ends)))

    assert {job.status for job in ended} == {nodus.JobStatus.COMPLETED}


def test_a_failure_that_will_not_pass_ends_the_wait() -> None:
    """A revoked key raises at once."""
    with scripted(Script(refusal(401, "invalid_api_key"))) as client:
        with pytest.raises(nodus.AuthenticationError) as caught:
            client.wait_all(handles(client, ["a", "b"]))

    assert caught.value.attempts == 1


def test_a_job_that_does_not_exist_ends_the_wait() -> None:
    """A handle of a job that the server does not know is an error, not an endless wait."""
    _, _, client = fleet_of({"a": 3.0})
    with client:
        with pytest.raises(nodus.NotFoundError):
            client.wait_all(handles(client, ["a", "nobody"]))


def test_ends_without_a_time_zone_are_in_utc_and_have_their_place() -> None:
    """However old: a server may say year 1 for a time that it does not know."""
    ends = {"a": "2026-01-01T12:00:00+01:00", "b": "2026-01-01T11:30:00", "c": "0001-01-01T00:00:00"}
    jobs = [{"id": job_id, "status": "completed", "finished_at": end} for job_id, end in ends.items()]
    script = Script(then=lambda request: reply(200, {"jobs": jobs if "completed" in str(request.url) else []}))
    with scripted(script) as client:
        order = [job.id for job in client.as_completed(handles(client, list(ends)))]

    assert order == ["c", "a", "b"]


def test_the_timeout_leaves_what_ended_before_it() -> None:
    """as_completed gives what has ended, then raises a TimeoutError that names how many are left."""
    clock, _, client = fleet_of({"a": 3.0, "b": math.inf, "c": math.inf})
    ended: list[str] = []
    with client:
        with pytest.raises(TimeoutError, match="2 jobs") as caught:
            collect(client.as_completed(handles(client, ["a", "b", "c"]), timeout_seconds=10), ended)

    assert ended == ["a"]
    assert isinstance(caught.value, nodus.JobTimeoutError)
    assert clock.now() == pytest.approx(10.0)


def test_bad_arguments_are_refused_before_any_request() -> None:
    """An interval of zero and a negative timeout never reach the network."""
    _, fleet, client = fleet_of({"a": 3.0})
    with client:
        for arguments in ({"poll_seconds": 0}, {"timeout_seconds": -1}, {"unreachable_seconds": math.nan}):
            with pytest.raises(nodus.ValidationError):
                client.wait_all(handles(client, ["a"]), **arguments)

    assert fleet.requests == []


@pytest.mark.parametrize("thing", ["a", None, nodus.JobView(id="a", status=nodus.JobStatus.QUEUED)])
def test_what_is_no_handle_is_refused_before_any_request(thing: object) -> None:
    """An id is what people try; the error names what makes a handle of one."""
    _, fleet, client = fleet_of({"a": 3.0})
    with client:
        with pytest.raises(nodus.ValidationError, match="handles"):
            client.wait_all([client.job("a"), thing])  # type: ignore[list-item]

    assert fleet.requests == []


def test_a_timeout_tells_of_the_look_that_failed_last() -> None:
    """Else a control plane that is away would pass for jobs that take long."""
    with scripted(Script(then=refusal(500)), FakeClock()) as client:
        with pytest.raises(nodus.JobTimeoutError) as caught:
            client.wait_all(handles(client, ["a", "b"]), timeout_seconds=10)

    assert isinstance(caught.value.__cause__, nodus.APIError)
    assert str(caught.value.__cause__) in caught.value.message


def test_a_handle_made_from_an_id_is_unknown_until_it_is_looked_at() -> None:
    """client.job() sends nothing; refresh() fills the handle in."""
    _, fleet, client = fleet_of({"a": 0.0})
    with client:
        job = client.job("a")
        before = (job.id, job.status.is_known, job.is_terminal, len(fleet.requests))
        job.refresh()

    assert before == ("a", False, False, 0)
    assert job.status == nodus.JobStatus.COMPLETED
