"""From making a client to closing it: what is shared, whose it is to close, what is said about a forgotten one."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Awaitable, Callable

import pytest

import nodus
from tests._async.clients import on_loopback, scripted
from tests.support.script import AsyncScript, job, job_reply
from tests.support.server import LoopbackServer, answer

LISTING: dict[str, object] = {"jobs": [], "next_cursor": None}

Use = Callable[[nodus.AsyncClient], Awaitable[object]]


async def iterate(client: nodus.AsyncClient) -> None:
    """Read a whole listing."""
    async for _ in client.iter_jobs():
        pass


USES: dict[str, Use] = {
    "run": lambda client: client.run(image="i"),
    "get": lambda client: client.get("a-job"),
    "list": lambda client: client.list(),
    "iter_jobs": iterate,
    "healthz": lambda client: client.healthz(),
    "refresh": lambda client: client.job("a-job").refresh(),
    "wait": lambda client: client.job("a-job").wait(),
    "cancel": lambda client: client.job("a-job").cancel(),
    "logs": lambda client: client.job("a-job").logs(),
    "wait_all": lambda client: client.wait_all([client.job("a-job")]),
}


@pytest.mark.parametrize("use", USES)
async def test_a_closed_client_says_so(use: str) -> None:
    """At every use, and before anything is sent."""
    script = AsyncScript()
    client = scripted(script)
    await client.aclose()

    with pytest.raises(nodus.ConfigurationError) as caught:
        await USES[use](client)

    assert caught.value.code == "client_closed"
    assert script.requests == []


async def test_closing_twice_does_no_harm() -> None:
    """Nor does closing what was never used."""
    client = scripted(AsyncScript())
    before = client.is_closed
    await client.aclose()
    await client.aclose()

    assert (before, client.is_closed) == (False, True)
    assert repr(client) == f"{nodus.AsyncClient.__name__}(base_url='https://api.nodus.run')"


async def test_a_context_closes_its_client() -> None:
    """And a closed client does not open again."""
    client = scripted(AsyncScript(KeyError("a bug")))
    async with client as entered:
        with pytest.raises(KeyError):
            await entered.get("a-job")

    assert entered is client
    assert client.is_closed
    with pytest.raises(nodus.ConfigurationError):
        await client.__aenter__()


async def test_closing_gives_the_connections_back() -> None:
    """At once, in the same instant as `close` returns."""
    with LoopbackServer(then=answer(200, LISTING)) as server:
        async with on_loopback(server) as client:
            await client.list()
            open_before = client._session.is_leaking
        open_after = client._session.is_leaking

    assert (open_before, open_after) == (True, False)


async def test_a_child_shares_the_connections_of_its_parent() -> None:
    """Closing the child leaves the parent open; closing the parent ends both."""
    with LoopbackServer(then=answer(200, LISTING)) as server:
        async with on_loopback(server) as parent:
            await parent.list()
            async with parent.with_options(timeout=600) as child:
                await child.list()
            with pytest.raises(nodus.ConfigurationError):
                await child.list()
            await parent.list()
            other = parent.with_options(max_retries=0)
        with pytest.raises(nodus.ConfigurationError) as caught:
            await other.list()

    assert caught.value.code == "client_closed"
    assert (len(server.received), server.connections) == (3, 1)


class Tagged(nodus.AsyncClient):
    """A client of somebody's own, with something added."""

    tag = ""


async def test_a_child_has_what_a_subclass_added() -> None:
    """It is of the same class, and its methods find their attributes."""
    parent = Tagged("k", base_url="http://127.0.0.1:1")
    parent.tag = "a"
    child = parent.with_options(timeout=600)

    assert isinstance(child, Tagged)
    assert child.tag == "a"


async def test_an_injected_client_stays_its_owners() -> None:
    """It is not closed, and can serve another."""
    script = AsyncScript(then=job_reply("running"))
    async with scripted(script) as first:
        await first.get("a-job")
    async with scripted(script) as second:
        await second.get("a-job")

    assert len(script.requests) == 2


async def test_a_handle_uses_the_options_of_the_client_that_gave_it() -> None:
    """Timeouts and retries go with it."""
    script = AsyncScript(then=job_reply("running"))
    async with scripted(script) as client:
        handle = await client.with_options(timeout=3).get("a-job")
        await handle.refresh()

    assert [request.extensions["timeout"]["read"] for request in script.requests] == pytest.approx([3.0, 3.0])


async def test_a_client_that_was_forgotten_is_warned_about() -> None:
    """If it had connections open; the warning says which client, and what to do."""
    with LoopbackServer(then=answer(200, LISTING)) as server:
        client = on_loopback(server)
        await client.list()
        shown = repr(client)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del client
            gc.collect()
            messages = [str(warning.message) for warning in caught]
            # A warning holds on to the client that it is about, and with it to the socket.
            caught.clear()
            gc.collect()

    assert f"unclosed {shown}: use it as a context manager, or call its close method" in messages


async def test_a_client_without_connections_can_be_forgotten() -> None:
    """Never used, closed, over an injected one, or a child of one that is still there."""
    with LoopbackServer(then=answer(200, job())) as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        async with on_loopback(server) as parent:
            child = parent.with_options(timeout=600)
            await child.get("a-job")
            del child
            unused = on_loopback(server)
            del unused
            injected = scripted(AsyncScript(job_reply()))
            await injected.get("a-job")
            del injected
            gc.collect()
        del parent
        gc.collect()

    assert len(server.received) == 1


async def test_a_failed_constructor_leaves_nothing_to_warn_about() -> None:
    """There is no client then."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(nodus.ConfigurationError):
            nodus.AsyncClient("key", timeout=-1)
        gc.collect()
