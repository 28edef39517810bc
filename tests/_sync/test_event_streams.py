# Generated from tests/_async/test_event_streams.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Following jobs on event streams: in order, across drops, without holding what others need."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

import nodus
from nodus._config import DEFAULT_MAX_CONNECTIONS
from nodus._httpx import httpx
from nodus._reconnect import MAX_STREAMS, shares_of_streams
from nodus._sync import network
from tests._sync.clients import API_KEY, SIGNING_SECRET, on_loopback, scripted
from tests.support.clock import FakeClock
from tests.support.script import Script, job_reply, refusal, reply
from tests.support.script import job as view
from tests.support.server import Action, LoopbackServer, Received, answer, decide
from tests.support.silence import Silence, until_silent
from tests.support.streams import JOB, LIFECYCLE, frame, frames, hangs, streams


def take(events: Iterator[nodus.JobEvent], count: int) -> list[nodus.JobEvent]:
    """Return the next events, and leave the rest."""
    found = []
    for event in events:
        found.append(event)
        if len(found) == count:
            break
    return found


def statuses(events: list[nodus.JobEvent]) -> list[str]:
    return [event.status.value for event in events]


def test_a_job_is_followed_to_its_end_with_one_request() -> None:
    """The events are typed, and the stream ends with the job; the connection is used again."""
    with LoopbackServer(streams(frames(1, 2), frames(3, 4)), answer(200, view())) as server:
        with on_loopback(server) as client:
            events = [event for event in client.job(JOB).events()]
            client.get(JOB)

    assert tuple(statuses(events)) == LIFECYCLE
    assert [(event.seq, event.id, event.job_id) for event in events[:2]] == [(1, "1", JOB), (2, "2", JOB)]
    assert [request.target for request in server.received] == [f"/v1/jobs/{JOB}/events", f"/v1/jobs/{JOB}"]
    assert server.received[0].header("accept") == "text/event-stream"
    assert server.received[0].header("last-event-id") is None


def test_a_dropped_connection_is_resumed_behind_the_last_event() -> None:
    """What comes again all the same is not given again."""
    with LoopbackServer(
        streams(frames(1, 2) + frame(3)[:20], ends=False),
        streams(frames(2, 3), ends=False),
        streams(frames(1, 2, 3, 4)),
    ) as server:
        with on_loopback(server) as client:
            events = [event for event in client.job(JOB).events()]

    assert tuple(statuses(events)) == LIFECYCLE
    assert [request.header("last-event-id") for request in server.received] == [None, "2", "3"]


def test_a_stream_that_ends_before_the_job_is_resumed() -> None:
    """A server that stops ends its streams in order."""
    with LoopbackServer(streams(frames(1)), streams(), answer(200, view("placed")), streams(frames(2, 3, 4))) as server:
        with on_loopback(server) as client:
            events = [event for event in client.job(JOB).events()]

    assert tuple(statuses(events)) == LIFECYCLE


def test_a_job_that_was_over_before_has_no_more_events() -> None:
    """Its stream ends empty; that it is over counts where it was known before the stream began."""
    with LoopbackServer(streams(), answer(200, view("completed")), streams()) as server:
        with on_loopback(server) as client:
            events = [event for event in client.events(JOB, after=4)]

    assert events == []
    assert [request.header("last-event-id") for request in server.received] == ["4", None, "4"]


def test_a_server_may_say_that_nothing_will_come() -> None:
    """With 204, as the WHATWG has it."""
    with LoopbackServer(answer(204)) as server:
        with on_loopback(server) as client:
            assert [event for event in client.events(JOB)] == []


