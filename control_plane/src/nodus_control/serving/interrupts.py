"""Waiting for SIGINT or SIGTERM without losing one.

A Python signal handler runs only once the main thread runs Python again; a signal that comes just before that thread
blocks is noticed when it is too late. The interpreter's wakeup descriptor is written at once, whatever runs.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """The signals that came."""

    def __init__(self, reader: socket.socket) -> None:
        self._reader = reader

    def fileno(self) -> int:
        """Return what becomes readable once a signal came."""
        return self._reader.fileno()

    def wait(self) -> signal.Signals:
        """Wait for one of the signals; return it. Those that came before count."""
        while True:
            number = self._reader.recv(1)[0]
            if number in SIGNALS:
                return signal.Signals(number)


@contextlib.contextmanager
def catching_interrupts() -> Iterator[Interrupts]:
    """Collect SIGINT and SIGTERM inside the block, instead of ending the process. For the main thread."""
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        before = {number: signal.signal(number, lambda _number, _frame: None) for number in SIGNALS}
        descriptor = signal.set_wakeup_fd(writer.fileno())
        try:
            yield Interrupts(reader)
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)
