"""`nodus playground`: a control plane and its page, on this machine, until it is interrupted."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

import asyncclick

from nodus_core.money import MICROS_PER_USD
from nodus_core.rate_limits import parse_rate_limit
from nodus_core.shown_money import dollars
from nodus_core.suppliers_file import SuppliersFile
from nodus_ledger.database.database import Database, UnusableDatabase
from nodus_ledger.database.sealing import UnusableKey
from nodus_ledger.database.settings import Settings
from nodus_ledger.errors import DatabaseUnavailable
from nodus_ledger.jobs.accepted_suppliers import SuppliersInUse

from ..access.rate_limit_options import rate_limit_if_asked_option
from ..access.rate_limiter import RateLimitOptions
from ..api.faults import FaultScript
from ..clock import RunningClock
from ..control_plane import ControlPlane
from ..exit_codes import OK, Misconfigured
from ..serving.interrupts import catching_interrupts
from ..serving.server import Server, ServerFailed
from ..suppliers.drivers import DOCKER, DRIVERS, PROCESS, SIMULATED
from ..suppliers.files import LOCAL_MICROS_PER_GPU_HOUR, drivers_of, load_suppliers, process_options_of
from ..suppliers.process.command import process_options
from ..suppliers.process.options import ProcessOptions
from ..webhooks.command import allow_option, threshold_option
from ..webhooks.service import WebhookOptions, options_for_this_machine
from .app import create_playground_app
from .guards import Guard, is_loopback
from .opening import open_privately
from .ready_file import write_private
from .seeded import ExposedKeys, SeededKeys, seed_keys
from .visitors import Visitors

DEFAULT_PORT = 8787
DEFAULT_SIMULATED_SPEED = 300.0
IN_MEMORY = "sqlite://"

_MOST_MICROS = 1_000_000 * MICROS_PER_USD


class Speed(asyncclick.ParamType):  # type: ignore[type-arg]  # generic in some versions, and not in others
    """A positive number, or `instant`."""

    name = "N|instant"

    def convert(self, value: object, param: asyncclick.Parameter | None, ctx: asyncclick.Context | None) -> float:
        """Return the factor; infinity for `instant`."""
        if value == "instant":
            return math.inf
        try:
            speed = float(str(value))
        except ValueError:
            speed = math.nan
        if not 0 < speed < math.inf:
            self.fail("must be a positive number, or 'instant'", param, ctx)
        return speed


class UsdPerHour(asyncclick.ParamType):  # type: ignore[type-arg]  # as `Speed`
    """An amount in USD, with at most six decimals; as micro-USD."""

    name = "usd"

    def convert(self, value: object, param: asyncclick.Parameter | None, ctx: asyncclick.Context | None) -> int:
        """Convert the text of the option."""
        if isinstance(value, int):
            return value
        try:
            micros = Decimal(str(value)) * MICROS_PER_USD
        except InvalidOperation:
            micros = Decimal(-1)
        if not 0 <= micros < _MOST_MICROS or micros != micros.to_integral_value():
            self.fail("must be an amount in USD from 0 to 1,000,000, with at most six decimals", param, ctx)
        return int(micros)


@dataclass(frozen=True)
class Settled:
    """The checked options, with defaults filled in."""

    host: str
    port: int
    database_url: str
    drivers: tuple[str, ...]
    speed: float
    seed: int
    opens_browser: bool
    ready_file: Path | None
    as_json: bool
    allowed_hosts: frozenset[str]
    webhooks: WebhookOptions = field(default_factory=options_for_this_machine)
    process: ProcessOptions = field(default_factory=ProcessOptions)
    suppliers: SuppliersFile | None = None
    limits: RateLimitOptions = field(default_factory=RateLimitOptions)
    micros_per_gpu_hour: int | None = None


@asyncclick.command(name="playground", short_help="Start a control plane on this machine, with its page.")
@asyncclick.option("--host", default="127.0.0.1", show_default=True, help="A loopback address or name to listen on.")
@asyncclick.option(
    "--port",
    type=asyncclick.IntRange(0, 65_535),
    default=DEFAULT_PORT,
    show_default=True,
    help="The port; 0 picks a free one.",
)
@asyncclick.option(
    "--db",
    "database_url",
    metavar="URL",
    help="Keep the state in this database, such as sqlite:///nodus.db. By default, it is lost on exit.",
)
@asyncclick.option(
    "--speed",
    type=Speed(),
    metavar="N|instant",
    help="How fast the clock runs. By default, simulations run at 300 times real time; commands run in real time.",
)
@asyncclick.option(
    "--seed", type=int, default=0, show_default=True, help="The seed of everything that is random in simulations."
)
@asyncclick.option(
    "--driver",
    type=asyncclick.Choice(DRIVERS),
    help="Simulate jobs, really run their commands on this machine (process), or run their images in its Docker or "
    "Podman (docker; DOCKER_HOST says where, or the usual socket). By default, simulated.",
)
@asyncclick.option(
    "--price",
    type=UsdPerHour(),
    metavar="USD",
    help="What an hour of one GPU costs where jobs run on this machine. By default, $1.00.",
)
@asyncclick.option("--no-browser", is_flag=True, help="Do not open the page.")
@asyncclick.option(
    "--ready-file",
    type=asyncclick.Path(dir_okay=False, path_type=Path),
    help="Write addresses and keys to this file, as JSON, once requests are answered.",
)
@asyncclick.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print addresses and keys as one line of JSON on stdout, and the banner on stderr.",
)
@asyncclick.option(
    "--allow-host", "allow_hosts", multiple=True, help="Also answer requests for this host name. Repeatable."
)
@asyncclick.option(
    "--suppliers",
    "suppliers_path",
    type=asyncclick.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The suppliers, and what runs their jobs. By default, ten mock suppliers.",
)
@process_options
@allow_option
@threshold_option
@rate_limit_if_asked_option
def playground(
    host: str,
    port: int,
    database_url: str | None,
    speed: float | None,
    seed: int,
    driver: str | None,
    price: int | None,
    suppliers_path: Path | None,
    no_browser: bool,
    ready_file: Path | None,
    as_json: bool,
    allow_hosts: tuple[str, ...],
    webhook_allow: tuple[str, ...],
    threshold: float,
    process: ProcessOptions,
    rate_limit: str,
) -> int:
    """Start a control plane on this machine, with its page.

    There is no account to create. The page and the API are on one port, on loopback only. Without --db, everything is
    lost on exit.
    """
    if not is_loopback(host):
        raise Misconfigured(f"the playground listens on loopback only, and {host} is not: use 127.0.0.1")
    suppliers = None
    drivers: tuple[str, ...] = (driver or SIMULATED,)
    if suppliers_path is not None:
        if driver is not None:
            raise asyncclick.UsageError("each supplier of a suppliers file has its own driver: leave --driver out")
        suppliers = load_suppliers(suppliers_path)
        drivers = drivers_of(suppliers)
        usual = ProcessOptions(
            containment=process.containment, keep_days=process.keep_days, hidden_files=process.hidden_files
        )
        if process != usual:
            raise asyncclick.UsageError(
                "[supplier.process] says how commands run: of --process-*, only containment and keep-days may be given"
            )
        process = process_options_of(suppliers, process)
    runs_commands = drivers != (SIMULATED,)
    if price is not None and (suppliers is not None or not runs_commands):
        raise asyncclick.UsageError("--price is for jobs that run on this machine: give --driver process or docker too")
    if runs_commands and speed not in (None, 1.0):
        named = " and ".join(f"`{name}`" for name in drivers)
        raise asyncclick.UsageError(f"the driver {named} runs jobs in real time: leave --speed out")
    try:
        webhooks = options_for_this_machine(webhook_allow, threshold)
    except ValueError as exc:
        raise Misconfigured(str(exc)) from exc
    default_speed = 1.0 if runs_commands else DEFAULT_SIMULATED_SPEED
    return run_playground(
        Settled(
            host=host,
            port=port,
            database_url=database_url or IN_MEMORY,
            drivers=drivers,
            speed=default_speed if speed is None else speed,
            seed=seed,
            opens_browser=not no_browser,
            ready_file=ready_file,
            as_json=as_json,
            allowed_hosts=frozenset(name.casefold().rstrip(".") for name in allow_hosts),
            webhooks=webhooks,
            process=process,
            suppliers=suppliers,
            limits=RateLimitOptions(parse_rate_limit(rate_limit)),
            micros_per_gpu_hour=price,
        )
    )


def run_playground(settled: Settled) -> int:
    """Serve until SIGINT or SIGTERM; return the exit status.

    Raises:
        Misconfigured: the port is taken, or the database or its key cannot be used.
    """
    with catching_interrupts() as interrupts, contextlib.ExitStack() as closing:
        try:
            control_plane = ControlPlane(
                settled.database_url,
                clock=make_clock(settled),
                driver=settled.drivers[0],
                micros_per_gpu_hour=settled.micros_per_gpu_hour,
                seed=settled.seed,
                webhooks=settled.webhooks,
                process=settled.process,
                limits=settled.limits,
                suppliers=settled.suppliers,
                # Nobody else works on its database.
                accept_suppliers=None if settled.suppliers is None else "playground",
            )
            closing.callback(control_plane.close)
            keys = _seed(control_plane)
            guard = Guard(settled.allowed_hosts, Visitors() if control_plane.drivers.runs_commands else None, keys)
            app = create_playground_app(control_plane, FaultScript(), guard)
            server = Server(app, host=settled.host, port=settled.port, end_streams=control_plane.feed.end_streams)
            closing.callback(server.stop)
            control_plane.start_worker()
            server.start()
        except SuppliersInUse as exc:
            raise Misconfigured(f"{exc}: start with the file from before") from exc
        except (UnusableDatabase, DatabaseUnavailable, UnusableKey, ServerFailed, RuntimeError) as exc:
            raise Misconfigured(str(exc)) from exc
        announce(settled, server.base_url, page_address(server.base_url, guard), keys)
        if settled.opens_browser:
            closing.callback(open_page(server.base_url, guard))
        interrupts.wait()
    return OK


def page_address(base_url: str, guard: Guard) -> str:
    """Return an address of the page, with a code of its own where the page needs one; no server gets to see that."""
    return f"{base_url}/" + ("" if guard.visitors is None else f"#code={guard.visitors.new_code()}")


def open_page(base_url: str, guard: Guard) -> Callable[[], None]:
    """Open the page in the user's browser; return what is to be called at the end."""
    address = page_address(base_url, guard)
    if guard.visitors is not None:
        return open_privately(address)
    webbrowser.open(address)
    return lambda: None


