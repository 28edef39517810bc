"""From a name to addresses, within a time limit: in threads of its own, which hold up the exit of nothing.

`socket.getaddrinfo` cannot be interrupted, and may take half a minute where DNS does not answer. The threads of an
event loop's executor are no place for it, because `asyncio.run` waits for them. These threads are daemons: whoever
waits may stop waiting at any time, and a program may end.

What needs no look-up starts no thread: an address, and the names of this machine. `localhost` and `*.localhost` are
loopback by definition (RFC 6761, section 6.3), and never asked of DNS, whose answer may be somebody else's machine.
"""

from __future__ import annotations

import copy
import ipaddress
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

import anyio
import anyio.lowlevel

from ._concurrency import Clock
from ._config import is_loopback

MAX_THREADS = 16
"""How many look-ups may be under way in a process; more wait their turn, within their own time limits."""

JOIN_SECONDS = 10.0
"""How long others join a look-up of the same name; after that it may hang for good, and another is begun."""

THREAD_NAME = "nodus resolver"

LOOPBACK = ("127.0.0.1", "::1") if socket.has_ipv6 else ("127.0.0.1",)
"""Where the names of this machine lead. Servers for one machine mostly listen on the first alone."""

Notify = Callable[[], object]


async def async_resolve(host: str, port: int, timeout: float | None) -> list[str]:
    """Return the addresses of a host, in the order in which to try them.

    Args:
        host: a name, or an address as text.
        port: the port to connect to.
        timeout: how many seconds to wait, or None.

    Raises:
        TimeoutError: no answer in time.
        OSError: there is no such name, or it could not be looked up.
        UnicodeError: it cannot be a name.
    """
    known = known_addresses(host)
    if known is not None:
        return known
    arrived = anyio.Event()
    notify = partial(_call_soon, anyio.lowlevel.current_token().native_token, arrived.set)
    lookup = _lookups.join(host, port, notify)
    try:
        with anyio.move_on_after(timeout):
            await arrived.wait()
    finally:
        _lookups.leave(lookup, notify)
    return lookup.addresses()


def resolve(host: str, port: int, timeout: float | None) -> list[str]:
    """Return the addresses of a host, in the order in which to try them; see `async_resolve`."""
    known = known_addresses(host)
    if known is not None:
        return known
    arrived = threading.Event()
    lookup = _lookups.join(host, port, arrived.set)
    try:
        arrived.wait(None if timeout is None else min(timeout, threading.TIMEOUT_MAX))
    finally:
        _lookups.leave(lookup, arrived.set)
    return lookup.addresses()


def known_addresses(host: str) -> list[str] | None:
    """The addresses of what needs no look-up: an address, or a name of this machine; None for any other name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return list(LOOPBACK) if is_loopback(host) else None
    return [host]


def interleaved(addresses: Iterable[str]) -> list[str]:
    """Order addresses so that the families take turns (RFC 8305, section 4): one that is dead costs one attempt."""
    distinct = list(dict.fromkeys(addresses))
    first = [address for address in distinct if (":" in address) == (":" in distinct[0])]
    other = [address for address in distinct if address not in first]
    turns = [address for pair in zip(first, other, strict=False) for address in pair]
    return [*turns, *first[len(other) :], *other[len(first) :]]


class Lookup:
    """One look-up, which several may wait for."""

    __slots__ = ("_error", "_found", "host", "is_done", "port", "started", "waiting")

    def __init__(self, host: str, port: int, started: float) -> None:
        self.host = host
        self.port = port
        self.started = started
        self.is_done = False
        self.waiting: list[Notify] = []
        self._found: list[str] = []
        self._error: BaseException | None = None

    def perform(self) -> None:
        """Ask the system, however long that takes."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            self._found = interleaved(str(address[4][0]) for address in found)
        except BaseException as exc:  # raised in the threads and tasks that wait: nobody would see it here
            self._error = exc.with_traceback(None)

    def addresses(self) -> list[str]:
        """Return what was found.

        Raises:
            TimeoutError: nothing was, so far.
        """
        if not self.is_done:
            raise TimeoutError(f"the name {self.host} was not resolved in time")
        if self._error is not None:
            # A copy for each that waits: raising one exception twice mixes up the tracebacks.
            raise copy.copy(self._error)
        return self._found


class Lookups:
    """The look-ups of a process: those for one name are shared, and the threads are limited.

    Args:
        max_threads: how many there may be; each ends as soon as it has nothing more to do.
    """

    def __init__(self, max_threads: int = MAX_THREADS, clock: Clock | None = None) -> None:
        self._max_threads = max_threads
        self._clock = Clock() if clock is None else clock
        self._mutex = threading.Lock()
        self._threads = 0
        self._queue: deque[Lookup] = deque()
        self._open: dict[tuple[str, int], Lookup] = {}

    def join(self, host: str, port: int, notify: Notify) -> Lookup:
        """Begin a look-up, or join one of the same name; `notify` is called, in another thread, once it is done."""
        now = self._clock.now()
        with self._mutex:
            lookup = self._open.get((host, port))
            is_new = lookup is None or now - lookup.started > JOIN_SECONDS
            if lookup is None or is_new:
                lookup = self._open[host, port] = Lookup(host, port, now)
                self._queue.append(lookup)
            lookup.waiting.append(notify)
            # Counted before it is started, under the mutex, so that two callers cannot both start the last one.
            needs_thread = is_new and self._threads < self._max_threads
            self._threads += needs_thread
        if needs_thread:
            try:
                threading.Thread(target=self._work, name=THREAD_NAME, daemon=True).start()
            except RuntimeError:
                # No thread can be had, as while the interpreter exits: then the caller waits without a time limit.
                self._work()
        return lookup

    def leave(self, lookup: Lookup, notify: Notify) -> None:
        """Stop waiting. The look-up itself cannot be cancelled, and goes on."""
        with self._mutex:
            if notify in lookup.waiting:
                lookup.waiting.remove(notify)

    def _work(self) -> None:
        while True:
            with self._mutex:
                if not self._queue:
                    self._threads -= 1
                    return
                lookup = self._queue.popleft()
            lookup.perform()
            with self._mutex:
                lookup.is_done = True
                waiting, lookup.waiting = lookup.waiting, []
                if self._open.get((lookup.host, lookup.port)) is lookup:
                    del self._open[lookup.host, lookup.port]
            # Outside the mutex: a callback belongs to an event loop, and may take a lock of its own.
            for notify in waiting:
                try:
                    notify()
                except RuntimeError:  # that event loop has ended
                    continue


def _call_soon(event_loop: object, callback: Notify) -> None:
    """Have an event loop of either kind call something soon, from any thread, without waiting for it.

    `anyio.from_thread.run_sync` would wait for the call, and so for ever if the loop ends at this moment.
    """
    # asyncio's method, or trio's.
    name = "call_soon_threadsafe" if hasattr(event_loop, "call_soon_threadsafe") else "run_sync_soon"
    getattr(event_loop, name)(callback)


_lookups = Lookups()


def _forget_lookups() -> None:
    global _lookups
    _lookups = Lookups()


if hasattr(os, "register_at_fork"):
    # The threads of the parent do not exist in the child, and one of them may have held the mutex.
    os.register_at_fork(after_in_child=_forget_lookups)
