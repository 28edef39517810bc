"""What operators say about commands that run on their machine, on the command line."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import asyncclick

from ...runner.containment import AUTO, CONTAINMENTS
from .exposure import secret_files
from .options import KEEP_DAYS, ProcessOptions, default_at_once


def process_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of `--driver process`, as one argument `process`."""

    @functools.wraps(command)
    def with_options(
        *args: Any,
        process_jobs: int | None,
        process_isolation_not_needed: bool,
        process_user: str | None,
        process_containment: str,
        process_memory_gib: float | None,
        process_keep_days: float,
        **kwargs: Any,
    ) -> Any:
        options = ProcessOptions(
            at_once=default_at_once() if process_jobs is None else process_jobs,
            isolation_is_not_needed=process_isolation_not_needed,
            user=process_user,
            containment=process_containment,
            memory_bytes=None if process_memory_gib is None else round(process_memory_gib * 2**30),
            keep_days=process_keep_days,
            hidden_files=secret_files(os.environ),
        )
        return command(*args, process=options, **kwargs)

    for option in reversed(_OPTIONS):
        with_options = option(with_options)
    return with_options


containment_option = asyncclick.option(
    "--process-containment",
    type=asyncclick.Choice(CONTAINMENTS),
    default=AUTO,
    show_default=True,
    help="Where commands run: whether programs are kept from other processes and from the database's files.",
)

keep_days_option = asyncclick.option(
    "--process-keep-days",
    type=asyncclick.FloatRange(min=0),
    metavar="DAYS",
    default=KEEP_DAYS,
    show_default=True,
    help="Where commands run: how long the output of a job that is over is kept on this machine.",
)

_OPTIONS = (
    asyncclick.option(
        "--process-jobs",
        type=asyncclick.IntRange(min=1),
        metavar="N",
        help="With --driver process: how many jobs run at once. By default, two for each core, and four at least.",
    ),
    asyncclick.option(
        "--process-isolation-not-needed",
        is_flag=True,
        help="With --driver process: take jobs of several customers, whose programs can reach each other.",
    ),
    asyncclick.option(
        "--process-user",
        metavar="USER",
        help="With --driver process, as root: run commands as this user, which nothing else uses.",
    ),
    containment_option,
    asyncclick.option(
        "--process-memory-gib",
        type=asyncclick.FloatRange(min=0, min_open=True),
        metavar="GIB",
        help="With --driver process: how much memory one process of a job may fill. By default, any amount.",
    ),
    keep_days_option,
)
