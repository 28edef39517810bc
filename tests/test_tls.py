"""The TLS context of a process: made once, with the certificates that the environment names, and renewed with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodus import APIConnectionError, Client, ConfigurationError, _tls
from nodus._httpx import httpx
from tests.support.busy_server import BusyServer
from tests.support.certificates import make_certificates
from tests.support.server import LoopbackServer, answer
from tests.support.together import together

API_KEY = "nk_test_7Z4dMfQ3"
JOB = {"id": "job-1", "status": "running"}


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the variables that say where they are: nothing was loaded before that could be used instead."""
    path = tmp_path / "authority.pem"
    path.write_bytes(b"no certificates")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.setattr(_tls, "_contexts", {})

    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE and SSL_CERT_DIR") as caught:
        _tls.tls_context()

    assert caught.value.code == "invalid_ca_certificates"


def test_a_process_has_one_tls_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading certificates takes longest of all, so that threads that come at once wait for one to do it."""
    certificates = make_certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    built: list[object] = []
    create = httpx.create_ssl_context

    def count() -> object:
        built.append(None)
        return create()

    monkeypatch.setattr(_tls.httpx, "create_ssl_context", count)
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
    # Of another time than what takes its place below, which may come in the same tick of the file system's clock.
    os.utime(trusted, (0, 0))
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    before = _tls.tls_context()
    content = trusted.read_bytes()
    trusted.write_bytes(b"")
    assert _tls.tls_context() is before
    trusted.unlink()
    assert _tls.tls_context() is before
    assert "SSL_CERT_FILE" in caplog.text
    trusted.write_bytes(content)

    assert _tls.tls_context() is not before
    assert _tls.tls_context() is _tls.tls_context()


def test_plain_http_loads_no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are what takes longest, and nothing would use them."""
    built: list[object] = []
    monkeypatch.setattr(_tls.httpx, "create_ssl_context", lambda: built.append(None))
    monkeypatch.setattr(_tls, "_contexts", {})
    with LoopbackServer(then=answer(200, JOB)) as server, Client(API_KEY, base_url=server.url) as client:
        client.get("job-1")

    assert built == []
