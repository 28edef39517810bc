"""Names for tests, without DNS: what `socket.getaddrinfo` says of them, at once or never."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from nodus._resolver import THREAD_NAME

PATIENCE_SECONDS = 60.0


class Names:
    """Answers for a few names; any other does not exist.

    Args:
        addresses: what each name resolves to, in order.

    Attributes:
        asked: the names that were looked up, in order.
    """

    def __init__(self, addresses: Mapping[str, Sequence[str]]) -> None:
        self._addresses = addresses
        self._ask = socket.getaddrinfo
        self.asked: list[str] = []

    def getaddrinfo(self, host: Any, port: Any, *arguments: Any, **options: Any) -> list[Any]:
        """Stand in for that of `socket`; addresses go to the real one."""
        if not isinstance(host, str) or host.replace(".", "").isdecimal() or ":" in host:
            return self._ask(host, port, *arguments, **options)
        self.asked.append(host)
        if host not in self._addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            entry for address in self._addresses[host] for entry in self._ask(address, port, type=socket.SOCK_STREAM)
        ]


def give_names(monkeypatch: pytest.MonkeyPatch, **addresses: Sequence[str]) -> Names:
    """Let `api_test=["127.0.0.1"]` say what `api.test` resolves to."""
    names = Names({name.replace("_", "."): found for name, found in addresses.items()})
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    return names


@contextlib.contextmanager
def silent_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    """Let no look-up of a name end before the block does."""
    over = threading.Event()

    class Silence(Names):
        def getaddrinfo(self, host: Any, port: Any, *arguments: Any, **options: Any) -> list[Any]:
            if host.endswith(".test"):
                self.asked.append(host)
                over.wait()
            return super().getaddrinfo(host, port, *arguments, **options)

    names = Silence({})
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    try:
        yield names
    finally:
        over.set()
        wait_for_look_ups()


def wait_for_look_ups() -> None:
    """Wait until no look-up is under way any more, which a later test with the same names would join."""
    for thread in threading.enumerate():
        if thread.name == THREAD_NAME:
            thread.join(PATIENCE_SECONDS)


DEAD = "127.0.0.2"
"""Loopback too, but not where servers for tests listen."""


@contextlib.contextmanager
def dead_address(port: int) -> Iterator[str]:
    """An address that answers to nothing at this port, as if every packet were lost: its queue is full."""
    with contextlib.ExitStack() as stack:
        try:
            listener = stack.enter_context(socket.create_server((DEAD, port), backlog=0))
        except OSError:
            pytest.skip(f"this system has no address {DEAD}")
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        select.select([listener], [], [], PATIENCE_SECONDS)
        yield DEAD
