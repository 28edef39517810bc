"""`nodus-control`: the self-hosted control plane, API and worker apart. No seeded keys, no playground controls."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncclick

from nodus_core.rate_limits import parse_rate_limit
from nodus_core.suppliers_file import SuppliersFile
from nodus_ledger.database.database import DATABASE_VARIABLE, UnusableDatabase
from nodus_ledger.database.redis_store import REDIS_VARIABLE, RedisStore, UnusableRedis
from nodus_ledger.database.sealing import UnusableKey
from nodus_ledger.errors import DatabaseUnavailable
from nodus_ledger.jobs.accepted_suppliers import SuppliersDiffer, SuppliersInUse
from nodus_ledger.jobs.meter_reports import MeterReports
from nodus_ledger.keys.thresholds import DEFAULT_FRACTION
from nodus_ledger.trust.origin import advice_for
from nodus_ledger.trust.sizes import LedgerSizes

from .access.client_address import parse_networks
from .access.rate_limit_options import rate_limit_option, trusted_proxy_option
from .access.rate_limiter import RateLimitOptions
from .api.app import create_app
from .api.operations import Handled
from .api.stripe import stripe_webhook
from .attempts import attempts
from .clock_watch import UntrustedClock
from .control_plane import ControlPlane
from .exit_codes import OK, Misconfigured
from .meter import exporter_of, meter, webhook_secrets
from .metering.exporter import Exporter
from .serving.descriptors import ADVISED, most_connections, raise_limit
from .serving.interrupts import Interrupts, catching_interrupts
from .serving.processes import Processes
from .serving.rollback_check import LedgerMemory, RolledBack, summary
from .serving.server import Server, ServerFailed, base_url_of, bind
from .suppliers.command import no_driver_option, required_suppliers, suppliers, suppliers_option
from .suppliers.drivers import PROCESS, SIMULATED, state_directory, what_runs
from .suppliers.files import drivers_of, process_options_of
from .suppliers.process.command import containment_option, keep_days_option
from .suppliers.process.exposure import require_nothing_exposed, secret_files
from .suppliers.process.options import ProcessOptions
from .version import VERSION
from .webhooks.addresses import parse_allowed
from .webhooks.command import allow_option, threshold_option
from .webhooks.service import WebhookOptions


@dataclass(frozen=True)
class Hosting:
    """What a self-hosted control plane is connected to, and what it allows."""

    database_url: str = field(repr=False)
    redis_url: str | None = field(repr=False)
    suppliers: SuppliersFile
    drivers: tuple[str, ...]
    webhook_allow: tuple[str, ...]
    threshold: float
    process: ProcessOptions
    accepts_clock: bool
    accepts_suppliers: bool = False
    accepts_rollback: bool = False
    limits: RateLimitOptions = field(default_factory=RateLimitOptions)

    @property
    def driver_of(self) -> dict[str, str]:
        """The driver of each supplier."""
        return {entry.name: entry.driver.value for entry in self.suppliers.suppliers}


def _with_database(command: Callable[..., Any]) -> Callable[..., Any]:
    command = no_driver_option(suppliers_option(command))
    command = asyncclick.option(
        "--accept-suppliers",
        is_flag=True,
        help="Start although the other processes of this database have other suppliers: these are the new ones, and "
        "the others place nothing until they are restarted with them. The operator's ledger records it.",
    )(command)
    command = containment_option(keep_days_option(allow_option(command)))
    command = asyncclick.option(
        "--accept-clock",
        is_flag=True,
        help="Start although the clock differs from the database server's, or is behind the ledger: you know that it "
        "is right. The ledger records it.",
    )(command)
    command = asyncclick.option(
        "--redis",
        "redis_url",
        metavar="URL",
        help=f"Where signing secrets and used signatures are kept. By default, {REDIS_VARIABLE}, else the database.",
    )(command)
    return asyncclick.option(
        "--db", "database_url", metavar="URL", help=f"The database. By default, {DATABASE_VARIABLE}."
    )(command)


@asyncclick.group(name="nodus-control", context_settings={"help_option_names": ["-h", "--help"]})
@asyncclick.version_option(VERSION, message="%(prog)s %(version)s")
def program() -> None:
    """Run a control plane."""


@program.command()
@_with_database
@asyncclick.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@asyncclick.option(
    "--port", type=asyncclick.IntRange(0, 65_535), default=8787, show_default=True, help="The port; 0 picks a free one."
)
@asyncclick.option(
    "--workers",
    type=asyncclick.IntRange(1, 64),
    default=1,
    show_default=True,
    help="How many processes answer requests, behind the one address.",
)
@threshold_option
@asyncclick.option(
    "--accept-rollback",
    is_flag=True,
    help="A ledger is shorter than this machine saw it last because a backup was restored: jobs, spend and idempotency "
    "keys that came after the backup are forgotten. The operator's ledger records it, and it is no longer warned of.",
)
@rate_limit_option
@trusted_proxy_option
def serve(
    database_url: str | None,
    redis_url: str | None,
    suppliers_path: Path | None,
    webhook_allow: tuple[str, ...],
    threshold: float,
    accept_clock: bool,
    accept_suppliers: bool,
    host: str,
    port: int,
    workers: int,
    accept_rollback: bool,
    process_containment: str,
    process_keep_days: float,
    rate_limit: str,
    trusted_proxies: tuple[str, ...],
) -> int:
    """Answer API requests. Jobs are run by `nodus-control worker` on the same database."""
    hosting = _hosting(
        database_url,
        redis_url,
        suppliers_path,
        webhook_allow,
        containment=process_containment,
        keep_days=process_keep_days,
        accepts_clock=accept_clock,
        accepts_suppliers=accept_suppliers,
        accepts_rollback=accept_rollback,
        threshold=threshold,
    )
    limits = RateLimitOptions(
        parse_rate_limit(rate_limit), parts=workers, trusted_proxies=parse_networks(trusted_proxies)
    )
    hosting = replace(hosting, limits=limits)
    with catching_interrupts() as interrupts:
        try:
            listening = bind(host, port)
            said = f"serving {base_url_of(host, listening)}\n{what_runs(hosting.driver_of)}"
            say_ready = functools.partial(asyncclick.echo, said)
            if workers == 1:
                _answer(hosting, listening, say_ready, interrupts, _say_aside)
            else:
                answer = functools.partial(_answer_as_one_of_several, hosting)
                _answer_in_processes(hosting, Processes(answer, listening, workers), say_ready, interrupts)
        except ServerFailed as exc:
            raise Misconfigured(str(exc)) from exc
    return OK


@program.command()
@_with_database
@asyncclick.option(
    "--meter", "meters_into", type=asyncclick.Choice(["stripe"]), help="Send what jobs cost to Stripe, too."
)
def worker(
    database_url: str | None,
    redis_url: str | None,
    suppliers_path: Path | None,
    webhook_allow: tuple[str, ...],
    accept_clock: bool,
    accept_suppliers: bool,
    process_containment: str,
    process_keep_days: float,
    meters_into: str | None,
) -> int:
    """Run the jobs that the API accepts, fail them over, and deliver webhooks."""
    with catching_interrupts() as interrupts, contextlib.ExitStack() as closing:
        hosting = _hosting(
            database_url,
            redis_url,
            suppliers_path,
            webhook_allow,
            containment=process_containment,
            keep_days=process_keep_days,
            accepts_clock=accept_clock,
            accepts_suppliers=accept_suppliers,
        )
        control_plane = _open(hosting, "worker")
        closing.callback(control_plane.close)
        exporter = _exporter(control_plane, closing) if meters_into else None
        control_plane.start_worker()
        if exporter is not None:
            exporter.start()
            closing.callback(exporter.stop)
        asyncclick.echo(f"working\n{what_runs(hosting.driver_of)}")
        interrupts.wait()
    return OK


program.add_command(attempts)
program.add_command(meter)
program.add_command(suppliers)


def main() -> None:
    """Run the command line."""
    sys.exit(program(standalone_mode=True))


def _hosting(
    database_url: str | None,
    redis_url: str | None,
    suppliers_path: Path | None,
    webhook_allow: tuple[str, ...],
    *,
    containment: str,
    keep_days: float,
    accepts_clock: bool,
    accepts_suppliers: bool,
    accepts_rollback: bool = False,
    threshold: float = DEFAULT_FRACTION,
) -> Hosting:
    url = database_url or os.environ.get(DATABASE_VARIABLE)
    if not url:
        raise Misconfigured(f"no database: give --db URL, or set {DATABASE_VARIABLE}")
    file = required_suppliers(suppliers_path)
    redis = redis_url or os.environ.get(REDIS_VARIABLE)
    hidden = secret_files({**os.environ, DATABASE_VARIABLE: url, REDIS_VARIABLE: redis or ""})
    base = ProcessOptions(containment=containment, keep_days=keep_days, hidden_files=hidden)
    return Hosting(
        url,
        redis,
        file,
        drivers_of(file),
        webhook_allow,
        threshold,
        process_options_of(file, base),
        accepts_clock,
        accepts_suppliers,
        accepts_rollback,
    )


def _say_aside(text: str) -> None:
    """Say something on standard error: programs read from standard output where it serves."""
    asyncclick.echo(text, err=True)


def _answer(
    hosting: Hosting,
    listening: socket.socket,
    say_ready: Callable[[], object],
    interrupts: Interrupts,
    say_sizes: Callable[[str], object],
) -> None:
    """Answer requests that come to a socket, until a signal comes."""
    _require_descriptors()
    control_plane = _open(hosting, "serve")
    try:
        memory = _remember(hosting, control_plane, say_sizes)
        control_plane.watch_others()
        memory.start()
        try:
            app = create_app(control_plane, more=_stripe_webhook(control_plane))
            server = Server(app, listening=listening, end_streams=control_plane.feed.end_streams)
            server.start()
            say_ready()
            interrupts.wait()
            server.stop()
        finally:
            memory.stop()
    finally:
        control_plane.close()


def _stripe_webhook(control_plane: ControlPlane) -> list[Handled]:
    """Return what takes in Stripe's webhooks, where their secret is set."""
    secrets = webhook_secrets(os.environ)
    return [stripe_webhook(MeterReports(control_plane.database), secrets, control_plane.clock.now)] if secrets else []


