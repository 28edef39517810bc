"""Jobs chosen by what they have in common, and what is done with all of them at once."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import anyio
import asyncclick
from anyio.from_thread import BlockingPortal

from .._errors import JobTimeoutError, NodusError
from .._fields import JobFilters, filter_query
from . import exit_codes
from .invocation import Invocation
from .jobs import show_job, show_rows, show_tab_separated
from .options import MAX_PAGE_SIZE
from .output import STATUS_COLOURS, Output, Painted
from .terminal import shell_line
from .waiting import WaitOptions, cancel

if TYPE_CHECKING:
    from .._async.client import AsyncClient
    from .._async.job import AsyncJob

AT_ONCE = 8
"""How many jobs are cancelled side by side."""

SHOWN = 10
"""How many jobs are shown before they are cancelled."""

_LIVE = ("queued", "placed", "running")
_OPTIONS = {"label": "--label", "name": "--name", "created_after": "--since", "created_before": "--until"}


def chosen(job_id: str | None, filters: JobFilters) -> bool:
    """Whether jobs are chosen by filters, rather than one by its id.

    Raises:
        UsageError: neither, or both.
    """
    by_filters = any(value is not None for value in filters.values())
    if by_filters and job_id is not None:
        raise asyncclick.UsageError("Give an ID, which is one job, or --label, --name, --since and --until, not both.")
    if not by_filters and job_id is None:
        raise asyncclick.UsageError("Name a job by its ID, or choose several by --label, --name, --since or --until.")
    return by_filters


async def wait_for_all(invocation: Invocation, client: AsyncClient, filters: JobFilters, how: WaitOptions) -> int:
    """Wait until all chosen jobs are over, show each as it ends, and return the exit status.

    Raises:
        NodusError: the wait met a permanent failure, or its timeout (`JobTimeoutError`).
    """
    jobs = [job async for job in client.iter_jobs(page_size=MAX_PAGE_SIZE, **filters)]
    if not jobs:
        invocation.fail("job_not_found", "No job is chosen by that.")
        return exit_codes.NOT_FOUND
    line = shell_line("nodus", "wait", *_words(filters), *how.options(wait=False))
    invocation.pending.about_all(len(jobs), line)
    return await wait_for_these(invocation, client, jobs, how)


async def wait_for_these(
    invocation: Invocation, client: AsyncClient, jobs: Sequence[AsyncJob], how: WaitOptions
) -> int:
    """Wait until all of these jobs are over, show each as it ends, and return the exit status.

    Raises:
        NodusError: the wait met a permanent failure, or its timeout (`JobTimeoutError`).
    """
    from .._poll import DEFAULT_POLL_SECONDS

    output = invocation.output
    if how.cancel_on_interrupt:
        invocation.pending.cancel = lambda: cancel_rest(client, jobs)
    over = sum(job.is_terminal for job in jobs)
    output.note(f"Waiting for {_jobs(len(jobs))}{f', of which {over} are over' if over else ''}.")
    ended: set[str] = set()
    try:
        async for job in client.as_completed(
            jobs,
            poll_seconds=DEFAULT_POLL_SECONDS if how.poll_seconds is None else how.poll_seconds,
            timeout_seconds=how.timeout,
        ):
            ended.add(job.id)
            _show_one(output, job, as_json=how.as_json)
    except JobTimeoutError:
        # A program that reads stdout learns which jobs go on.
        for job in jobs:
            if job.id not in ended:
                _show_one(output, job, as_json=how.as_json)
        raise
    finally:
        _show_table(output, jobs, as_json=how.as_json)
    lacking = sum(not job.succeeded for job in jobs)
    if not lacking:
        return exit_codes.OK
    output.note(Painted(f"{lacking} of {_jobs(len(jobs))} did not complete.", STATUS_COLOURS["failed"]))
    return exit_codes.JOB_NOT_COMPLETED


async def cancel_all(
    invocation: Invocation, client: AsyncClient, filters: JobFilters, *, as_json: bool, sure: bool
) -> int:
    """Cancel all chosen jobs that are not over, and return the exit status; before several, a person is asked.

    Args:
        invocation: what the command has.
        client: makes the requests.
        filters: what chooses the jobs.
        as_json: whether stdout is for programs.
        sure: whether to ask nobody.

    Raises:
        NodusError: the first failure, once all others have been tried.
    """
    output = invocation.output
    live: JobFilters = {**filters, "status": _LIVE}
    jobs = [job async for job in client.iter_jobs(page_size=MAX_PAGE_SIZE, **live)]
    if not jobs:
        output.note("No job that is not over is chosen by that.")
        return exit_codes.OK
    if len(jobs) > 1 and not sure and output.can_ask and not await _confirmed(output, jobs):
        output.note("Nothing was cancelled.")
        return exit_codes.OK

    async def end(job: AsyncJob) -> None:
        try:
            await job.cancel()
        except NodusError as exc:
            output.note(f"Job {job.id} could not be cancelled: {exc}")
            raise
        _show_one(output, job, as_json=as_json)

    failures = await _each(jobs, end)
    _show_table(output, jobs, as_json=as_json)
    if failures:
        raise failures[0]
    unconfirmed = sum(not job.is_terminal for job in jobs)
    if unconfirmed:
        wait = shell_line("nodus", "wait", *_words(filters))
        output.note(f"Of {_jobs(unconfirmed)} the supplier has yet to confirm. To wait for that: {wait}")
    return exit_codes.OK


async def ask(output: Output, question: str) -> bool:
    """Ask a person at the terminal something that only `y` or `yes` agrees to.

    The answer is read by a thread of its own, so that an interrupt is noticed meanwhile; it ends with the process.
    """
    answer: list[bytes] = []
    output.ask(question)
    async with BlockingPortal() as portal:
        answered = anyio.Event()

        def read() -> None:
            with contextlib.suppress(OSError):
                # Not by `sys.stdin`, whose lock an interpreter that exits would wait for.
                answer.append(os.read(sys.stdin.fileno(), 1024))
            with contextlib.suppress(RuntimeError):  # nobody waits any more
                portal.call(answered.set)

        threading.Thread(target=read, daemon=True).start()
        await answered.wait()
    return b"".join(answer).decode(errors="replace").strip().lower() in ("y", "yes")


async def _confirmed(output: Output, jobs: Sequence[AsyncJob]) -> bool:
    output.note(f"To be cancelled: {_jobs(len(jobs))}.")
    for job in jobs[:SHOWN]:
        status = job.status.value
        name = f"  {job.name}" if job.name else ""
        output.note(f"  {job.id}  ", Painted(status, STATUS_COLOURS.get(status)), name)
    if len(jobs) > SHOWN:
        output.note(f"  and {len(jobs) - SHOWN} more")
    return await ask(output, "Cancel them? [y/N] ")


async def cancel_rest(client: AsyncClient, jobs: Sequence[AsyncJob]) -> str:
    """Cancel the jobs that are not over within a few seconds; return what became of them."""
    failures = await _each([job for job in jobs if not job.is_terminal], lambda job: cancel(client, job))
    if failures:
        raise failures[0]
    return "cancelled, or about to be"


async def _each(jobs: Sequence[AsyncJob], do: Callable[[AsyncJob], Awaitable[object]]) -> list[NodusError]:
    """Do something with every job, some side by side; return what failed."""
    failures: list[NodusError] = []
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def in_turn(job: AsyncJob) -> None:
        async with limiter:
            try:
                await do(job)
            except NodusError as exc:
                failures.append(exc)

    async with anyio.create_task_group() as tasks:
        for job in jobs:
            tasks.start_soon(in_turn, job)
    return failures


def _show_one(output: Output, job: AsyncJob, *, as_json: bool) -> None:
    """Show a job among several: a row for programs; people get a line on stderr now, and a table in the end."""
    if as_json:
        show_job(output, job.view, as_json=True)
    elif not output.is_terminal:
        show_tab_separated(output, job.view)
    else:
        status = job.status.value
        output.note(f"{job.id}  ", Painted(status, STATUS_COLOURS.get(status)))


def _show_table(output: Output, jobs: Sequence[AsyncJob], *, as_json: bool) -> None:
    if output.is_terminal and not as_json:
        show_rows(output, [job.view for job in jobs])


def _words(filters: JobFilters) -> Iterator[str]:
    """Return the options that choose the same jobs."""
    for name, text in filter_query(filters):
        yield from (_OPTIONS[name], text.replace(":", "=", 1) if name == "label" else text)


def _jobs(count: int) -> str:
    return f"{count} job{'' if count == 1 else 's'}"