def _seed(control_plane: ControlPlane) -> SeededKeys:
    try:
        return seed_keys(control_plane, kept=True)
    except ExposedKeys as exc:
        raise Misconfigured(str(exc)) from exc
    except OSError as exc:
        raise Misconfigured(f"cannot keep the keys in {exc.filename}: {exc.strerror}") from exc


def make_clock(settled: Settled) -> RunningClock:
    """Make the requested clock, as far ahead of real time as it was when the database was last used."""
    database = Database(settled.database_url)
    try:
        offset_ms = Settings(database).clock_offset_ms()
    finally:
        database.close()
    if settled.speed == math.inf:
        return RunningClock(offset_ms=offset_ms, leaps=True)
    return RunningClock(speed=settled.speed, offset_ms=offset_ms)


def _what_runs_here(settled: Settled) -> Iterator[str]:
    if PROCESS in settled.drivers:
        yield "Commands run on this machine, as you; images are not run."
    if DOCKER in settled.drivers and settled.suppliers is None:
        yield "Images run in this machine's engine for containers."
    if settled.suppliers is not None:
        yield f"Suppliers and prices are those of your file ({', '.join(settled.drivers)})."
        if SIMULATED in settled.drivers:
            yield "Those that are simulated take test keys only, and these are live ones: they stay unused here."
    else:
        price = LOCAL_MICROS_PER_GPU_HOUR if settled.micros_per_gpu_hour is None else settled.micros_per_gpu_hour
        yield f"It has GPUs in name only: no device is attached. The price is {dollars(price)} for a GPU and hour."


