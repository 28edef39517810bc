"""The calls of one supplier's engine: a few threads of its own, a limit for each call, and a circuit breaker.

An engine that hangs holds its own threads and nothing else. A call that has not come back at its limit is abandoned:
its thread counts as busy until it returns, and what it then says is dropped.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from nodus_ledger.jobs.claiming import Claim
from nodus_ledger.jobs.settlement import Step

from ..concurrency.threads import begin_thread
from .circuit import Circuit

THREADS = 8

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dealt:
    """What became of a claim.

    Attributes:
        claim: which; None for a probe, which asks after the engine alone.
        step: what is to be written; None where the engine was not asked, or its answer was not awaited.
        answered: whether the engine answered; None where it was not asked anything.
        may_go_on: whether a call that was abandoned may still begin something, so that nobody else must have the claim
            before its lease is over.
        is_sent: whether anything that may begin something was sent before a call was abandoned. Where it was not,
            nothing will be any more.
    """

    claim: Claim | None
    step: Step | None
    answered: bool | None
    may_go_on: bool = False
    is_sent: bool = False


class CallAbandoned(Exception):
    """Nobody waits for what this call would still say, and it must not ask for anything more."""


class Call:
    """The dealing with one claim, or with a probe, which has none; it may ask the engine several things.

    `limit` is told before each of them.

    Attributes:
        claim: which.
        is_abandoned: whether its limit has passed, and it was given up.
        may_go_on: whether what it asks now may begin something.
        is_sent: whether that may be said of anything that it has asked.
        came_too_late: whether its claim was found to be over just before something would have begun.
    """

    def __init__(self, claim: Claim | None, monotonic: Callable[[], float]) -> None:
        self.claim = claim
        self.is_abandoned = False
        self.may_go_on = False
        self.is_sent = False
        self.came_too_late = False
        self._monotonic = monotonic
        self._until = float("inf")
        # What is abandoned as unsent is never sent: of asking and abandoning one comes first.
        self._lock = threading.Lock()

    def limit(self, seconds: float, *, changes_something: bool) -> None:
        """Say that the engine is asked now, how long it may take, and whether it may begin something by that.

        Raises:
            CallAbandoned: it was given up meanwhile.
        """
        with self._lock:
            if self.is_abandoned:
                raise CallAbandoned
            self.may_go_on = changes_something
            self.is_sent = self.is_sent or changes_something
            self._until = self._monotonic() + seconds

    def nothing_was_sent(self) -> None:
        """Say that what was asked last did not leave this machine."""
        with self._lock:
            self.is_sent = False

    def abandon_if_over(self, now: float) -> bool:
        """Give it up if its limit has passed; say whether that is so."""
        with self._lock:
            self.is_abandoned = self.is_abandoned or now >= self._until
            return self.is_abandoned


class Lane:
    """Deals with the claims of one supplier, in threads.

    Args:
        supplier: its name.
        deal: deals with a claim, in a thread of its own; whatever it raises is its caller's fault.
        on_ready: called, in any thread, when something can be collected.
        now: the control plane's clock, in seconds: how long an open circuit is left alone.
        monotonic: real time, in seconds: how long a call may take.
    """

    def __init__(
        self,
        supplier: str,
        deal: Callable[[Call], Dealt],
        on_ready: Callable[[], None],
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.supplier = supplier
        self._deal = deal
        self._on_ready = on_ready
        self._now = now
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._circuit = Circuit()
        self._waiting: deque[Claim | None] = deque()
        self._running: set[Call] = set()
        self._abandoned = 0
        self._done: list[Dealt] = []
        self._threads = 0
        self._closing = False

    @property
    def is_unreachable(self) -> bool:
        """Whether the engine does not answer."""
        with self._changed:
            return self._circuit.is_open or self._is_stuck

    @property
    def held(self) -> list[Claim]:
        """The claims that wait here, or are being dealt with: their leases are to be renewed."""
        with self._changed:
            everything = [*self._waiting, *(call.claim for call in self._running)]
        return [claim for claim in everything if claim is not None]

    @property
    def free(self) -> int:
        """How many more claims can be dealt with at once."""
        with self._changed:
            return THREADS - self._abandoned - len(self._running) - len(self._waiting)

    @property
    def is_busy(self) -> bool:
        """Whether something is being dealt with, or waits for that."""
        with self._changed:
            return bool(self._waiting or self._running)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to wait for, nor to collect."""
        with self._changed:
            return not (self._waiting or self._running or self._done)

    def give(self, claim: Claim) -> None:
        """Have a claim dealt with; at once, as not answered, where the circuit is open."""
        with self._changed:
            self._begin(claim)

    def probe(self, *, is_due: bool = False) -> None:
        """Ask after an engine that has been left alone for long enough: it may have no job that would be asked about.

        Nothing is placed there before it has answered. Where it `is_due`, one that answers is asked too.
        """
        with self._changed:
            is_wanted = is_due or self._circuit.is_open
            if is_wanted and not self._waiting and not self._is_stuck and self._circuit.admits(self._now()):
                self._begin(None)

    def _begin(self, claim: Claim | None) -> None:
        self._waiting.append(claim)
        self._see_to_what_waits()
        self._changed.notify_all()

    def collect(self) -> list[Dealt]:
        """Return what is done, what was not asked for, and what has been abandoned since the last time."""
        now = self._monotonic()
        with self._changed:
            for call in [call for call in self._running if call.abandon_if_over(now)]:
                self._running.discard(call)
                self._abandoned += 1
                self._circuit = self._circuit.failed(self._now())
                self._done.append(
                    Dealt(call.claim, None, answered=False, may_go_on=call.may_go_on, is_sent=call.is_sent)
                )
            self._see_to_what_waits()
            done, self._done = self._done, []
        return done

    def close(self, seconds: float) -> list[Claim]:
        """Begin nothing more, and wait for the calls under way, at most so long; return the claims that still wait."""
        until = self._monotonic() + seconds
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            waiting = [claim for claim in self._waiting if claim is not None]
            self._waiting.clear()
            while self._running and (left := until - self._monotonic()) > 0:
                self._changed.wait(min(left, 0.1))
        return waiting

    @property
    def _is_stuck(self) -> bool:
        return self._abandoned >= THREADS

    def _see_to_what_waits(self) -> None:
        """Have a thread come for what is not given back at once, as far as there may be more of them."""
        self._refuse_what_waits()
        if len(self._waiting) > self._threads - len(self._running) - self._abandoned and self._threads < THREADS:
            try:
                begin_thread(f"nodus-{self.supplier}", self._run)
            except RuntimeError as exc:
                # It is tried again at the next look; meanwhile those that there are come for it.
                if self._threads <= self._abandoned:
                    _logger.warning("supplier %s: its engine cannot be asked: %s", self.supplier, exc)
                    self._give_back_what_waits()
            else:
                self._threads += 1

    def _refuse_what_waits(self) -> None:
        """Give back what the circuit does not admit, or no thread will come for."""
        while self._waiting and (self._is_stuck or not self._circuit.admits(self._now())):
            self._done.append(Dealt(self._waiting.popleft(), None, answered=None))

    def _give_back_what_waits(self) -> None:
        self._done += [Dealt(claim, None, answered=None) for claim in self._waiting]
        self._waiting.clear()

    def _run(self) -> None:
        while (call := self._next()) is not None:
            try:
                dealt = self._deal(call)
            except BaseException:
                # It deals with what an engine can do; this is ours. The lease runs out, and the job is claimed again.
                _logger.exception("supplier %s: a job could not be dealt with", self.supplier)
                dealt = None
            self._finish(call, dealt)
            self._on_ready()

    def _next(self) -> Call | None:
        with self._changed:
            while True:
                if self._closing:
                    self._threads -= 1
                    return None
                self._refuse_what_waits()
                if self._waiting:
                    break
                self._changed.wait()
            call = Call(self._waiting.popleft(), self._monotonic)
            self._circuit = self._circuit.called()
            self._running.add(call)
            return call

    def _finish(self, call: Call, dealt: Dealt | None) -> None:
        with self._changed:
            if call.is_abandoned:
                self._abandoned -= 1
                return
            self._running.discard(call)
            if dealt is not None:
                self._done.append(dealt)
            if dealt is None or dealt.answered is None:
                # Nothing was learnt of the engine: a probe that asked nothing is over all the same.
                self._circuit = Circuit(self._circuit.failures, self._circuit.probe_at)
            else:
                self._circuit = self._circuit.succeeded() if dealt.answered else self._circuit.failed(self._now())
            self._changed.notify_all()