def test_silence_ends_a_connection_but_not_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that lives shows it; one that does not is left after `timeout` seconds."""
    silence = Silence()
    monkeypatch.setattr(network, "receive", until_silent(silence))
    silent = [hangs(frames(1), b":\n\n", falls=silence), hangs(falls=silence)]
    with LoopbackServer(*silent, streams(frames(2, 3, 4))) as server:
        with on_loopback(server) as client:
            events = [event for event in client.job(JOB).events()]

    assert tuple(statuses(events)) == LIFECYCLE
    assert [request.header("last-event-id") for request in server.received] == [None, "1", "1"]


def test_all_jobs_come_on_one_connection() -> None:
    """It is resumed by the customer's own sequence, said in both ways."""
    first = b"".join(frame(1, job_id=f"job-{n}", id=10 + n) for n in range(3))
    with LoopbackServer(streams(first, ends=False), streams(frame(2, job_id="job-0", id=20), ends=False)) as server:
        with on_loopback(server) as client:
            stream = client.events(after=9)
            events = take(stream, 4)
            last = stream.last_event_id
            stream.close()

    assert [(event.job_id, event.seq) for event in events] == [("job-0", 1), ("job-1", 1), ("job-2", 1), ("job-0", 2)]
    assert [request.target for request in server.received] == ["/v1/events?after=9", "/v1/events?after=12"]
    assert [request.header("last-event-id") for request in server.received] == [None, "12"]
    assert last == "20"


def test_a_stream_from_now_on_learns_where_that_was() -> None:
    """So that it is resumed rightly even if it drops before the first event."""
    with LoopbackServer(streams(b"id: 41\n\n", ends=False), streams(frame(1, id=42), ends=False)) as server:
        with on_loopback(server) as client:
            events = take(client.events(after="latest"), 1)

    assert [event.id for event in events] == ["42"]
    assert [request.target for request in server.received] == ["/v1/events?after=latest", "/v1/events?after=41"]


def test_a_stream_is_authorised_and_signed_like_any_request() -> None:
    """On every connection afresh."""
    with LoopbackServer(streams(frames(1), ends=False), streams(frames(2, 3, 4))) as server:
        with on_loopback(server, signing_secret=SIGNING_SECRET) as client:
            take(client.events(JOB), 4)

    for request in server.received:
        signature = request.header("nodus-signature") or ""
        signed_at = int(signature.rpartition("ts=")[2])
        expected = nodus.sign_request(
            signing_secret=SIGNING_SECRET, method="GET", path=f"/v1/jobs/{JOB}/events", body=b"", now=signed_at
        )
        assert signature == expected["Nodus-Signature"]
        assert request.header("authorization") == f"Bearer {API_KEY}"


def test_leaving_a_loop_half_way_leaks_nothing() -> None:
    """The place and the connection are back with the next request, and no warning comes."""
    actions = [hangs(frames(1)) for _ in range(2 * MAX_STREAMS)]
    with LoopbackServer(*actions, then=answer(200, view())) as server:
        with on_loopback(server) as client:
            for _ in range(2 * MAX_STREAMS):
                for event in client.job(JOB).events():
                    assert event.seq == 1
                    break
            gc.collect()
            client.get(JOB)
            left = repr(client._session._pool), len(client._session._pool.responses)

    assert left == (f"<{type(client._session._pool).__name__} 0 busy, 1 idle, limit 100>", 0)


def test_a_stream_is_a_context_manager() -> None:
    """Which gives its connection back at once; afterwards it has nothing more."""
    with LoopbackServer(hangs(frames(1, 2))) as server:
        with on_loopback(server) as client:
            with client.job(JOB).events() as events:
                first = take(events, 1)
            busy = repr(client._session._pool)
            rest = [event for event in events]

    assert (statuses(first), rest) == (["queued"], [])
    assert "0 busy" in busy


def test_a_closed_client_ends_its_streams() -> None:
    """An error that says so, as of every call; the open connection goes with the client."""
    with LoopbackServer(hangs(frames(1)), streams(frames(1))) as server:
        with on_loopback(server) as client:
            stream = client.job(JOB).events()
            take(stream, 1)
        with pytest.raises(nodus.ConfigurationError, match="closed"):
            take(stream, 1)


