"""Event streams: complete, in order, resumable, and shared by all who watch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import httpx
import pytest
from control.sse import Frame, has_all_in_memory, more_keys, opened, parse
from patience import PATIENCE_SECONDS, eventually

import nodus
from nodus_control.control_plane import ControlPlane
from nodus_control.testing import LocalControlPlane

pytestmark = pytest.mark.anyio
Spec = dict[str, Any]
LIFECYCLE = ["queued", "placed", "running", "completed"]
FIELDS = {"seq", "job_id", "status", "at", "attempt", "supplier", "region", "reason", "simulated"}


@pytest.fixture
def served() -> Iterator[LocalControlPlane]:
    """A control plane on loopback whose clock stands."""
    with LocalControlPlane() as started:
        yield started


def submit(control_plane: LocalControlPlane, count: int = 1) -> list[str]:
    """Submit jobs; give their ids."""
    with nodus.Client(api_key=control_plane.api_key, base_url=control_plane.base_url) as client:
        return [client.run(image="x", env={"NODUS_SIM_DURATION_SECONDS": "60"}).id for _ in range(count)]


def statuses(frames: list[Frame]) -> list[str]:
    """Return the statuses of events."""
    return [frame.data["status"] for frame in frames]


async def test_a_job_is_told_from_queued_to_its_end(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """One event per transition, numbered within the job; the stream ends after the last."""
    job = (await client.post("/v1/jobs", json=spec)).json()
    control_plane.advance(1000)
    answer = await client.get(f"/v1/jobs/{job['id']}/events")
    told = parse(answer.text)

    assert answer.headers["content-type"] == "text/event-stream"
    assert statuses(told) == LIFECYCLE
    assert [frame.id for frame in told] == ["1", "2", "3", "4"]
    assert [frame.data["seq"] for frame in told] == [1, 2, 3, 4]
    assert {frame.event for frame in told} == {"status"}
    assert all(set(frame.data) == FIELDS and frame.data["job_id"] == job["id"] for frame in told)


@pytest.mark.parametrize(("headers", "query"), [({"Last-Event-ID": "2"}, ""), ({}, "?after=2")])
async def test_a_job_is_resumed_behind_the_last_event(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec, headers: dict[str, str], query: str
) -> None:
    """A header or a parameter may say which event came last."""
    job = (await client.post("/v1/jobs", json=spec)).json()
    control_plane.advance(1000)
    answer = await client.get(f"/v1/jobs/{job['id']}/events{query}", headers=headers)

    assert [frame.id for frame in parse(answer.text)] == ["3", "4"]


async def test_nothing_comes_after_the_end_of_a_job(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """The stream ends at once."""
    job = (await client.post("/v1/jobs", json=spec)).json()
    control_plane.advance(1000)
    answer = await client.get(f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": "4"})

    assert (answer.status_code, answer.content) == (200, b"")


async def test_streams_are_for_those_who_may_read(client: httpx.AsyncClient) -> None:
    """The key is checked first; another customer's job reads as absent; `after` is a number."""
    unknown = await client.get("/v1/jobs/019b0a5e-6f00-7c3e-8a51-0f3f6b7a9d21/events")
    malformed = await client.get("/v1/events?after=x")
    del client.headers["authorization"]
    nobody = await client.get("/v1/events")

    assert (unknown.status_code, unknown.json()["error"]) == (404, "job_not_found")
    assert (malformed.status_code, malformed.json()["error"]) == (422, "invalid_query")
    assert (nobody.status_code, nobody.json()["error"]) == (401, "invalid_api_key")


async def test_a_key_that_must_sign_signs_here_too(
    client: httpx.AsyncClient, control_plane: LocalControlPlane, spec: Spec
) -> None:
    """The path, without its query; what an agent may look at, it may follow."""
    job = (await client.post("/v1/jobs", json=spec)).json()
    control_plane.advance(1000)
    path = f"/v1/jobs/{job['id']}/events"
    client.headers["authorization"] = f"Bearer {control_plane.agent_api_key}"
    signed = nodus.sign_request(signing_secret=control_plane.agent_signing_secret, method="GET", path=path, body=b"")
    unsigned = await client.get(path)
    answer = await client.get(f"{path}?after=2", headers=signed)

    assert (unsigned.status_code, unsigned.json()["error"]) == (401, "signature_invalid")
    assert [frame.id for frame in parse(answer.text)] == ["3", "4"]


