"""`nodus-control`: the self-hosted control plane, API and worker apart. No seeded keys, no playground controls."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import asyncclick

from nodus_ledger.database import UnusableDatabase
from nodus_ledger.redis_store import RedisStore, UnusableRedis
from nodus_ledger.sealing import UnusableKey
from nodus_ledger.thresholds import DEFAULT_FRACTION

from .app import create_app
from .exit_codes import CONFIGURATION, OK
from .interrupts import catching_interrupts
from .plane import Plane
from .playground.command import Misconfigured
from .server import Server, ServerFailed
from .suppliers.choice import DRIVERS
from .version import VERSION
from .webhooks.addresses import parse_allowed
from .webhooks.command import allow_option, threshold_option
from .webhooks.service import WebhookOptions

DATABASE_VARIABLE = "NODUS_DATABASE_URL"
REDIS_VARIABLE = "NODUS_REDIS_URL"


def _with_database(command: Callable[..., Any]) -> Callable[..., Any]:
    command = asyncclick.option(
        "--driver", type=asyncclick.Choice(DRIVERS), default="simulated", show_default=True, help="What runs jobs."
    )(command)
    command = allow_option(command)
    command = asyncclick.option(
        "--redis",
        "redis_url",
        metavar="URL",
        help=f"Where signing secrets and used signatures are kept; else {REDIS_VARIABLE}, else the database.",
    )(command)
    return asyncclick.option("--db", "database_url", metavar="URL", help=f"The database; else {DATABASE_VARIABLE}.")(
        command
    )


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
@threshold_option
def serve(
    database_url: str | None,
    redis_url: str | None,
    driver: str,
    webhook_allow: tuple[str, ...],
    threshold: float,
    host: str,
    port: int,
) -> int:
    """Answer API requests. Jobs are run by `nodus-control worker` on the same database."""
    with catching_interrupts() as interrupts:
        plane = _open(database_url, redis_url, driver, webhook_allow, threshold, answers_requests=True)
        try:
            server = Server(create_app(plane), host=host, port=port, end_streams=plane.feed.end_streams)
            server.start()
        except ServerFailed as exc:
            plane.close()
            raise Misconfigured(str(exc)) from exc
        asyncclick.echo(f"serving {server.base_url}")
        interrupts.wait()
        server.stop()
        plane.close()
    return OK


@program.command()
@_with_database
def worker(database_url: str | None, redis_url: str | None, driver: str, webhook_allow: tuple[str, ...]) -> int:
    """Run what the API accepts: dispatch jobs, watch them, fail them over."""
    with catching_interrupts() as interrupts:
        plane = _open(database_url, redis_url, driver, webhook_allow)
        plane.start_worker()
        asyncclick.echo("working")
        interrupts.wait()
        plane.close()
    return OK


def main() -> None:
    """Run the command line."""
    sys.exit(program(standalone_mode=True))


def _open(
    database_url: str | None,
    redis_url: str | None,
    driver: str,
    webhook_allow: tuple[str, ...],
    threshold: float = DEFAULT_FRACTION,
    *,
    answers_requests: bool = False,
) -> Plane:
    url = database_url or os.environ.get(DATABASE_VARIABLE)
    if not url:
        raise Misconfigured(f"no database: give --db URL, or set {DATABASE_VARIABLE}")
    try:
        webhooks = WebhookOptions(allowed=parse_allowed(webhook_allow), threshold=threshold)
        redis = _open_redis(redis_url or os.environ.get(REDIS_VARIABLE), must_answer=answers_requests)
        return Plane(url, driver=driver, seed=None, is_alone=False, webhooks=webhooks, redis=redis)
    except (UnusableDatabase, UnusableKey, UnusableRedis, RuntimeError, ValueError) as exc:
        raise Misconfigured(str(exc)) from exc


def _open_redis(url: str | None, *, must_answer: bool) -> RedisStore | None:
    if not url:
        return None
    redis = RedisStore(url)
    if must_answer:
        redis.require()
    return redis


__all__ = ["CONFIGURATION", "main", "program"]
