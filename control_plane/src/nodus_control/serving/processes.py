"""Several processes behind one address: each answers requests by itself, and all share the database.

The first one listens and supervises; the others accept connections from its socket. One that dies is replaced. All end
with the first one, whether it is told to stop or killed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from ..concurrency.threads import begin_thread
from .interrupts import Interrupts, catching_interrupts
from .server import START_SECONDS, ServerFailed

STOPPING_SECONDS = 15.0
REPLACE_SECONDS = 1.0
"""How long, in real seconds, to wait before replacing one that died, so that one that cannot live does not spin."""

Answer = Callable[[socket.socket, Callable[[], None], Interrupts], None]
"""Answers requests on a socket until it is interrupted, and calls its second argument when ready. Picklable."""


class Processes:
    """Starts the processes, replaces those that die, and ends them.

    Args:
        answer: what each process does.
        listening: the socket that they share.
        count: how many there are.
    """

    def __init__(self, answer: Answer, listening: socket.socket, count: int) -> None:
        self._answer = answer
        self._listening = listening
        self._count = count
        # A fresh interpreter each: a fork would copy whatever threads here hold half-way.
        self._context = multiprocessing.get_context("spawn")
        self._running: list[BaseProcess] = []

    def start(self) -> None:
        """Start them all; return once all answer requests.

        Raises:
            ServerFailed: one of them ended, or they did not all answer within a minute per process.
        """
        started = [self._start() for _ in range(self._count)]
        deadline = time.monotonic() + START_SECONDS * self._count
        for process, ready in started:
            try:
                if not ready.poll(max(0.0, deadline - time.monotonic())):
                    raise ServerFailed("a process did not start: no answer")
                ready.recv()
            except EOFError as exc:
                process.join()
                raise ServerFailed(f"a process did not start: it ended with status {process.exitcode}") from exc
            finally:
                ready.close()

    def watch(self, interrupts: Interrupts) -> None:
        """Replace those that die, until one of the signals comes."""
        signalled = interrupts.fileno()
        while True:
            ended = multiprocessing.connection.wait([signalled, *(process.sentinel for process in self._running)])
            if signalled in ended:
                return
            for process in [process for process in self._running if process.sentinel in ended]:
                process.join()
                self._running.remove(process)
                print(f"a process ended with status {process.exitcode}; starting another", file=sys.stderr)  # noqa: T201
                if multiprocessing.connection.wait([signalled], REPLACE_SECONDS):
                    return
                self._start()[1].close()

    def stop(self) -> None:
        """End them all."""
        for process in self._running:
            process.terminate()
        deadline = time.monotonic() + STOPPING_SECONDS
        for process in self._running:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode is None:
                process.kill()
                process.join()
        self._running.clear()

    def _start(self) -> tuple[BaseProcess, Connection]:
        ready, says_ready = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_run, args=(self._answer, self._listening, says_ready), name="nodus-api")
        process.start()
        says_ready.close()
        self._running.append(process)
        return process, ready


def _run(answer: Answer, listening: socket.socket, says_ready: Connection) -> None:
    with catching_interrupts() as interrupts:
        begin_thread("nodus-parent", _end_with_parent)

        def tell() -> None:
            # Nobody waits for a process that replaces another.
            with contextlib.suppress(BrokenPipeError):
                says_ready.send(True)
            says_ready.close()

        answer(listening, tell, interrupts)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