def test_streams_of_single_jobs_leave_connections_to_others() -> None:
    """Most places may be held; who comes later looks at the job, and reads its events for a moment when it moves."""
    places = shares_of_streams(DEFAULT_MAX_CONNECTIONS)[0]
    moved = {"polls": 0}

    def serve(request: Received) -> Action:
        if request.target.endswith("/events"):
            return hangs(frames(1, 2) if moved["polls"] else frames(1))
        moved["polls"] += 1
        return answer(200, view("placed", id=JOB, attempts=1))

    with LoopbackServer(then=decide(serve)) as server:
        with on_loopback(server) as client:
            held = [client.job(JOB).events() for _ in range(places)]
            for stream in held:
                assert statuses(take(stream, 1)) == ["queued"]
            late = client.job(JOB).events()
            events = take(late, 2)
            busy = repr(client._session._pool)
            ordinary = client.get(JOB)
            late.close()
            for stream in held:
                stream.close()

    assert statuses(events) == ["queued", "placed"]
    assert f"{places} busy" in busy
    assert ordinary.status == nodus.JobStatus.PLACED


def test_a_client_of_one_connection_can_follow_and_call() -> None:
    """Its connection is not held: the jobs are looked at."""
    pages = iter(["queued", "placed", "completed"])

    def serve(request: Received) -> Action:
        if request.target.startswith("/v1/jobs?"):
            return answer(200, {"jobs": [view(next(pages), id=JOB)], "next_cursor": None})
        return answer(200, view("queued"))

    with LoopbackServer(then=decide(serve)) as server:
        with on_loopback(server, max_connections=1) as client:
            stream = client.events()
            events = []
            for _ in range(3):
                events += take(stream, 1)
                client.get(JOB)

    assert statuses(events) == ["queued", "placed", "completed"]


@pytest.mark.parametrize("refused", [answer(404), answer(405), answer(501), streams(b"{}", kind="application/json")])
def test_a_server_without_event_streams_is_looked_at(refused: Action) -> None:
    """Every 2 s, a transition for every change that a look shows."""
    looks = [view("queued"), view("queued"), view("running", attempts=1), view("completed", attempts=1)]
    with LoopbackServer(refused, *(answer(200, look) for look in looks)) as server:
        clock = FakeClock()
        with on_loopback(server, clock) as client:
            events = [event for event in client.events(str(view()["id"]))]

    assert statuses(events) == ["queued", "running", "completed"]
    assert [event.seq for event in events] == [1, 2, 3]
    assert clock.slept == pytest.approx([2.0, 2.0, 2.0], rel=0.1)
    assert [request.target.rpartition("/")[2] for request in server.received[:2]] == ["events", view()["id"]]


def test_all_jobs_are_looked_at_where_there_is_no_stream() -> None:
    """New ones on the newest page, those that went on on the pages of live jobs, and those that ended."""
    rounds = [
        {"b": "running", "a": "completed"},
        {"c": "queued", "b": "running", "a": "completed"},
        {"c": "running", "b": "completed", "a": "completed"},
    ]
    at = {"round": -1}

    def serve(request: Received) -> Action:
        if request.target.startswith("/v1/events"):
            return answer(404)
        if "status=" not in request.target:
            at["round"] += 1
        jobs = [view(status, id=job_id) for job_id, status in rounds[min(at["round"], 2)].items()]
        return answer(200, {"jobs": jobs, "next_cursor": None})

    with LoopbackServer(then=decide(serve)) as server:
        with on_loopback(server) as client:
            events = take(client.events(), 5)

    assert [(event.job_id, event.status.value) for event in events] == [
        ("a", "completed"),
        ("b", "running"),
        ("c", "queued"),
        ("b", "completed"),
        ("c", "running"),
    ]


def test_an_injected_client_that_cannot_stream_is_used_to_look() -> None:
    """`send` alone is all that it must offer."""
    script = Script(job_reply("queued"), job_reply("completed"))
    with scripted(script) as client:
        events = [event for event in client.job(JOB).events()]

    assert statuses(events) == ["queued", "completed"]