def _require_descriptors() -> None:
    """Allow this process as many open files as it may have, and say so where those are few."""
    limit = raise_limit()
    if limit < ADVISED:
        asyncclick.echo(
            f"warning: this process may have {limit} files open, enough for {most_connections(limit)} connections: "
            f"raise that to {ADVISED} or more (ulimit -n, or LimitNOFILE= of a systemd unit)",
            err=True,
        )


def _answer_as_one_of_several(
    hosting: Hosting, listening: socket.socket, say_ready: Callable[[], object], interrupts: Interrupts
) -> None:
    """Answer requests in a process of their own, which says in a line why it cannot."""
    try:
        _answer(hosting, listening, say_ready, interrupts, say_sizes=_say_nothing)
    except Misconfigured as exc:
        exc.show()
        sys.exit(exc.exit_code)


def _answer_in_processes(
    hosting: Hosting, processes: Processes, say_ready: Callable[[], object], interrupts: Interrupts
) -> None:
    # Mistakes are reported once, and an older database is migrated once.
    control_plane = _open(hosting, "serve")
    try:
        if not control_plane.database.is_shared:
            raise Misconfigured("--workers needs a database that several processes can open: a file, or PostgreSQL")
        _remember(hosting, control_plane, _say_aside)
    finally:
        control_plane.close()
    try:
        processes.start()
        say_ready()
        processes.watch(interrupts)
    finally:
        processes.stop()


