"""A reader that resumes misses nothing, whoever commits what, and when."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from control.sse import opened
from scarcity import NO_THREAD, no_thread
from sqlalchemy import insert

from nodus_control.control_plane import ControlPlane
from nodus_control.testing import LocalControlPlane
from nodus_core.spec import parse_spec
from nodus_ledger.database import schema
from nodus_ledger.jobs.event_log import EventLog, EventRecord
from nodus_ledger.trust.log import Entry, append_all

pytestmark = pytest.mark.both_engines
JOBS = 40
RACES = 10


def test_positions_become_visible_in_their_order(kept_database_url: str) -> None:
    """While several processes submit and work at the same time, a reader who goes on from what it had sees all."""
    seen: list[int] = []
    is_over = threading.Event()
    with LocalControlPlane(database=kept_database_url, serve=False) as served:
        control_planes = [
            served.plane,
            *(
                ControlPlane(kept_database_url, clock=served.plane.clock, is_reliable=True, is_alone=False, seed=None)
                for _ in range(2)
            ),
        ]
        key = served.plane.keys.find(served.api_key)
        assert key is not None
        spec = parse_spec({"image": "x", "gpu": "l40s", "env": {"NODUS_SIM_DURATION_SECONDS": "1"}})
        log = EventLog(served.plane.database)

        def submit(number: int) -> None:
            control_plane = control_planes[number % len(control_planes)]
            control_plane.jobs.submit(key, spec, None, control_plane.clock.now())
            control_plane.clock.advance_to(control_plane.clock.now() + 10_000)
            control_plane.worker.run_due()

        def read() -> None:
            while not is_over.is_set():
                after = seen[-1] if seen else 0
                seen.extend(event.position for event in log.of_customer(key.customer_id, after=after, limit=7))

        with ThreadPoolExecutor(7) as threads:
            reading = threads.submit(read)
            list(threads.map(submit, range(JOBS)))
            is_over.set()
            reading.result()
        after = seen[-1] if seen else 0
        seen += [event.position for event in log.of_customer(key.customer_id, after=after, limit=10_000)]
        truth = [event.position for event in log.of_customer(key.customer_id, after=0, limit=10_000)]
        for control_plane in control_planes[1:]:
            control_plane.close()

    assert seen == truth
    assert len(truth) >= JOBS


def test_an_event_is_told_after_what_stands_before_it(kept_database_url: str) -> None:
    """A transaction that has its position holds up those behind it until it has committed."""
    with (
        LocalControlPlane(database=kept_database_url) as control_plane,
        opened(control_plane, "/v1/events?after=latest") as stream,
    ):
        stream.read(1)
        key = control_plane.plane.keys.find(control_plane.api_key)
        assert key is not None
        database = control_plane.plane.database
        has_position, second_began = threading.Event(), threading.Event()

        def write(name: str, *, is_first: bool) -> int:
            if not is_first:
                has_position.wait()
                second_began.set()
            with database.write() as connection:
                (position,) = append_all(connection, [Entry(key.customer_id, "test", 0, {}, key_id=key.id)])
                if is_first:
                    has_position.set()
                    second_began.wait()
                connection.execute(
                    insert(schema.events),
                    {
                        "customer_id": key.customer_id,
                        "job_id": name,
                        "position": position.seq,
                        "seq": 1,
                        "status": "queued",
                        "at": 0,
                        "attempt": 0,
                    },
                )
            return position.seq

        with ThreadPoolExecutor(2) as threads:
            second = threads.submit(write, "second", is_first=False)
            first = threads.submit(write, "first", is_first=True)
            told = stream.read(2)

    assert [frame.data["job_id"] for frame in told] == ["first", "second"]
    assert [int(frame.id) for frame in told] == [first.result(), second.result()]


def test_what_is_committed_while_the_feed_looks_is_told_once(kept_database_url: str) -> None:
    """Between its look at how far the sequence has come, and its reading of what is new."""
    with LocalControlPlane(database=kept_database_url, serve=False) as served, served.plane.worker.paused():
        control_plane = served.plane
        key = control_plane.keys.find(served.api_key)
        assert key is not None
        log = control_plane.feed._events
        racing = Racing(log, lambda: control_plane.jobs.submit(key, parse_spec({"image": "x", "gpu": "l40s"}), None, 0))
        control_plane.feed._events = racing

        async def told() -> list[int]:
            place = control_plane.feed.subscribe(
                key.customer_id, key.id, after=log.heads([key.customer_id])[key.customer_id]
            )
            await asyncio.to_thread(racing.is_over.wait)
            found: list[int] = []
            while len(found) < RACES:
                news = place.arm()
                found += [event.position for event in control_plane.feed.recent(place) or []]
                if len(found) < RACES:
                    await news.wait()
            return found

        positions = asyncio.run(told())
        truth = [event.position for event in log.of_customer(key.customer_id, after=0, limit=10 * RACES)]

    assert positions == truth


class Racing(EventLog):
    """A log that grows whenever it was asked how long it is, so many times."""

    def __init__(self, log: EventLog, grow: Callable[[], object]) -> None:
        self._log = log
        self._grow = grow
        self._left = RACES
        self.is_over = threading.Event()

    def heads(self, customer_ids: Sequence[str]) -> dict[str, int]:
        heads = self._log.heads(customer_ids)
        if self._left:
            self._left -= 1
            self._grow()
        else:
            self.is_over.set()
        return heads

    def of_customer(self, customer_id: str, *, after: int, limit: int) -> list[EventRecord]:
        return self._log.of_customer(customer_id, after=after, limit=limit)


def test_a_feed_that_has_no_thread_takes_nobody(kept_database_url: str) -> None:
    """Who comes when there is one again is told what happens."""
    with LocalControlPlane(database=kept_database_url, serve=False) as served, served.plane.worker.paused():
        control_plane = served.plane
        key = control_plane.keys.find(served.api_key)
        assert key is not None
        customer_id, key_id = key.customer_id, key.id

        async def told() -> int:
            with no_thread("nodus-events"), pytest.raises(RuntimeError, match=NO_THREAD):
                control_plane.feed.subscribe(customer_id, key_id)
            place = control_plane.feed.subscribe(customer_id, key_id, after=control_plane.feed.head(customer_id))
            control_plane.jobs.submit(key, parse_spec({"image": "x", "gpu": "l40s"}), None, 0)
            while True:
                news = place.arm()
                found = control_plane.feed.recent(place)
                if found is None:  # It began to look only now.
                    found = control_plane.feed.read(place)
                if found:
                    return len(found)
                await news.wait()

        count = asyncio.run(told())

    assert count == 1