def test_all_jobs_come_on_one_stream(served: LocalControlPlane) -> None:
    """Those of the past first; every id is greater than the one before."""
    before = submit(served, 3)
    with opened(served, "/v1/events") as stream:
        past = stream.read(3)
        after = submit(served, 2)
        served.advance(1000)
        told = past + stream.read(17)

    assert {frame.data["job_id"] for frame in past} <= set(before)
    assert all(int(earlier.id) < int(later.id) for earlier, later in pairwise(told))
    for job_id in before + after:
        assert statuses([frame for frame in told if frame.data["job_id"] == job_id]) == LIFECYCLE


def test_a_customer_resumes_behind_any_event(served: LocalControlPlane) -> None:
    """From each id, exactly the rest."""
    submit(served, 2)
    served.advance(1000)
    with opened(served, "/v1/events") as stream:
        told = stream.read(8)
    for number, frame in enumerate(told[:-1]):
        with opened(served, "/v1/events?after=0", {"Last-Event-ID": frame.id}) as stream:
            assert stream.read(7 - number) == told[number + 1 :]


def test_latest_begins_now_and_says_where_that_is(served: LocalControlPlane) -> None:
    """So that a client which is cut off before the first event can resume too."""
    with served.plane.worker.paused():
        submit(served, 2)
        with opened(served, "/v1/events?after=latest") as stream:
            (begun,) = stream.read(1)
            later = submit(served)
            (told,) = stream.read(1)
    with opened(served, "/v1/events", {"Last-Event-ID": begun.id}) as stream:
        again = stream.read(1)

    assert begun == Frame(begun.id)
    assert [told.data["job_id"]] == later
    assert again == [told]


def test_a_position_that_was_never_reached_is_of_another_history(served: LocalControlPlane) -> None:
    """That of a control plane that forgot: the stream begins at the beginning."""
    jobs = submit(served)
    with opened(served, "/v1/events", {"Last-Event-ID": "999999"}) as stream:
        assert [frame.data["job_id"] for frame in stream.read(1)] == jobs


def test_silence_is_filled_with_comments(served: LocalControlPlane) -> None:
    """A comment tells each side that the other is still there."""
    served.plane.feed.heartbeat_seconds = 0.01
    submit(served)
    served.advance(1000)
    with opened(served, "/v1/events?after=latest") as stream:
        stream.read(1)
        assert stream.read_all(2) == [Frame(), Frame()]