def _open(hosting: Hosting, command: str) -> ControlPlane:
    answers_requests = command == "serve"
    try:
        if PROCESS in hosting.drivers:
            urls = {DATABASE_VARIABLE: hosting.database_url, REDIS_VARIABLE: hosting.redis_url or ""}
            require_nothing_exposed(hosting.process, {**os.environ, **urls})
        webhooks = WebhookOptions(allowed=parse_allowed(hosting.webhook_allow), threshold=hosting.threshold)
        redis = _open_redis(hosting.redis_url, must_answer=answers_requests)
        control_plane = ControlPlane(
            hosting.database_url,
            seed=None,
            is_alone=False,
            webhooks=webhooks,
            redis=redis,
            accept_clock=command if hosting.accepts_clock else None,
            process=hosting.process,
            limits=hosting.limits,
            suppliers=hosting.suppliers,
            accept_suppliers=command if hosting.accepts_suppliers else None,
            requires_origin=True,
        )
        if answers_requests and control_plane.clock_watch is not None and control_plane.clock_watch.problem is not None:
            problem = control_plane.clock_watch.problem
            control_plane.close()
            # A worker waits until the clocks agree; here every answer would be of another month.
            raise UntrustedClock(f"{problem}: set it right, or stop the other one")
        return control_plane
    except SuppliersDiffer as exc:
        raise Misconfigured(
            f"{exc}: start with the file that the other processes have, or, to make this one the new one, start once "
            "with --accept-suppliers"
        ) from exc
    except (
        UntrustedClock,
        UnusableDatabase,
        DatabaseUnavailable,
        UnusableKey,
        UnusableRedis,
        SuppliersInUse,
        RuntimeError,
        ValueError,
    ) as exc:
        raise Misconfigured(str(exc)) from exc


def _exporter(control_plane: ControlPlane, closing: contextlib.ExitStack) -> Exporter:
    watch = control_plane.clock_watch
    may_work = _always if watch is None else watch.may_work
    return exporter_of(control_plane.database, control_plane.clock.now, may_work, closing)


def _always() -> bool:
    return True


def _say_nothing(_text: str) -> None:
    """The process that started this one has said it."""


def _remember(hosting: Hosting, control_plane: ControlPlane, say_sizes: Callable[[str], object]) -> LedgerMemory:
    """Compare the ledgers with what this machine remembers of them; say so at every start until it is accepted."""
    ledgers = LedgerSizes(control_plane.database)
    memory = LedgerMemory(state_directory() / "ledgers" / f"{control_plane.settings.database_id()}.json", ledgers)
    try:
        present = memory.require_whole(accept_at=control_plane.clock.now() if hosting.accepts_rollback else None)
    except RolledBack as exc:
        say_sizes(f"WARNING: {exc}")
        present = ledgers.all()
    except DatabaseUnavailable as exc:
        raise Misconfigured(str(exc)) from exc
    say_sizes(summary(present))
    if hosting.drivers != (SIMULATED,) and (advice := advice_for(control_plane.database)) is not None:
        say_sizes(f"hint: {advice}")
    return memory


def _open_redis(url: str | None, *, must_answer: bool) -> RedisStore | None:
    if not url:
        return None
    redis = RedisStore(url)
    if must_answer:
        redis.require()
    return redis
