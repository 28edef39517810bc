"""Ctrl-C in synchronous code: it passes through untouched, whatever the library was doing."""

from __future__ import annotations

import anyio
import pytest

import nodus
from nodus._httpx import httpx
from nodus._sync import network
from tests._sync.clients import on_loopback, scripted
from tests.support.clock import FakeClock
from tests.support.names import give_names
from tests.support.script import Script, job_reply
from tests.support.server import LoopbackServer, answer


def interrupt(request: httpx.Request) -> httpx.Response:
    """Somebody presses Ctrl-C while an answer is awaited."""
    raise KeyboardInterrupt


class InterruptedClock(FakeClock):
    """Somebody presses Ctrl-C during the first sleep."""

    def sleep(self, seconds: float) -> None:
        raise KeyboardInterrupt


def test_an_interrupt_during_a_request_is_not_retried() -> None:
    """It is neither wrapped nor swallowed."""
    script = Script(interrupt)
    with scripted(script) as client, pytest.raises(KeyboardInterrupt):
        client.run(image="i")

    assert len(script.requests) == 1


def test_an_interrupt_during_a_wait_leaves_the_job_alone() -> None:
    """No request but the poll was sent."""
    script = Script(job_reply("running"))
    with scripted(script, InterruptedClock()) as client, pytest.raises(KeyboardInterrupt):
        client.job("a-job").wait()

    assert [request.method for request in script.requests] == ["GET"]


def test_an_interrupt_takes_the_job_along_where_that_was_asked_for() -> None:
    """The job is cancelled once, and the interrupt is raised even if a second one comes."""
    script = Script(job_reply("running"), job_reply("cancelled"))
    with scripted(script, InterruptedClock()) as client, pytest.raises(KeyboardInterrupt):
        client.job("a-job").wait(cancel_on_exit=True)

    assert [request.method for request in script.requests] == ["GET", "POST"]


def test_an_interrupt_on_the_wire_costs_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit of one connection, the next call still works."""
    with LoopbackServer(then=answer(200, {"id": "1", "status": "running"})) as server:
        client = on_loopback(server, max_connections=1)
        client.get("a-job")
        for operation in ("write", "read"):
            with monkeypatch.context() as patch:
                patch.setattr(network.DeadlineStream, operation, pressed)
                with pytest.raises(KeyboardInterrupt):
                    client.get("a-job")
            status = client.get("a-job").status
            assert status == nodus.JobStatus.RUNNING
        client.close()


def pressed(*arguments: object, **options: object) -> None:
    """Somebody presses Ctrl-C in the middle of a system call."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "127.0.0.3"]], ids=["one", "several"])
def test_an_interrupt_while_trio_connects_is_not_in_a_group(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`except KeyboardInterrupt` catches it, although each address is tried in a task of its own."""
    monkeypatch.setenv("NODUS_ALLOW_INSECURE", "1")
    give_names(monkeypatch, api_test=addresses)
    monkeypatch.setattr("nodus._happy_eyeballs.begin_to_connect", pressed)

    async def main() -> None:
        async with nodus.AsyncClient("k", base_url="http://api.test:1", max_connections=1) as client:
            for _ in range(2):
                with pytest.raises(KeyboardInterrupt):
                    await client.get("a-job")

    anyio.run(main, backend="trio")
