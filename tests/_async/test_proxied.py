"""Calls through proxies of every kind: what is reused, what is named, and when a call that gets stuck there ends."""

from __future__ import annotations

from pathlib import Path

import pytest

import nodus
from nodus._async import network
from tests._async.clients import API_KEY
from tests.support.certificates import CERTIFIED, Certificates, make_certificates
from tests.support.optional import import_or_skip
from tests.support.proxies import SOCKS, TUNNEL
from tests.support.server import Action, LoopbackServer, answer, answer_and_hang_up
from tests.support.silence import Silence, async_until_silent

JOB = {"id": "job-1", "status": "running"}


@pytest.fixture(autouse=True)
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    """A server certificate that clients trust; and plain http will do."""
    import_or_skip("socksio", "httpcore speaks to SOCKS proxies with it")
    made = make_certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    monkeypatch.setenv("NODUS_ALLOW_INSECURE", "1")
    return made


def client_of(server: LoopbackServer, scheme: str) -> nodus.AsyncClient:
    url = f"{scheme}://{CERTIFIED}:{server.port}"
    return nodus.AsyncClient(API_KEY, base_url=url, timeout=120, max_retries=0, max_connections=1)


WAYS = [
    pytest.param("http", "http", None, id="forward"),
    pytest.param("https", "http", TUNNEL, id="tunnel"),
    pytest.param("http", "socks5", SOCKS, id="socks"),
    pytest.param("https", "socks5h", SOCKS, id="socks, https"),
]


@pytest.mark.parametrize(("scheme", "kind", "action"), WAYS)
async def test_a_connection_through_a_proxy_is_kept(
    scheme: str, kind: str, action: Action | None, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reused, and once the other side has closed it, replaced without a word."""
    script = [answer(200, JOB), answer_and_hang_up(200, JOB)]
    tls = certificates.server if scheme == "https" else None
    with (
        LoopbackServer(*script, then=answer(200, JOB), tls=tls) as server,
        LoopbackServer(*(script if action is None else ()), then=action or answer(200, JOB)) as proxy,
    ):
        monkeypatch.setenv("ALL_PROXY", f"{kind}://127.0.0.1:{proxy.port}")
        async with client_of(server, scheme) as client:
            for _ in range(4):
                assert (await client.get("job-1")).id == "job-1"

        end = proxy if action is None else server
        assert [received.connection for received in end.received] == [1, 1, 2, 2]
        assert proxy.connections == 2


@pytest.mark.parametrize(("scheme", "kind", "action"), WAYS)
async def test_a_stalled_proxy_ends_with_the_attempt(
    scheme: str, kind: str, action: Action | None, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it stalls, it is named, and the place is free afterwards."""
    tls = certificates.server if scheme == "https" else None
    silence = Silence()
    stall = Action(silence.keep, reads=action is None or action.reads)
    with (
        LoopbackServer(then=answer(200, JOB), tls=tls) as server,
        LoopbackServer(then=stall) as stalled,
        LoopbackServer(then=action or answer(200, JOB)) as proxy,
    ):
        async with client_of(server, scheme) as client:
            monkeypatch.setenv("ALL_PROXY", f"{kind}://127.0.0.1:{stalled.port}")
            with monkeypatch.context() as patch:
                patch.setattr(network, "async_receive", async_until_silent(silence))
                with pytest.raises(nodus.APITimeoutError, match="through the proxy"):
                    await client.get("job-1")
            monkeypatch.setenv("ALL_PROXY", f"{kind}://127.0.0.1:{proxy.port}")
            assert (await client.get("job-1")).id == "job-1"


async def test_a_handshake_that_stalls_behind_a_proxy_ends_with_the_attempt(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tunnel is open by then; nothing was sent through it."""
    silence = Silence(everywhere=True)
    monkeypatch.setattr(network, "async_receive", async_until_silent(silence))
    with LoopbackServer(then=Action(silence.keep, reads=False)) as server, LoopbackServer(then=TUNNEL) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        async with client_of(server, "https") as client:
            with pytest.raises(nodus.APITimeoutError, match="through the proxy") as caught:
                await client.run(image="i")

    assert not caught.value.outcome_unknown


async def test_an_https_proxy_is_tunnelled_through_with_tls_in_tls(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handshake with the server goes through that with the proxy; both certificates are checked."""
    with (
        LoopbackServer(then=answer(200, JOB), tls=certificates.server) as server,
        LoopbackServer(then=TUNNEL, tls=certificates.server) as proxy,
    ):
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        async with client_of(server, "https") as client:
            for _ in range(2):
                assert (await client.get("job-1")).id == "job-1"

        assert [received.connection for received in server.received] == [1, 1]
