"""`nodus-control meter`: sends meter events to Stripe; and the settings that the worker's `--meter stripe` shares."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime, timezone

import asyncclick

from nodus_core.meter_rules import LONGEST_EVENT_NAME
from nodus_core.money import MICROS_PER_USD
from nodus_core.times import timestamp
from nodus_ledger.database.database import DATABASE_VARIABLE, Database, UnusableDatabase
from nodus_ledger.database.url_files import UnreadableFile, text_of
from nodus_ledger.errors import DatabaseUnavailable
from nodus_ledger.jobs.meter_events import EVENT_NAME
from nodus_ledger.jobs.meter_queue import BegunAlready, MeterQueue, NotBegun
from nodus_ledger.jobs.meter_reports import MeterReports

from .clock_watch import ClockWatch, UntrustedClock
from .exit_codes import OK, Misconfigured
from .metering.account import NoStripe, StripeAccount
from .metering.exporter import Exporter
from .serving.interrupts import catching_interrupts
from .stripe_settings import BASE_VARIABLE, LIVE_KEY_VARIABLE, TEST_KEY_VARIABLE, WEBHOOK_SECRET_VARIABLE

_PREFIXES = {
    True: (LIVE_KEY_VARIABLE, ("sk_live_", "rk_live_")),
    False: (TEST_KEY_VARIABLE, ("sk_test_", "rk_test_")),
}
_ALL = "all"


@asyncclick.command("meter")
@asyncclick.option("--stripe", is_flag=True, required=True, help="Into Stripe: the only place so far.")
@asyncclick.option("--db", "database_url", metavar="URL", help=f"The database. By default, {DATABASE_VARIABLE}.")
@asyncclick.option("--once", is_flag=True, help="End when nothing is due any more.")
@asyncclick.option(
    "--event-name", default=EVENT_NAME, show_default=True, metavar="NAME", help="The event name of the meter."
)
@asyncclick.option(
    "--since",
    metavar="TIME|all",
    help="Since when spend is metered, such as 2027-01-01 or 2027-01-01T12:00:00Z: needed at the first start. What is "
    "older is never sent, and one row of the operator's ledger says how much that is.",
)
def meter(stripe: bool, database_url: str | None, once: bool, event_name: str, since: str | None) -> int:
    """Send what jobs cost to Stripe, an event for each, and book what Stripe rejects.

    Live spend goes where STRIPE_API_KEY says, that of simulations where STRIPE_TEST_API_KEY does; without its key,
    either waits. Any number of these may run.
    """
    url = database_url or os.environ.get(DATABASE_VARIABLE)
    if not url:
        raise Misconfigured(f"no database: give --db URL, or set {DATABASE_VARIABLE}")
    if not stripe:
        raise asyncclick.UsageError("say where to: --stripe")
    with ExitStack() as closing:
        try:
            database = Database(url)
            closing.callback(database.close)
            watch = ClockWatch(database)
            watch.require()
            accounts = accounts_of(os.environ)
            for account in accounts.values():
                closing.callback(account.close)
            queue = queue_of(database, event_name)
            begin(queue, since, watch.clock.now())
            exporter = Exporter(queue, MeterReports(database), accounts, watch.clock.now, may_work=watch.may_work)
            done = exporter.run_due() if once else 0
            for line in backlog(queue, accounts):
                asyncclick.echo(line, err=True)
        except (NoStripe, UnusableDatabase, DatabaseUnavailable, UntrustedClock) as exc:
            raise Misconfigured(str(exc)) from exc
        if once:
            asyncclick.echo(f"{done} done")
            return OK
        interrupts = closing.enter_context(catching_interrupts())
        watch.start()
        closing.callback(watch.stop)
        exporter.start()
        closing.callback(exporter.stop)
        asyncclick.echo("metering into Stripe")
        interrupts.wait()
    return OK


def exporter_of(
    database: Database, now: Callable[[], int], may_work: Callable[[], bool], closing: ExitStack
) -> Exporter:
    """Make the exporter of a worker; `closing` closes what it uses.

    Raises:
        Misconfigured: a key is missing, the package is, or nobody has said since when spend is metered.
    """
    try:
        accounts = accounts_of(os.environ)
    except NoStripe as exc:
        raise Misconfigured(str(exc)) from exc
    for account in accounts.values():
        closing.callback(account.close)
    queue = queue_of(database)
    begin(queue, None, now())
    return Exporter(queue, MeterReports(database), accounts, now, may_work=may_work)


def webhook_secrets(environment: Mapping[str, str]) -> list[str]:
    """Return the secrets of the webhook endpoint, by comma: two while one is being replaced; none without any."""
    given = environment.get(WEBHOOK_SECRET_VARIABLE)
    secrets = _secret(given, WEBHOOK_SECRET_VARIABLE) if given else ""
    return [each.strip() for each in secrets.split(",") if each.strip()]


def accounts_of(environment: Mapping[str, str]) -> dict[bool, StripeAccount]:
    """Open the accounts whose keys are set: the live one is `True`.

    Raises:
        Misconfigured: neither is, or one has the form of the other.
        NoStripe: the official package is not installed.
    """
    base = environment.get(BASE_VARIABLE) or None
    accounts = {}
    for livemode, (variable, prefixes) in _PREFIXES.items():
        given = environment.get(variable)
        if not given:
            continue
        key = _secret(given, variable)
        if not key.startswith(prefixes):
            raise Misconfigured(f"{variable} must begin with {' or '.join(prefixes)}: live and test keys stay apart")
        accounts[livemode] = StripeAccount(key, base)
    if not accounts:
        raise Misconfigured(f"no key of Stripe: set {LIVE_KEY_VARIABLE}, {TEST_KEY_VARIABLE} or both")
    return accounts


def queue_of(database: Database, event_name: str = EVENT_NAME) -> MeterQueue:
    """Open the queue of meter events for a meter.

    Raises:
        Misconfigured: it cannot have such a name.
    """
    if not event_name or len(event_name) > LONGEST_EVENT_NAME:
        raise Misconfigured(f"--event-name: 1 to {LONGEST_EVENT_NAME} characters")
    return MeterQueue(database, event_name)


def begin(queue: MeterQueue, since: str | None, now: int) -> None:
    """Say since when spend is metered, as it was given on the command line.

    Raises:
        Misconfigured: it was never said, it was another time, or it is none.
    """
    moment = None if since is None else 0 if since == _ALL else _moment(since)
    if moment is not None and moment > now:
        raise Misconfigured(f"--since {since}: that is ahead of now")
    try:
        queue.begin(moment, now)
    except NotBegun as exc:
        raise Misconfigured(
            "since when is spend to be metered? Say it once: nodus-control meter --stripe --once --since TIME, or "
            "--since all"
        ) from exc
    except BegunAlready as exc:
        before = f"since {timestamp(exc.since)}" if exc.since else "whole"
        raise Misconfigured(f"--since {since}: spend is metered {before} already; leave the option out") from exc


def backlog(queue: MeterQueue, accounts: Mapping[bool, object]) -> list[str]:
    """Say what waits, a line for each customer whose events nobody can send."""
    lines = []
    for livemode in accounts:
        kind = "live" if livemode else "test"
        waiting = queue.waiting(livemode=livemode)
        if waiting:
            events, amount = sum(each.events for each in waiting), sum(each.amount for each in waiting)
            lines.append(f"{kind}: {events} events of {amount / MICROS_PER_USD:.6f} USD wait")
        lines += [
            f"{kind}: {each.events} of them are of customer {each.customer_id}, whom nobody has named to Stripe: "
            f"python -m nodus_ledger.admin set-stripe-customer {each.customer_id} cus_…"
            for each in waiting
            if each.stripe_customer is None
        ]
    return lines


def _secret(given: str, variable: str) -> str:
    try:
        return text_of(given, "the secret")
    except UnreadableFile as exc:
        raise Misconfigured(f"{variable}: {exc}") from exc


def _moment(text: str) -> int:
    try:
        value = datetime.fromisoformat(re.sub(r"[zZ]\Z", "+00:00", text))
    except ValueError:
        raise Misconfigured(f"--since {text}: no date or time, such as 2027-01-01 or 2027-01-01T12:00:00Z") from None
    if value.tzinfo is None:
        value = value.replace(tzinfo=timezone.utc)
    return round(value.timestamp() * 1000)