def announce(settled: Settled, base_url: str, page_url: str, keys: SeededKeys) -> None:
    """Print the banner, and write the ready file for scripts."""
    lines = [
        "Nodus playground",
        "",
        f"  page    {page_url}",
        f"  export NODUS_BASE_URL={base_url} NODUS_API_KEY={keys.api_key}",
        "",
        f"  An agent's key, capped at $25 a month, which must sign its requests: {keys.agent_api_key}",
        f"  its signing secret (NODUS_SIGNING_SECRET): {keys.agent_signing_secret}",
        "",
    ]
    if settled.drivers != (SIMULATED,):
        lines += [f"  {line}" for line in _what_runs_here(settled)]
        lines.append("  The page's address opens it once, in one browser.")
    else:
        speed = "instant" if settled.speed == math.inf else f"{settled.speed:g} times real time"
        lines.append("  Nothing runs: jobs, suppliers and prices are simulated.")
        lines.append(f"  The clock's speed is {speed}.")
    if settled.database_url == IN_MEMORY:
        lines.append("  State is in memory and lost on exit; --db sqlite:///nodus.db keeps it.")
    else:
        lines.append("  State is kept in the database that you named, and the keys stay the same.")
    lines.append("  Ctrl-C stops it.")
    asyncclick.echo("\n".join(lines), err=settled.as_json)
    ready = {
        "base_url": base_url,
        "page_url": page_url,
        "api_key": keys.api_key,
        "agent_api_key": keys.agent_api_key,
        "agent_signing_secret": keys.agent_signing_secret,
        "pid": os.getpid(),
    }
    if settled.as_json:
        asyncclick.echo(json.dumps(ready))
    if settled.ready_file is not None:
        try:
            write_private(settled.ready_file, ready)
        except OSError as exc:
            name = shlex.quote(str(settled.ready_file))
            raise Misconfigured(f"cannot write the ready file {name}: {exc.strerror}") from exc
