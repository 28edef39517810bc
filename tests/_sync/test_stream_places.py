# Generated from tests/_async/test_stream_places.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Following more jobs than there are connections: others find one all the same, and every stream comes to its end."""

from __future__ import annotations

import functools
import threading
from typing import Any

import pytest

import nodus
from nodus import Client
from nodus._concurrency import Clock
from nodus._reconnect import shares_of_streams
from nodus._sync.stream_places import StreamPlaces
from tests.support.script import job as view
from tests.support.server import Action, LoopbackServer, Peer, Received, answer, decide
from tests.support.streams import LIFECYCLE, frame, logs, streams
from tests.support.together import together

STREAMS = 40
LONG = 120.0


class SilentServer:
    """Says nothing about the jobs that are followed until it is told to; about others, it answers at once."""

    def __init__(self) -> None:
        self.speaks = threading.Event()
        self.waiting = 0
        self.most_waiting = 0
        self._mutex = threading.Lock()

    def serve(self, request: Received) -> Action:
        name = request.target.split("/")[3].partition("?")[0]
        if not name.startswith("followed"):
            return answer(200, view("running", id=name))
        return Action(functools.partial(self._answer, request, name))

    def _answer(self, request: Received, name: str, peer: Peer) -> bool:
        with self._mutex:
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            while not self.speaks.wait(0.05) and not peer.closing.is_set():
                pass
        finally:
            with self._mutex:
                self.waiting -= 1
        return self._speak(request, name).perform(peer)

    def _speak(self, request: Received, name: str) -> Action:
        if request.target.endswith("/events"):
            return streams(b"".join(frame(seq, job_id=name) for seq in range(1, 5)))
        if "/logs" in request.target:
            return answer(416) if request.header("range") else logs(b"done\n")
        return answer(200, view("completed", id=name))


def events_of(client: Client, name: str) -> tuple[str, ...]:
    return tuple([event.status.value for event in client.events(name)])


def output_of(client: Client, name: str) -> tuple[str, ...]:
    return tuple([text for text in client.logs(name, follow=True)])


def others(client: Client, server: SilentServer, places: int) -> tuple[str, ...]:
    """Call while as many streams wait as may, and let the server speak then."""
    clock = Clock()
    limit = clock.now() + LONG
    while server.waiting < places and clock.now() < limit:
        clock.sleep(0.01)
    try:
        found = [(client.get(f"other-{number}")).status.value for number in range(5)]
    finally:
        server.speaks.set()
    return tuple(found)


@pytest.mark.parametrize("connections", [2, 5, 30])
@pytest.mark.parametrize(("follow", "expected"), [(events_of, LIFECYCLE), (output_of, ("done\n",))])
def test_streams_leave_connections_to_others(follow: Any, expected: tuple[str, ...], connections: int) -> None:
    """However silent the server is, and whatever the streams without a place do in the meantime."""
    held, turns = shares_of_streams(connections)
    silent = SilentServer()
    with LoopbackServer(then=decide(silent.serve)) as server:
        with Client("k", base_url=server.url, max_connections=connections, timeout=LONG) as client:
            calls = [functools.partial(follow, client, f"followed-{number}") for number in range(STREAMS)]
            waiting = functools.partial(others, client, silent, held + turns)
            *told, found = together([*calls, waiting])

    assert found == ("running",) * 5
    assert told == [expected] * STREAMS
    assert silent.most_waiting <= connections // 2


def test_the_only_place_is_given_up_when_somebody_waits() -> None:
    """Where there are more, those that are held are not in the way of turns."""
    single, several = StreamPlaces(2), StreamPlaces(8)
    for places in (single, several):
        while places.take() is not None:
            pass
        assert not places.is_wanted

    assert single.take_turn(0.01) is None
    turn = several.take_turn(0.01)
    assert turn is not None
    assert several.take_turn(0.01) is None
    turn.release()
    assert several.take_turn(0.01) is turn


def test_a_stream_that_never_gets_a_place_says_why() -> None:
    """Not that the network failed."""
    with LoopbackServer(then=answer(200, view("running"))) as server:
        with Client("k", base_url=server.url, max_connections=1, timeout=0.01, total_timeout=0.01) as client:
            place = client._session.take_stream_turn()
            assert place is not None
            with pytest.raises(nodus.APITimeoutError, match="may use stayed busy"):
                for _ in client.events("a-job"):
                    pass
            place.release()
