"""Ends what can be found of an attempt, its runner included, where no runner does it."""

from __future__ import annotations

import os
from typing import NamedTuple

from ...runner import attempt_files, processes
from ...runner.attempt_files import Identity, Program
from .environment import WORK_DIRECTORY_VARIABLE
from .keeping import own_directories


class Found(NamedTuple):
    """What was found of an attempt, and killed.

    Attributes:
        is_over: nothing that can be killed was left.
        was_running: something of its program was there.
    """

    is_over: bool
    was_running: bool


def kill_everything(directory: str, runner: Identity | None, program: Program | None) -> Found:
    """Kill what can be found of an attempt, its runner last; to be repeated until it is over."""
    if not processes.ON_LINUX:
        return Found(is_over=True, was_running=False)
    runners = processes.runners_of(directory)
    if runner is not None and processes.is_running(runner):
        runners.add(runner.pid)
    left: set[int] = set()
    for pid in runners:
        left.update(processes.descendants(pid))
    marker = f"{WORK_DIRECTORY_VARIABLE}={os.path.join(directory, attempt_files.WORK_DIRECTORY)}"
    process = None if program is None else program.process
    left.update(processes.left_of(process, marker, own_directories(directory)))
    left -= runners
    untouchable = set(processes.send(left, processes.KILL))
    if not left - untouchable:
        # The runners last: while one lives, nothing that is forked meanwhile gets away from below it.
        untouchable.update(processes.send(runners, processes.KILL))
    return Found(is_over=not (left | runners) - untouchable, was_running=bool(left))
