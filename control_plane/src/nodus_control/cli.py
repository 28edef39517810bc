"""`nodus-control`: the self-hosted control plane, API and worker apart. No seeded keys, no playground controls."""

from __future__ import annotations

import functools
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import asyncclick

from nodus_ledger.database import DATABASE_VARIABLE, UnusableDatabase
from nodus_ledger.errors import DatabaseUnavailable
from nodus_ledger.redis_store import REDIS_VARIABLE, RedisStore, UnusableRedis
from nodus_ledger.sealing import UnusableKey
from nodus_ledger.thresholds import DEFAULT_FRACTION

from .app import create_app
from .exit_codes import OK, Misconfigured
from .interrupts import Interrupts, catching_interrupts
from .plane import Plane
from .processes import Processes
from .server import Server, ServerFailed, base_url_of, bind
from .suppliers.choice import DRIVERS, WHAT_RUNS
from .version import VERSION
from .webhooks.addresses import parse_allowed
from .webhooks.command import allow_option, threshold_option
from .webhooks.service import WebhookOptions


@dataclass(frozen=True)
class Hosting:
    """What a self-hosted control plane is connected to, and what it allows."""

    database_url: str = field(repr=False)
    redis_url: str | None = field(repr=False)
    driver: str
    webhook_allow: tuple[str, ...]
    threshold: float


def _with_database(command: Callable[..., Any]) -> Callable[..., Any]:
    command = asyncclick.option(
        "--driver",
        type=asyncclick.Choice(DRIVERS),
        required=True,
        help="What the jobs are for: `simulated` runs nothing and takes test keys (nk_test_…) only, `process` runs "
        "their commands on the worker's machine and takes live keys only.",
    )(command)
    command = allow_option(command)
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
def serve(
    database_url: str | None,
    redis_url: str | None,
    driver: str,
    webhook_allow: tuple[str, ...],
    threshold: float,
    host: str,
    port: int,
    workers: int,
) -> int:
    """Answer API requests. Jobs are run by `nodus-control worker` on the same database."""
    hosting = _hosting(database_url, redis_url, driver, webhook_allow, threshold)
    with catching_interrupts() as interrupts:
        try:
            listening = bind(host, port)
            said = f"serving {base_url_of(host, listening)}\n{WHAT_RUNS[driver]}"
            say_ready = functools.partial(asyncclick.echo, said)
            if workers == 1:
                _answer(hosting, listening, say_ready, interrupts)
            else:
                answer = functools.partial(_answer_as_one_of_several, hosting)
                _answer_in_processes(hosting, Processes(answer, listening, workers), say_ready, interrupts)
        except ServerFailed as exc:
            raise Misconfigured(str(exc)) from exc
    return OK


@program.command()
@_with_database
def worker(database_url: str | None, redis_url: str | None, driver: str, webhook_allow: tuple[str, ...]) -> int:
    """Run the jobs that the API accepts, fail them over, and deliver webhooks."""
    with catching_interrupts() as interrupts:
        plane = _open(_hosting(database_url, redis_url, driver, webhook_allow))
        plane.start_worker()
        asyncclick.echo(f"working\n{WHAT_RUNS[driver]}")
        interrupts.wait()
        plane.close()
    return OK


def main() -> None:
    """Run the command line."""
    sys.exit(program(standalone_mode=True))


def _hosting(
    database_url: str | None,
    redis_url: str | None,
    driver: str,
    webhook_allow: tuple[str, ...],
    threshold: float = DEFAULT_FRACTION,
) -> Hosting:
    url = database_url or os.environ.get(DATABASE_VARIABLE)
    if not url:
        raise Misconfigured(f"no database: give --db URL, or set {DATABASE_VARIABLE}")
    return Hosting(url, redis_url or os.environ.get(REDIS_VARIABLE), driver, webhook_allow, threshold)


def _answer(
    hosting: Hosting, listening: socket.socket, say_ready: Callable[[], object], interrupts: Interrupts
) -> None:
    """Answer requests that come to a socket, until a signal comes."""
    plane = _open(hosting, answers_requests=True)
    try:
        server = Server(create_app(plane), listening=listening, end_streams=plane.feed.end_streams)
        server.start()
        say_ready()
        interrupts.wait()
        server.stop()
    finally:
        plane.close()


def _answer_as_one_of_several(
    hosting: Hosting, listening: socket.socket, say_ready: Callable[[], object], interrupts: Interrupts
) -> None:
    """Answer requests in a process of their own, which says in a line why it cannot."""
    try:
        _answer(hosting, listening, say_ready, interrupts)
    except Misconfigured as exc:
        exc.show()
        sys.exit(exc.exit_code)


def _answer_in_processes(
    hosting: Hosting, processes: Processes, say_ready: Callable[[], object], interrupts: Interrupts
) -> None:
    # Mistakes are reported once, and an older database is migrated once.
    plane = _open(hosting, answers_requests=True)
    is_shared = plane.database.is_shared
    plane.close()
    if not is_shared:
        raise Misconfigured("--workers needs a database that several processes can open: a file, or PostgreSQL")
    try:
        processes.start()
        say_ready()
        processes.watch(interrupts)
    finally:
        processes.stop()


def _open(hosting: Hosting, *, answers_requests: bool = False) -> Plane:
    try:
        webhooks = WebhookOptions(allowed=parse_allowed(hosting.webhook_allow), threshold=hosting.threshold)
        redis = _open_redis(hosting.redis_url, must_answer=answers_requests)
        return Plane(
            hosting.database_url, driver=hosting.driver, seed=None, is_alone=False, webhooks=webhooks, redis=redis
        )
    except (UnusableDatabase, DatabaseUnavailable, UnusableKey, UnusableRedis, RuntimeError, ValueError) as exc:
        raise Misconfigured(str(exc)) from exc


def _open_redis(url: str | None, *, must_answer: bool) -> RedisStore | None:
    if not url:
        return None
    redis = RedisStore(url)
    if must_answer:
        redis.require()
    return redis
