"""Runs commands that wait on an event loop, and handles Ctrl-C and SIGTERM there, alike on asyncio and trio.

Signals are received, not raised, so that the work is cancelled in an orderly way, without a traceback. By themselves,
asyncio and trio differ in how `KeyboardInterrupt` arrives. asyncio's event loops of Windows receive no signals: there
Python's own handlers record them, and a task looks at what they recorded.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

import anyio

from .._errors import ConfigurationError
from . import exit_codes

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

BACKENDS = ("asyncio", "trio")
BACKEND_VARIABLE = "NODUS_BACKEND"

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LOOK_SECONDS = 0.1
"""How soon a signal is noticed on an event loop that receives none."""

_Result = TypeVar("_Result")


class Interruptible(Protocol):
    """What is notified when a signal comes."""

    def announce(self, number: int) -> None:
        """Say at once what becomes of the work; must not wait."""

    async def clean_up(self) -> None:
        """Do what must be done before the work is cancelled; must end by itself within a few seconds."""


def choose_backend(environ: Mapping[str, str] | None = None) -> str:
    """Return the name of the event loop to run on: `NODUS_BACKEND`, or asyncio.

    Raises:
        ConfigurationError: (`invalid_backend`) there is no such event loop, or trio is not installed.
    """
    backend = (os.environ if environ is None else environ).get(BACKEND_VARIABLE) or BACKENDS[0]
    if backend not in BACKENDS:
        raise ConfigurationError(
            f"{BACKEND_VARIABLE} must be one of {', '.join(BACKENDS)}, not {backend!r}.", code="invalid_backend"
        )
    if backend == "trio" and importlib.util.find_spec("trio") is None:
        raise ConfigurationError(
            f"{BACKEND_VARIABLE}=trio needs the package trio, which is not installed: pip install trio",
            code="invalid_backend",
        )
    return backend


def run(work: Callable[[], Awaitable[_Result]]) -> _Result:
    """Run work that handles interrupts itself."""
    return anyio.run(work, backend=choose_backend())


def run_interruptible(work: Callable[[], Awaitable[int]], interruptible: Interruptible) -> int:
    """Run work until it returns its exit status, or until a signal ends it.

    A second signal ends the process at once.

    Raises:
        Exception: what the work raised, if no signal came.
    """
    backend = choose_backend()
    outcome = _Outcome()
    try:
        anyio.run(_supervise, work, interruptible, outcome, backend=backend)
    except KeyboardInterrupt:
        # Raised where no handler is installed: not yet, or no longer. After a signal, this is the second one.
        if outcome.signal is not None:
            _leave_now(signal.SIGINT)
        outcome.signal = signal.SIGINT
        interruptible.announce(signal.SIGINT)
    if outcome.signal is not None:
        # Everything is done; another Ctrl-C now would only add a traceback to the interpreter's exit.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return exit_codes.of_signal(outcome.signal)
    if outcome.error is not None:
        raise outcome.error
    return outcome.status


class _Outcome:
    """How supervised work ended."""

    def __init__(self) -> None:
        self.status = exit_codes.OK
        self.error: Exception | None = None
        self.signal: int | None = None


async def _supervise(work: Callable[[], Awaitable[int]], interruptible: Interruptible, outcome: _Outcome) -> None:
    with _signals() as signals:
        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()
            tasks.start_soon(_receive, signals, interruptible, outcome, scope, tasks)
            with scope:
                try:
                    outcome.status = await work()
                # Kept aside, because the task group would wrap it in an exception group.
                except Exception as exc:
                    outcome.error = exc
            # After a signal, the clean-up is still running, and ends the task group itself.
            if outcome.signal is None:
                tasks.cancel_scope.cancel()


@contextlib.contextmanager
def _signals() -> Iterator[AsyncIterator[int]]:
    """Receive signals inside the block."""
    with contextlib.ExitStack() as stack:
        try:
            received: AsyncIterator[int] = stack.enter_context(anyio.open_signal_receiver(*SIGNALS))
        except NotImplementedError:
            received = stack.enter_context(_recorded_signals())
        yield received


@contextlib.contextmanager
def _recorded_signals() -> Iterator[AsyncIterator[int]]:
    """Receive signals inside the block, by handlers that run between two steps of the event loop."""
    recorded: deque[int] = deque()
    before = {number: signal.signal(number, lambda number, _: recorded.append(number)) for number in SIGNALS}

    async def received() -> AsyncIterator[int]:
        while True:
            while recorded:
                yield recorded.popleft()
            await anyio.sleep(LOOK_SECONDS)

    try:
        yield received()
    finally:
        for number, handler in before.items():
            # None: it was not Python that had set it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


async def _receive(
    signals: AsyncIterator[int],
    interruptible: Interruptible,
    outcome: _Outcome,
    scope: anyio.CancelScope,
    tasks: TaskGroup,
) -> None:
    async for number in signals:
        if outcome.signal is not None:
            _leave_now(number)
        outcome.signal = number
        interruptible.announce(number)
        # In a task of its own, so that this one is free to receive a second signal meanwhile.
        tasks.start_soon(_clean_up, interruptible, scope, tasks)


async def _clean_up(interruptible: Interruptible, scope: anyio.CancelScope, tasks: TaskGroup) -> None:
    # Before the cancellation: the client that cancels the job is closed with the work.
    await interruptible.clean_up()
    scope.cancel()
    tasks.cancel_scope.cancel()


def _leave_now(number: int) -> NoReturn:
    # `os._exit` skips the interpreter's own flush, and everything else that a hanging clean-up could hold up.
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(exit_codes.of_signal(number))
