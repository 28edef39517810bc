"""An asynchronous client lives on one event loop: its connections do."""

from __future__ import annotations

import gc

import anyio
import anyio.lowlevel
import pytest

import nodus
from tests._async.clients import scripted
from tests.support.script import AsyncScript, job_reply
from tests.support.server import LoopbackServer, answer

BACKENDS = ["asyncio", "trio"]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the connection of the first loop is lost with it
@pytest.mark.parametrize("first", BACKENDS)
@pytest.mark.parametrize("second", BACKENDS)
def test_a_second_event_loop_is_refused(first: str, second: str) -> None:
    """With an error that says what to do, instead of a hang or a foreign exception."""
    with LoopbackServer(then=answer(200, {"status": "ok"})) as server:
        client = nodus.AsyncClient("k", base_url=server.url)
        anyio.run(client.healthz, backend=first)
        with pytest.raises(nodus.ConfigurationError, match="one client for each") as caught:
            anyio.run(client.healthz, backend=second)
        code = caught.value.code
        del caught, client
        gc.collect()

    assert code == "wrong_event_loop"
    assert len(server.received) == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the connection of the first loop is lost with it
@pytest.mark.parametrize("first", BACKENDS)
@pytest.mark.parametrize("second", BACKENDS)
def test_closing_on_a_second_event_loop_is_refused(first: str, second: str) -> None:
    """The connections cannot be closed from there; the client is closed all the same."""
    with LoopbackServer(then=answer(200, {"status": "ok"})) as server:
        client = nodus.AsyncClient("k", base_url=server.url)
        anyio.run(client.healthz, backend=first)
        with pytest.raises(nodus.ConfigurationError, match="close it there") as caught:
            anyio.run(client.aclose, backend=second)
        code, is_closed = caught.value.code, client.is_closed
        del caught, client
        gc.collect()

    assert (code, is_closed) == ("wrong_event_loop", True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_unused_client_can_be_closed_on_any_loop(backend: str) -> None:
    """It has no connections."""
    client = nodus.AsyncClient("k", base_url="http://127.0.0.1:1")
    anyio.run(client.aclose, backend=backend)

    assert client.is_closed


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_client_can_be_made_before_there_is_a_loop(backend: str) -> None:
    """As a module's global often is; it belongs to the loop that uses it first."""
    with LoopbackServer(then=answer(200, {"status": "ok"})) as server:
        client = nodus.AsyncClient("k", base_url=server.url)

        async def main() -> dict[str, object]:
            async with client:
                return await client.healthz()

        health = anyio.run(main, backend=backend)

    assert health == {"status": "ok"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_client_for_each_loop_is_fine(backend: str) -> None:
    """Nothing is shared behind their backs."""

    async def main(url: str) -> None:
        async with nodus.AsyncClient("k", base_url=url) as client:
            await client.healthz()

    with LoopbackServer(then=answer(200, {"status": "ok"})) as server:
        for _ in range(3):
            anyio.run(main, server.url, backend=backend)

    assert server.connections == 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_callback_of_a_wait_may_be_a_coroutine_function(backend: str) -> None:
    """Each call is over before the next poll, and what it raises ends the wait."""
    seen: list[nodus.JobStatus] = []

    async def show(job: nodus.AsyncJob) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(job.status)

    async def fail(job: nodus.AsyncJob) -> None:
        raise RuntimeError("the callback failed")

    async def main() -> None:
        script = AsyncScript(job_reply("running"), job_reply("completed"), job_reply("running"))
        async with scripted(script) as client:
            await client.job("a-job").wait(on_update=show)
            with pytest.raises(RuntimeError, match="the callback failed"):
                await client.job("a-job").wait(on_update=fail)

    anyio.run(main, backend=backend)

    assert seen == [nodus.JobStatus.RUNNING, nodus.JobStatus.COMPLETED]