def test_a_stream_that_falls_behind_is_given_all(served: LocalControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no longer in the shared memory is read in the database."""
    monkeypatch.setattr("nodus_control.streams.event_feed.RECENT", 4)
    monkeypatch.setattr("nodus_control.streams.event_feed.PAGE", 3)
    jobs = submit(served)
    with opened(served, "/v1/events") as all_jobs, opened(served, f"/v1/jobs/{jobs[0]}/events") as one_job:
        told = all_jobs.read(1)
        jobs += submit(served, 20)
        served.advance(1000)
        told += all_jobs.read(83)
        of_first = one_job.rest()

    assert statuses(of_first) == LIFECYCLE
    assert len({(frame.data["job_id"], frame.data["seq"]) for frame in told}) == 84


def test_a_stream_is_one_row_of_a_watch_that_all_share(served: LocalControlPlane) -> None:
    """A hundred streams of one job cost no more reading than one, and leave nothing behind."""
    (job_id,) = submit(served)
    reads: list[str] = []
    reading = served.plane.feed._events

    class Counting:
        def __getattr__(self, name: str) -> Any:
            reads.append(name)
            return getattr(reading, name)

    arrived = threading.Barrier(101)
    keys = more_keys(served, 5)

    def follow(number: int) -> list[str]:
        with opened(served, f"/v1/jobs/{job_id}/events", api_key=keys[number % 5]) as stream:
            first = stream.read(1)
            arrived.wait(PATIENCE_SECONDS)
            return statuses(first + stream.rest())

    with ThreadPoolExecutor(100) as threads:
        following = [threads.submit(follow, number) for number in range(100)]
        arrived.wait(PATIENCE_SECONDS)
        # A watcher that begins late may let them read in the database what is new by then.
        eventually(lambda: has_all_in_memory(served))
        served.plane.feed._events = Counting()  # type: ignore[assignment]
        served.advance(1000)
        told = [each.result(PATIENCE_SECONDS) for each in following]
        served.plane.feed._events = reading
    # A client may see the end of its stream before the server has left it.
    eventually(lambda: served.plane.feed.streams == 0)

    assert told == [LIFECYCLE] * 100
    assert reads.count("of_job") == 0


def test_a_client_that_leaves_is_forgotten(served: LocalControlPlane) -> None:
    """Its place in the feed is given back."""
    for _ in range(3):
        submit(served)
        with opened(served, "/v1/events") as stream:
            stream.read(1)
    with opened(served, "/v1/events") as stream:
        stream.read(1)
        eventually(lambda: served.plane.feed.streams == 1)
        (last,) = submit(served)
        while stream.read(1)[0].data["job_id"] != last:
            pass


@pytest.mark.both_engines
def test_what_another_process_commits_is_told_here(kept_database_url: str) -> None:
    """The watch is on the database."""
    with LocalControlPlane(database=kept_database_url) as control_plane, opened(control_plane, "/v1/events") as stream:
        other = ControlPlane(kept_database_url, clock=control_plane.plane.clock, is_reliable=True, is_alone=False)
        elsewhere = other.worker
        jobs = submit(control_plane)
        while stream_status(control_plane, jobs[0]) != "completed":
            other.clock.advance_to(other.clock.now() + 1_000_000)
            elsewhere.run_due()
        told = stream.read(4)
        other.close()

    assert statuses(told) == LIFECYCLE


def stream_status(control_plane: LocalControlPlane, job_id: str) -> str:
    """Read a job's status."""
    with nodus.Client(api_key=control_plane.api_key, base_url=control_plane.base_url) as client:
        return client.get(job_id).status.value


def test_a_revoked_key_loses_its_streams(served: LocalControlPlane) -> None:
    """Within two seconds, though nothing happens that would be told."""
    with opened(served, "/v1/events?after=latest") as stream:
        stream.read(1)
        key = served.plane.keys.find(served.api_key)
        assert key is not None
        served.plane.keys.revoke(key.id, served.plane.clock.now())
        rest = stream.rest()

    assert [frame for frame in rest if frame.data] == []


def test_a_server_that_stops_ends_its_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, so that their clients come again at once."""
    # After that they would be cut.
    monkeypatch.setattr("nodus_control.serving.server.SHUTDOWN_SECONDS", PATIENCE_SECONDS)
    control_plane = LocalControlPlane().start()
    try:
        submit(control_plane)
        with opened(control_plane, "/v1/events") as stream:
            stream.read(1)
            closing = threading.Thread(target=control_plane.close)
            closing.start()
            rest = stream.rest()
            closing.join()
    finally:
        control_plane.close()

    assert len(rest) <= 1  # that it was placed


def test_a_reset_ends_streams(served: LocalControlPlane) -> None:
    """Streams end with a reset, because the history that they follow is gone."""
    submit(served)
    with opened(served, "/v1/events") as stream:
        stream.read(1)
        served.reset()
        rest = stream.rest()

    assert len(rest) <= 1  # that it was placed


@pytest.mark.parametrize("do", ["drop_after", "truncate"])
def test_faults_cut_streams(served: LocalControlPlane, do: str) -> None:
    """A scripted fault can cut an answer that has no end."""
    submit(served)
    served.faults(do, path="/v1/events")
    with pytest.raises(httpx.RemoteProtocolError), opened(served, "/v1/events") as stream:
        stream.rest()
