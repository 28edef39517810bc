"""The synchronous pool under many threads, and after a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

import nodus._tls
from nodus import Client
from tests.support.busy_server import BusyServer
from tests.support.server import LoopbackServer, answer
from tests.support.together import together

API_KEY = "nk_test_7Z4dMfQ3"
JOB = {"id": "job-1", "status": "running"}
PATIENCE_SECONDS = 600.0

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def in_a_child(work: Callable[[], bool]) -> bool:
    """Run `work` in a forked child, which is given two minutes; say whether it returned True."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            threading.Timer(120, os._exit, (2,)).start()
            status = 0 if work() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.fixture
def every_connection_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep idle connections however long a thread is held up: those that take their place would be counted too."""
    for module in ("connection", "pool"):
        monkeypatch.setattr(f"nodus._sync.{module}.KEEPALIVE_SECONDS", PATIENCE_SECONDS)


@pytest.mark.usefixtures("every_connection_is_kept")
def test_five_thousand_calls_from_64_threads_share_a_hundred_connections() -> None:
    """With the default limit: no error, and no connection beyond it, however slow the machine is."""
    with BusyServer(pause_seconds=0.002) as server:
        with Client(API_KEY, base_url=server.url, timeout=PATIENCE_SECONDS) as client:
            jobs = together([lambda: client.get("job-1")] * 5000, threads=64)
        all_closed = server.wait_until_open(0)

    assert {job.id for job in jobs} == {"job-1"}
    assert len(jobs) == 5000
    assert server.opened <= 64
    assert all_closed


@pytest.mark.usefixtures("every_connection_is_kept")
def test_more_threads_than_connections_wait_their_turn() -> None:
    """The limit holds, every call succeeds, and every place is given back."""
    with (
        BusyServer(pause_seconds=0.002) as server,
        Client(API_KEY, base_url=server.url, timeout=PATIENCE_SECONDS, max_connections=4) as client,
    ):
        jobs = together([lambda: client.get("job-1")] * 500, threads=32)
        free = client._session._pool._stack._limiter.free

    assert len(jobs) == 500
    assert free == 4
    assert server.opened <= 4


@forks
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.usefixtures("every_connection_is_kept")
def test_a_child_gets_connections_of_its_own() -> None:
    """The parent's would mix up the two processes' answers; and the parent keeps those."""
    with LoopbackServer(then=answer(200, JOB)) as server:
        with Client(API_KEY, base_url=server.url) as client:
            client.get("job-1")
            worked = in_a_child(lambda: client.get("job-1").id == "job-1" and client.get("job-1").id == "job-1")
            client.get("job-1")

        assert worked
        assert [received.connection for received in server.received] == [1, 2, 2, 1]


@forks
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_is_not_held_up_by_locks_that_threads_of_the_parent_hold() -> None:
    """The threads that would release them do not exist in the child."""
    with LoopbackServer(then=answer(200, JOB)) as server:
        with Client(API_KEY, base_url=server.url, max_connections=1) as client:
            client.get("job-1")
            stack = client._session._pool._stack
            with stack._mutex, stack._limiter._mutex, nodus._tls._mutex:
                worked = in_a_child(
                    lambda: (
                        client.get("job-1").id == "job-1"
                        and all(job.id == "job-1" for job in together([lambda: client.get("job-1")] * 8, threads=4))
                        and nodus._tls.tls_context() is not None
                    )
                )

        assert worked


@forks
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_client_that_was_closed_is_closed_in_a_child_too() -> None:
    """A fork does not reopen it."""
    client = Client(API_KEY, base_url="http://127.0.0.1:9")
    client.close()

    def refused() -> bool:
        try:
            client.healthz()
        except Exception as exc:
            return getattr(exc, "code", None) == "client_closed"
        return False

    assert in_a_child(refused)