def test_an_injected_client_that_can_stream_does() -> None:
    """And a loop that is left half-way leaves nothing of it behind, on any event loop."""
    with LoopbackServer(hangs(frames(1)), hangs(frames(1, 2)), streams(frames(1, 2, 3, 4))) as server:
        with httpx.Client(trust_env=False) as injected, on_loopback(server, http_client=injected) as client:
            take(client.job(JOB).events(), 1)
            with client.job(JOB).events() as stream:
                left = take(stream, 2)
            whole = [event for event in client.job(JOB).events()]
            open_responses = len(client._session._pool.responses)
    gc.collect()

    assert (statuses(left), tuple(statuses(whole))) == (["queued", "placed"], LIFECYCLE)
    assert open_responses == 0


def test_children_share_the_places_of_streams() -> None:
    """As they share the connections."""
    with LoopbackServer(hangs(frames(1)), then=answer(200, view(id=JOB))) as server:
        with on_loopback(server, max_connections=2) as client:
            child = client.with_options(timeout=600)
            with child.job(JOB).events() as stream:
                take(stream, 1)
                places = client._session.take_stream_place()
            again = client._session.take_stream_place()

    assert places is None
    assert again is not None


def test_events_say_whether_the_job_is_simulated() -> None:
    """On a stream and when polled; an older server does not say."""
    simulated = frame(1).replace(b'"attempt"', b'"simulated": true, "attempt"')
    polled = answer(200, view("completed", id=JOB, simulated=True))
    with LoopbackServer(streams(simulated + frame(4)), answer(404), polled) as server:
        with on_loopback(server) as client:
            streamed = [event.simulated for event in client.job(JOB).events()]
            found = [event.simulated for event in client.job(JOB).events()]

    assert (streamed, found) == ([True, None], [True])


def test_an_event_of_another_job_is_not_given() -> None:
    """Nor does it end the stream, which goes on behind the last event of its own; UUIDs may be in either case."""
    strays = frame(4, job_id="another-job", id=4)
    with LoopbackServer(streams(frames(1) + strays), streams(frames(2, 3, 4))) as server:
        with on_loopback(server) as client:
            events = [event for event in client.job(JOB.upper()).events()]

    assert [(event.job_id, event.status.value) for event in events] == [(JOB, status) for status in LIFECYCLE]


def test_an_id_that_is_too_long_is_not_sent_back() -> None:
    """The last one that is not is sent instead; what then comes again is not given again."""
    long = b"id: " + b"x" * 257 + b"\n" + frame(2).partition(b"\n")[2]
    with LoopbackServer(streams(frames(1) + long, ends=False), streams(frames(2, 3, 4))) as server:
        with on_loopback(server) as client:
            events = [event for event in client.job(JOB).events()]

    assert tuple(statuses(events)) == LIFECYCLE
    assert [request.header("last-event-id") for request in server.received] == [None, "1"]


def test_a_key_with_too_many_streams_is_polled_instead() -> None:
    """The server's refusal ends nothing."""
    full = answer(429, {"error": "too_many_streams"}, retry_after="5")
    polled = [answer(200, view(status, id=JOB)) for status in ("queued", "running", "completed")]
    with LoopbackServer(full, *polled) as server:
        with on_loopback(server) as client:
            events = [event for event in client.job(JOB).events()]

    assert statuses(events) == ["queued", "running", "completed"]
    assert [request.target for request in server.received[1:]] == [f"/v1/jobs/{JOB}"] * 3


def test_a_job_that_is_not_there_is_an_error() -> None:
    """As of every call about it."""
    absent = answer(404, {"error": "job_not_found", "message": "There is no such job."})
    with LoopbackServer(absent) as server:
        with on_loopback(server) as client:
            with pytest.raises(nodus.NotFoundError) as caught:
                take(client.events(JOB), 1)

    assert (caught.value.code, caught.value.attempts) == ("job_not_found", 1)


def test_a_key_that_is_revoked_ends_the_stream() -> None:
    """At once, and nothing that came before is lost."""
    with LoopbackServer(streams(frames(1), ends=False), answer(401, {"error": "invalid_api_key"})) as server:
        with on_loopback(server) as client:
            stream = client.job(JOB).events()
            first = take(stream, 1)
            with pytest.raises(nodus.AuthenticationError):
                take(stream, 1)

    assert statuses(first) == ["queued"]


