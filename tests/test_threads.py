"""One synchronous client, many threads."""

from __future__ import annotations

import pytest

import nodus
from tests.support.script import job
from tests.support.server import Action, LoopbackServer, Received, answer, answer_and_hang_up, decide
from tests.support.together import together

THREADS = 64
PATIENCE_SECONDS = 600.0


@pytest.fixture(autouse=True)
def every_connection_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep idle connections however long a thread is held up: those that take their place would be counted too."""
    for module in ("connection", "pool"):
        monkeypatch.setattr(f"nodus._sync.{module}.KEEPALIVE_SECONDS", PATIENCE_SECONDS)


def echo(request: Received) -> Action:
    """A job with the id that was asked for."""
    return answer(200, job("running", id=request.target.rpartition("/")[2]))


def test_sixty_four_threads_share_a_client() -> None:
    """Each gets the response to its own request, over at most as many connections as threads."""
    with (
        LoopbackServer(then=decide(echo)) as server,
        nodus.Client("k", base_url=server.url, timeout=PATIENCE_SECONDS) as client,
    ):
        ids = together([lambda number=number: client.get(f"job-{number}").id for number in range(1000)], THREADS)

    assert ids == [f"job-{number}" for number in range(1000)]
    assert server.connections <= THREADS


def test_more_threads_than_connections_take_turns() -> None:
    """The limit holds, and every thread is served."""
    with (
        LoopbackServer(then=decide(echo)) as server,
        nodus.Client("k", base_url=server.url, timeout=PATIENCE_SECONDS, max_connections=3) as client,
    ):
        ids = together([lambda number=number: client.get(f"job-{number}").id for number in range(500)], THREADS)

    assert ids == [f"job-{number}" for number in range(500)]
    assert server.connections <= 3


def test_connections_that_die_under_many_threads_are_replaced() -> None:
    """The server closes each connection after its response, and no call fails."""
    with (
        LoopbackServer(then=answer_and_hang_up(200, job("running"))) as server,
        nodus.Client("k", base_url=server.url, timeout=PATIENCE_SECONDS, max_retries=0, max_connections=8) as client,
    ):
        jobs = together([lambda: client.get("a-job") for _ in range(300)], 16)

    assert {one.status for one in jobs} == {"running"}
    assert len(server.received) == 300
