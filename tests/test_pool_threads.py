"""The synchronous pool under many threads, and after a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import nodus._tls
from nodus import APIConnectionError, Client
from nodus._httpx import httpx
from tests.support.busy_server import BusyServer
from tests.support.certificates import make_certificates
from tests.support.server import LoopbackServer, answer
from tests.support.together import together

API_KEY = "nk_test_7Z4dMfQ3"
JOB = {"id": "job-1", "status": "running"}

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


def test_five_thousand_calls_from_64_threads_share_a_hundred_connections() -> None:
    """With default settings: no error, no connection beyond the limit."""
    with BusyServer(pause_seconds=0.002) as server:
        with Client(API_KEY, base_url=server.url) as client:
            jobs = together([lambda: client.get("job-1")] * 5000, threads=64)
        all_closed = server.wait_until_open(0)

    assert {job.id for job in jobs} == {"job-1"}
    assert len(jobs) == 5000
    assert server.opened <= 64
    assert all_closed


def test_more_threads_than_connections_wait_their_turn() -> None:
    with BusyServer(pause_seconds=0.002) as server, Client(API_KEY, base_url=server.url, max_connections=4) as client:
        jobs = together([lambda: client.get("job-1")] * 500, threads=32)
        free = client._session._pool._stack._limiter.free

    assert len(jobs) == 500
    assert free == 4
    assert server.opened <= 4


def test_a_process_has_one_tls_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading certificates takes longest of all, so that threads that come at once wait for one to do it."""
    certificates = make_certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    built: list[object] = []
    create = httpx.create_ssl_context

    def count() -> object:
        built.append(None)
        return create()

    monkeypatch.setattr(nodus._tls.httpx, "create_ssl_context", count)
    with BusyServer(tls=certificates.server) as server:
        clients = [Client(API_KEY, base_url=server.url) for _ in range(4)]
        together([client.healthz for client in clients * 8], threads=16)
        for client in clients:
            client.close()

    assert len(built) == 1


def test_certificates_that_were_replaced_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process outlives the file of a company's authority, which is renewed under the same name."""
    old, new = make_certificates(tmp_path / "old"), make_certificates(tmp_path / "new")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(old.authority.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with (
        LoopbackServer(then=answer(200, JOB), tls=new.server) as server,
        Client(API_KEY, base_url=server.url) as client,
    ):
        with pytest.raises(APIConnectionError, match="SSL_CERT_FILE"):
            client.get("job-1")
        os.replace(new.authority, trusted)
        assert client.get("job-1").id == "job-1"


def test_certificates_that_are_being_replaced_are_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Those from before stay in use, and the log says so, until there are others."""
    trusted = make_certificates(tmp_path).authority
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    before = nodus._tls.tls_context()
    content = trusted.read_bytes()
    trusted.write_bytes(b"")
    assert nodus._tls.tls_context() is before
    trusted.unlink()
    assert nodus._tls.tls_context() is before
    assert "SSL_CERT_FILE" in caplog.text
    trusted.write_bytes(content)

    assert nodus._tls.tls_context() is not before
    assert nodus._tls.tls_context() is nodus._tls.tls_context()


def test_plain_http_loads_no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []
    monkeypatch.setattr(nodus._tls.httpx, "create_ssl_context", lambda: built.append(None))
    monkeypatch.setattr(nodus._tls, "_contexts", {})
    with LoopbackServer(then=answer(200, JOB)) as server, Client(API_KEY, base_url=server.url) as client:
        client.get("job-1")

    assert built == []


@forks
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
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
    client = Client(API_KEY, base_url="http://127.0.0.1:9")
    client.close()

    def refused() -> bool:
        try:
            client.healthz()
        except Exception as exc:
            return getattr(exc, "code", None) == "client_closed"
        return False

    assert in_a_child(refused)