def test_a_server_that_is_away_is_waited_for() -> None:
    """Up to 15 minutes; or for the client's `total_timeout`."""
    down = answer(503, {"error": "no_supplier"})
    with LoopbackServer(down, down, down, streams(frames(1, 2, 3, 4)), then=down) as server:
        clock = FakeClock()
        with on_loopback(server, clock) as client:
            events = take(client.events(JOB), 4)
            hasty = client.with_options(total_timeout=20)
            started = clock.now()
            with pytest.raises(nodus.SupplierUnavailableError):
                take(hasty.events(JOB), 1)

    assert len(events) == 4
    assert 19.9 <= clock.now() - started <= 20.1


def test_what_no_event_can_be_is_an_error() -> None:
    """Left out in silence, a transition would be missed."""
    with LoopbackServer(streams(b"event: status\ndata: {}\n\n"), streams(b"x" * 2_000_000)) as server:
        with on_loopback(server) as client:
            for _ in range(2):
                with pytest.raises(nodus.APIError) as caught:
                    take(client.events(JOB), 1)
                assert caught.value.code == "invalid_response"


@pytest.mark.parametrize("after", [-1, True, 1.5, "", "a\nb", "é"])
def test_what_cannot_be_an_id_is_refused(after: object) -> None:
    """Before anything is sent."""
    with scripted(Script()) as client:
        with pytest.raises(nodus.ValidationError) as caught:
            client.events(after=after)  # type: ignore[arg-type]

    assert caught.value.code == "invalid_argument"


def test_routing_says_why_a_job_went_where_it_went() -> None:
    """Typed; the chosen offer may be given by its supplier's name alone."""
    offers = [
        {
            "supplier": "lambda",
            "kind": "tier3",
            "region": "us",
            "usd_per_gpu_hour": 2.5,
            "score": 0.9,
            "rejected": None,
        },
        {"supplier": "aws", "kind": "hyperscaler", "region": "eu", "rejected": "outage", "novelty": 1},
    ]
    script = Script(
        reply(200, {"chosen": offers[0], "candidates": offers}),
        reply(200, {"chosen": "lambda", "candidates": offers}),
        reply(200, {"chosen": None, "candidates": []}),
        refusal(404, "job_not_found"),
    )
    with scripted(script) as client:
        whole = client.job(JOB).routing()
        by_name = client.routing(JOB)
        before = client.routing(JOB)
        with pytest.raises(nodus.NotFoundError):
            client.routing(JOB)

    assert whole == by_name
    assert whole.chosen is not None
    assert (whole.chosen.supplier, whole.chosen.kind) == ("lambda", nodus.SupplierKind.TIER3)
    assert [offer.rejected for offer in whole.candidates] == [None, "outage"]
    assert (before.chosen, before.candidates) == (None, [])


@pytest.mark.parametrize("exc", [RuntimeError, OSError, KeyboardInterrupt])
def test_what_a_hook_raises_leaves_no_connection_behind(exc: type[BaseException]) -> None:
    """It is the caller's, and never taken for a failure of the network."""

    def fail(event: object) -> None:
        raise exc("the hook failed")

    with LoopbackServer(*[hangs(frames(1))] * 3) as server:
        with on_loopback(server, on_response=fail) as client:
            for stream in (client.events(), client.job(JOB).events(), client.job(JOB).logs(follow=True)):
                with pytest.raises(exc, match="the hook failed"):
                    stream.__next__()
            described = repr(client._session._pool)

    assert "0 busy" in described


def note_down(events: Iterator[nodus.JobEvent], told: list[str]) -> None:
    """Keep what an iterator gives, should it raise."""
    for event in events:
        told.append(event.status.value)


def test_a_server_that_breaks_every_stream_off_ends_it_at_last() -> None:
    """What it had to tell was told; the error is that of the connection."""
    told: list[str] = []
    with LoopbackServer(then=streams(frames(1), ends=False)) as server:
        with on_loopback(server, total_timeout=60) as client:
            with pytest.raises(nodus.APIConnectionError) as caught:
                note_down(client.job(JOB).events(), told)

    assert told == ["queued"]
    assert caught.value.attempts == 1
