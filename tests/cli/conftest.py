"""Runs the command in this process, against a stub of a control plane."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from nodus import AsyncClient
from nodus._cli import main
from tests.cli.pseudo_terminal import PATIENCE_SECONDS
from tests.cli.stub import API_KEY, Stub, serving


class Result(NamedTuple):
    """How the command ended, and what it wrote."""

    status: int
    stdout: str
    stderr: str


Command = Callable[..., Result]

LIMITS = (
    "nodus._cli.listening.FORWARD_SECONDS",
    "nodus._cli.listening.LEAVING_SECONDS",
    "nodus._cli.waiting.CANCEL_SECONDS",
    "nodus._poll.LAST_POLL_SECONDS",
    "nodus._async.event_stream.CATCHING_UP_SECONDS",
    "nodus._async.log_stream.CATCHING_UP_SECONDS",
)
"""What an answer may take, where the command is in a hurry. A busy machine may need longer for one."""


@pytest.fixture
def stub() -> Iterator[Stub]:
    """A control plane that answers what the test says."""
    with serving() as server:
        yield server


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The event loop that the command is told to run on."""
    name: str = request.param
    monkeypatch.setenv("NODUS_BACKEND", name)
    return name


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder in which the command remembers what it saw: no test's is another's, or the developer's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "nodus"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for every answer, however late it comes: no test here is about an answer that does not come in time."""
    for limit in LIMITS:
        monkeypatch.setattr(limit, PATIENCE_SECONDS)
    defaults = AsyncClient.__init__.__kwdefaults__ or {}
    assert "timeout" in defaults
    monkeypatch.setitem(defaults, "timeout", PATIENCE_SECONDS)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """The command as a function of its arguments."""
    before = signal.getsignal(signal.SIGINT)

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["nodus", *arguments])
        status = main()
        written = capfd.readouterr()
        return Result(status, written.out, written.err)

    yield run
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def nodus(stub: Stub, command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, set up to talk to the stub."""
    monkeypatch.setenv("NODUS_API_KEY", API_KEY)
    monkeypatch.setenv("NODUS_BASE_URL", stub.base_url)
    return command
