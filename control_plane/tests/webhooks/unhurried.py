"""What makes tests of webhooks independent of how busy the machine is, and of what name servers it has."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from patience import PATIENCE_SECONDS

from nodus_control.webhooks.sending import Sender


@pytest.fixture(autouse=True)
def no_attempt_runs_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the machine takes, an attempt that hangs is under way until its test is over, and of one worker."""
    defaults = Sender.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "timeout_seconds", 10 * PATIENCE_SECONDS)
    monkeypatch.setattr("nodus_control.webhooks.deliverer.LEASE_MS", round(20_000 * PATIENCE_SECONDS))


@pytest.fixture(autouse=True)
def no_name_server_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of endpoints have no address here: a name server might take its time, or know one."""
    ask = socket.getaddrinfo

    def look_up(host: Any, *facts: Any, **more: Any) -> Any:
        if str(host).endswith((".com", ".internal")):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return ask(host, *facts, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
