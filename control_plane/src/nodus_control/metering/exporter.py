"""The exporter: takes one meter event after the other from the queue to Stripe, and books what comes back.

Any number of exporters may share a database. What decides is in `nodus_core.meter_rules`; what is certain at any
moment, in the database. So an exporter may be ended at any line, and the next one goes on.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from nodus_core import meter_rules
from nodus_core.meter_rules import Answer, Step
from nodus_ledger.jobs.meter_outcomes import Minute
from nodus_ledger.jobs.meter_queue import MeterQueue, Work
from nodus_ledger.jobs.meter_reports import ErrorReport, MeterReports

from ..concurrency.threads import begin_thread
from ..trouble import Trouble
from .account import StripeUnavailable

IDLE_SECONDS = 1.0
"""How long, in real seconds, until it is looked again whether something is due."""

_SAY_AGAIN_SECONDS = 60.0

_logger = logging.getLogger(__name__)


class Account(Protocol):
    """What an exporter needs of a Stripe account; see `StripeAccount`."""

    def send(self, event: Mapping[str, Any]) -> tuple[int | None, str]: ...

    def summary(self, stripe_customer: str, meter_name: str, begins: int) -> int: ...

    def report(self, event_id: str) -> ErrorReport: ...


class Exporter:
    """Sends what is due.

    Args:
        queue: the meter events.
        reports: the error reports.
        accounts: where live events go (`True`), and those of simulations (`False`); without an account they wait.
        now: the control plane's clock, in Unix milliseconds.
        may_work: whether that clock can be relied on.
        chance: gives numbers from 0 to 1.
    """

    def __init__(
        self,
        queue: MeterQueue,
        reports: MeterReports,
        accounts: Mapping[bool, Account],
        now: Callable[[], int],
        *,
        may_work: Callable[[], bool] = lambda: True,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._reports = reports
        self._accounts = accounts
        self._now = now
        self._may_work = may_work
        self._chance = chance
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._trouble = Trouble(_logger, "metering into Stripe")
        self._said: dict[str, float] = {}

    def start(self) -> None:
        """Begin to send, in a thread."""
        self._thread = begin_thread("nodus-meter", self._run)

    def stop(self) -> None:
        """Stop, after the call under way."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def run_due(self) -> int:
        """Do all that is due now; return how many events and reports that were."""
        done = 0
        while not self._stopping.is_set() and self._may_work() and self.run_one():
            done += 1
        return done

    def run_one(self) -> bool:
        """Do one thing that is due, of each account; say whether there was any."""
        done = False
        for livemode, account in self._accounts.items():
            done = self._book_report(account, livemode=livemode) or done
            work = self._queue.claim(livemode=livemode, now=self._now())
            if work is not None:
                self._do(account, work)
                done = True
        return done

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.run_due()
                self._trouble.is_over()
            except Exception as exc:
                self._trouble.say(exc)
            self._stopping.wait(IDLE_SECONDS)

    def _do(self, account: Account, work: Work) -> None:
        if work.step is Step.SEND:
            status, message = account.send(work.wire())
            answer = meter_rules.read_answer(status, message, work.identifier)
            if answer is not Answer.TAKEN:
                self._say(f"the event {work.identifier} of customer {work.customer_id} was not taken", message)
            self._queue.answered(work, answer, message, now=self._now(), chance=self._chance())
        elif work.step is Step.LOOK:
            minute = Minute.of(work)
            try:
                found = account.summary(minute.stripe_customer, minute.meter_name, minute.begins)
            except StripeUnavailable as exc:
                self._say(f"the event {work.identifier} of customer {work.customer_id} is in doubt", str(exc))
                self._queue.answered(work, Answer.BUSY, str(exc), now=self._now(), chance=self._chance())
            else:
                self._queue.resolve(work, found, now=self._now())
        elif work.step is Step.GIVE_UP:
            self._queue.give_up(work, self._now())
        else:
            now = self._now()
            until = meter_rules.next_look(work.timestamp, work.first_sent_at, work.last_sent_at, now)
            self._queue.put_off(work, until)

    def _book_report(self, account: Account, *, livemode: bool) -> bool:
        announced = self._reports.claim(livemode=livemode, now=self._now())
        if announced is None:
            return False
        try:
            report = account.report(announced.id)
            self._reports.book_samples(report, self._now())
            if report.names_all or self._book_minutes(account, report, livemode=livemode):
                self._reports.done(announced)
            else:
                self._reports.put_off(announced, self._now() + meter_rules.SETTLE_MS)
        except StripeUnavailable as exc:
            # It comes again by itself.
            self._say(f"the error report {announced.id} is not booked yet", str(exc))
        return True

    def _book_minutes(self, account: Account, report: ErrorReport, *, livemode: bool) -> bool:
        is_whole = True
        for minute in self._reports.minutes(report, livemode=livemode):
            found = account.summary(minute.stripe_customer, minute.meter_name, minute.begins)
            is_whole = self._reports.book_minute(minute, found, self._now()) and is_whole
        return is_whole

    def _say(self, what: str, why: str) -> None:
        """Say what went wrong, unless the same reason was said within the last minute."""
        now = time.monotonic()
        if now - self._said.get(why, float("-inf")) < _SAY_AGAIN_SECONDS:
            return
        if len(self._said) > 64:
            self._said.clear()
        self._said[why] = now
        _logger.warning("metering into Stripe: %s: %s", what, why or "no answer")
