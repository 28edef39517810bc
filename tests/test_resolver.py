"""Looking names up: what needs no look-up, who shares one, and how many threads there may be."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from nodus import _resolver
from nodus._resolver import JOIN_SECONDS, LOOPBACK, THREAD_NAME, Lookups, interleaved, known_addresses, resolve
from tests.support.clock import FakeClock
from tests.support.names import give_names, wait_for_look_ups

PATIENCE_SECONDS = 60.0


class Gate:
    """A resolver whose every answer waits until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self._opened = threading.Event()
        self._arrived = threading.Semaphore(0)
        monkeypatch.setattr(socket, "getaddrinfo", self.getaddrinfo)

    def getaddrinfo(self, host: str, port: int, **options: Any) -> list[Any]:
        self.asked.append(host)
        self._arrived.release()
        self._opened.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]

    def wait_for(self, count: int) -> None:
        """Wait until so many more have asked."""
        for _ in range(count):
            assert self._arrived.acquire(timeout=PATIENCE_SECONDS)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open()
    wait_for_look_ups()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.0.2.7", ["192.0.2.7"]),
        ("2001:db8::7", ["2001:db8::7"]),
        ("fe80::1%1", ["fe80::1%1"]),
        ("127.0.0.1", ["127.0.0.1"]),
        ("localhost", list(LOOPBACK)),
        ("a.localhost", list(LOOPBACK)),
        ("A.b.LOCALHOST", list(LOOPBACK)),
        ("localhost.", list(LOOPBACK)),
        ("notlocalhost", None),
        ("localhost.evil.test", None),
        ("127.1", None),
        ("api.nodus.test", None),
        ("", None),
    ],
)
def test_addresses_and_names_of_this_machine_are_known(host: str, expected: list[str] | None) -> None:
    """RFC 6761, section 6.3: `localhost` and all names under it are loopback."""
    assert known_addresses(host) == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "192.0.2.7", "localhost", "a.localhost"])
def test_what_is_known_is_asked_of_nobody(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread is started, and no DNS query is made."""

    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError("not needed")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setattr(threading, "Thread", fail)

    assert resolve(host, 80, 1.0) == known_addresses(host)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], []),
        (["::1"], ["::1"]),
        (["::1", "::2", "::3", "1.1.1.1"], ["::1", "1.1.1.1", "::2", "::3"]),
        (["1.1.1.1", "1.1.1.2", "::1", "::2", "::3"], ["1.1.1.1", "::1", "1.1.1.2", "::2", "::3"]),
        (["1.1.1.1", "1.1.1.1", "::1"], ["1.1.1.1", "::1"]),
    ],
)
def test_families_take_turns(found: list[str], expected: list[str]) -> None:
    """The system's preference stays, within a family and for the first (RFC 8305, section 4)."""
    assert interleaved(found) == expected


def test_those_who_ask_for_the_same_name_share_a_look_up(gate: Gate) -> None:
    """A hundred simultaneous requests make one query."""
    lookups = Lookups(clock=FakeClock())
    done = threading.Semaphore(0)
    found = [lookups.join("api.test", 443, done.release) for _ in range(100)]
    gate.wait_for(1)
    gate.open()
    for _ in found:
        assert done.acquire(timeout=PATIENCE_SECONDS)

    assert gate.asked == ["api.test"]
    assert all(lookup.addresses() == ["192.0.2.1"] for lookup in found)


def test_a_look_up_that_is_over_answers_no_later_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses change, and the system has a cache of its own."""
    names = give_names(monkeypatch, api_test=["192.0.2.1"])
    for _ in range(3):
        assert resolve("api.test", 443, PATIENCE_SECONDS) == ["192.0.2.1"]

    assert names.asked == ["api.test"] * 3


def test_a_look_up_that_hangs_is_not_joined_for_ever(gate: Gate) -> None:
    """After a while a new query is made, as the first may have been lost."""
    clock = FakeClock()
    lookups = Lookups(clock=clock)
    first = lookups.join("api.test", 443, object)
    clock.sleep(JOIN_SECONDS)
    second = lookups.join("api.test", 443, object)
    clock.sleep(1.0)
    third = lookups.join("api.test", 443, object)

    assert first is second
    assert third is not first
    assert lookups.join("api.test", 443, object) is third


def test_the_threads_are_limited(gate: Gate) -> None:
    """Further names wait for a free thread, and all are resolved."""
    lookups = Lookups(max_threads=3)
    done = threading.Semaphore(0)
    for number in range(10):
        lookups.join(f"{number}.test", 443, done.release)
    gate.wait_for(3)
    running = [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]
    gate.open()
    for _ in range(10):
        assert done.acquire(timeout=PATIENCE_SECONDS)

    assert len(running) == 3
    assert all(thread.daemon for thread in running)
    assert sorted(gate.asked) == [f"{number}.test" for number in range(10)]


def test_who_leaves_is_not_notified(gate: Gate) -> None:
    """The others that wait for the same name are."""
    lookups = Lookups()
    told: list[str] = []
    done = threading.Event()
    leaver, stayer = (lambda: told.append("leaver")), done.set
    lookup = lookups.join("api.test", 443, leaver)
    lookups.join("api.test", 443, stayer)
    lookups.leave(lookup, leaver)
    gate.open()

    assert done.wait(PATIENCE_SECONDS)
    assert told == []


def test_an_event_loop_that_has_ended_keeps_no_answer_from_the_others(gate: Gate) -> None:
    """A callback that its closed loop refuses does not stop the remaining ones."""
    lookups = Lookups()
    done = threading.Event()

    def ended() -> None:
        raise RuntimeError("Event loop is closed")

    lookups.join("api.test", 443, ended)
    lookups.join("api.test", 443, done.set)
    gate.open()

    assert done.wait(PATIENCE_SECONDS)


def test_where_no_thread_can_be_had_the_caller_looks_up_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """As while the interpreter exits: a call in an `atexit` function still works."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    give_names(monkeypatch, api_test=["192.0.2.1"])
    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert resolve("api.test", 443, PATIENCE_SECONDS) == ["192.0.2.1"]
    assert resolve("api.test", 443, PATIENCE_SECONDS) == ["192.0.2.1"]


def test_each_that_waits_gets_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each traceback is that of its own call."""
    give_names(monkeypatch)
    done = threading.Event()
    lookup = Lookups().join("api.test", 443, done.set)
    assert done.wait(PATIENCE_SECONDS)
    raised = []
    for _ in range(2):
        with pytest.raises(socket.gaierror) as caught:
            lookup.addresses()
        raised.append(caught.value)

    assert raised[0] is not raised[1]
    assert raised[0].args == raised[1].args


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_waits_for_no_thread_of_its_parent(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent's threads do not exist in the child, and the mutex may be held by one of them."""
    lookups = _resolver._lookups
    lookups.join("api.test", 443, object)
    gate.wait_for(1)
    with lookups._mutex:
        pid = os.fork()
        if not pid:
            status = 1
            try:
                threading.Timer(PATIENCE_SECONDS, os._exit, (2,)).start()
                monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("192.0.2.9", 443))])
                status = resolve("api.test", 443, None) != ["192.0.2.9"]
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


async def test_a_cancelled_task_stops_waiting_at_once(gate: Gate) -> None:
    """This holds on both event loops, however long the system takes."""
    with anyio.move_on_after(0) as scope:
        await _resolver.async_resolve("api.test", 443, None)

    assert scope.cancelled_caught
    assert all(lookup.waiting == [] for lookup in _resolver._lookups._open.values())
