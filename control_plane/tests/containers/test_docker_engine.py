"""Whoever waits for an engine is let go when its connections are closed, however little has come until then."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from patience import PATIENCE_SECONDS

from nodus_control.suppliers.docker import images as fetches
from nodus_control.suppliers.docker.engine import Engine
from nodus_control.suppliers.docker.images import Images
from nodus_control.suppliers.docker.references import parse_reference
from nodus_control.suppliers.docker.troubles import Troubles
from nodus_control.suppliers.protocol import EngineUnavailable
from nodus_core.suppliers_file import DockerOptions, UnixEndpoint

FOR_EVER = 10 * PATIENCE_SECONDS


class SilentEngine:
    """Takes requests and answers none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._listener.settimeout(PATIENCE_SECONDS)
        self._taken: list[socket.socket] = []

    def take(self) -> bytes:
        """Return the head of the next request."""
        connection, _ = self._listener.accept()
        self._taken.append(connection)
        connection.settimeout(PATIENCE_SECONDS)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            part = connection.recv(4096)
            assert part, "the connection was closed"
            head += part
        return head

    def close(self) -> None:
        for each in (self._listener, *self._taken):
            each.close()


@pytest.fixture
def silent() -> Iterator[SilentEngine]:
    folder = Path(tempfile.mkdtemp(prefix="nodus-silent-"))  # one whose name is short enough for a socket's
    made = SilentEngine(folder / "s")
    yield made
    made.close()
    shutil.rmtree(folder)


@pytest.fixture
def engine(silent: SilentEngine) -> Engine:
    return Engine(DockerOptions(UnixEndpoint(str(silent.path))))


def streamed(engine: Engine) -> None:
    """Wait for what a program prints."""
    with (
        pytest.raises(EngineUnavailable),
        engine.stream("GET", "/logs", params={}, answer_seconds=FOR_EVER, silence_seconds=None) as stream,
    ):
        stream.read(1)


def ended(work: Callable[[], object]) -> bool:
    """Say whether it ends in time."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    return not thread.is_alive()


def test_a_stream_that_has_not_begun_is_cut(engine: Engine, silent: SilentEngine) -> None:
    """An engine sends nothing at all before the program prints something."""
    waiting = threading.Thread(target=streamed, args=(engine,))
    waiting.start()
    silent.take()
    engine.close()
    waiting.join(PATIENCE_SECONDS)

    assert not waiting.is_alive()


def test_a_stream_does_not_outlive_an_engine_that_was_closed_as_it_began(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would be left to cut it."""
    connect: Callable[[], socket.socket] = engine._connect

    def connect_late() -> socket.socket:
        connection = connect()
        engine.close()
        return connection

    monkeypatch.setattr(engine, "_connect", connect_late)

    assert ended(lambda: streamed(engine))


def test_an_engine_that_is_closed_is_asked_nothing(engine: Engine) -> None:
    """Neither at length nor in short, and whoever tries knows that nothing was sent."""
    engine.close()
    with pytest.raises(EngineUnavailable) as unavailable:
        engine.ask("GET", "/version")

    assert unavailable.value.never_sent
    assert ended(lambda: streamed(engine))


def test_a_fetch_from_a_registry_that_says_nothing_is_cut(
    engine: Engine, silent: SilentEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's answer begins with the registry's."""
    monkeypatch.setattr(fetches, "SILENCE_SECONDS", FOR_EVER)
    images = Images(engine, Troubles("lab"), {})
    images.pull(parse_reference("ghcr.io/acme/train:1"), "job")
    head = silent.take()
    engine.close()

    assert ended(images.close)
    assert head.startswith(b"POST /v1.41/images/create?fromImage=ghcr.io%2Facme%2Ftrain&tag=1 HTTP/1.1\r\n")
    assert b"\r\nContent-Length: 0\r\n" in head
