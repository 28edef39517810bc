"""`nodus list`, `get`, `wait`, `cancel`, `logs` and `events`: jobs that were submitted before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncclick

from ..._enums import JobStatus
from ..._fields import FILTERS
from .. import exit_codes
from ..invocation import Invocation
from ..jobs import show_job, show_rows, show_tab_separated
from ..options import (
    DEFAULT_LIMIT,
    LABELS_AND_TIMES,
    cancel_on_interrupt_option,
    field_options,
    filter_options,
    json_option,
    listed,
    poll_option,
    read_filters,
    require_wait,
    timeout_option,
    wait_option,
)
from ..output import STATUS_COLOURS, Output, Painted, local_time, utc_time
from ..terminal import shell_line
from ..waiting import WaitOptions, watch

if TYPE_CHECKING:
    from ..._models import JobView
    from ..._resources import JobEvent

_FILTERS = {
    **LABELS_AND_TIMES,
    "status": [
        asyncclick.option(
            "--status",
            multiple=True,
            type=asyncclick.Choice([status.value for status in JobStatus]),
            help="Only jobs in this status. Repeatable.",
        )
    ],
}


@asyncclick.command("list")
@asyncclick.option(
    "--limit", type=asyncclick.IntRange(min=1), metavar="N", help=f"The most jobs to list. By default, {DEFAULT_LIMIT}."
)
@asyncclick.option("--all", "everything", is_flag=True, help="List all jobs.")
@field_options(FILTERS, _FILTERS)
@json_option
@asyncclick.pass_obj
async def list_command(
    invocation: Invocation,
    /,
    limit: int | None,
    everything: bool,
    labels: tuple[str, ...],
    as_json: bool,
    **filters: Any,
) -> int:
    """List recent jobs, newest first.

    On a terminal this is a table. Otherwise the columns are separated by tabs, without a header: id, status, GPUs,
    supplier, region, cost, time of creation.
    """
    output = invocation.output
    wanted, page_size = listed(limit, everything=everything)
    for_people = output.is_terminal and not as_json
    table: list[JobView] = []
    shown = 0
    async with invocation.client() as client:
        async for job in client.iter_jobs(page_size=page_size, **read_filters(labels, filters)):
            if for_people:
                table.append(job.view)
            elif as_json:
                show_job(output, job.view, as_json=True)
            else:
                show_tab_separated(output, job.view)
            shown += 1
            if shown == wanted or output.reader_gone:
                break
    if table:
        show_rows(output, table)
    elif not shown:
        output.note("No jobs.")
    return exit_codes.OK


@asyncclick.command("get")
@asyncclick.argument("job_id", metavar="ID")
@wait_option
@timeout_option
@poll_option
@cancel_on_interrupt_option
@json_option
@asyncclick.pass_obj
async def get_command(
    invocation: Invocation,
    /,
    job_id: str,
    wait: bool,
    timeout: float | None,
    poll_seconds: float | None,
    cancel_on_interrupt: bool,
    as_json: bool,
) -> int:
    """Show one job.

    Without --wait, the exit status is 0 whatever the job's status.
    """
    require_wait(asyncclick.get_current_context())
    async with invocation.client() as client:
        job = await client.get(job_id)
        if wait:
            return await watch(
                invocation, client, job, WaitOptions(timeout, poll_seconds, cancel_on_interrupt, as_json)
            )
        show_job(invocation.output, job.view, as_json=as_json)
        return exit_codes.OK


@asyncclick.command("wait")
@asyncclick.argument("job_id", metavar="[ID]", required=False)
@filter_options
@timeout_option
@poll_option
@cancel_on_interrupt_option
@json_option
@asyncclick.pass_obj
async def wait_command(
    invocation: Invocation,
    /,
    job_id: str | None,
    labels: tuple[str, ...],
    timeout: float | None,
    poll_seconds: float | None,
    cancel_on_interrupt: bool,
    as_json: bool,
    **filters: Any,
) -> int:
    """Wait until a job, or all jobs that are chosen, are over.

    Prints the job's final state, and exits with status 0 only if it completed. A control plane that is down for a while
    does not end the waiting, and Ctrl-C does not end the job.

    Without ID, waits for all jobs that match when it begins, prints each as it ends, as `nodus list` does, and exits
    with status 0 only if all completed; those that are over already count too.
    """
    from ..selection import chosen, wait_for_all

    wanted = read_filters(labels, filters)
    wait_options = WaitOptions(timeout, poll_seconds, cancel_on_interrupt, as_json)
    several = chosen(job_id, wanted)
    async with invocation.client() as client:
        if several or job_id is None:
            return await wait_for_all(invocation, client, wanted, wait_options)
        return await watch(invocation, client, client.job(job_id), wait_options)


@asyncclick.command("cancel")
@asyncclick.argument("job_id", metavar="[ID]", required=False)
@filter_options
@asyncclick.option("--yes", "-y", is_flag=True, help="Do not ask before cancelling several jobs.")
@json_option
@asyncclick.pass_obj
async def cancel_command(
    invocation: Invocation,
    /,
    job_id: str | None,
    labels: tuple[str, ...],
    yes: bool,
    as_json: bool,
    **filters: Any,
) -> int:
    """Cancel a job, or all jobs that are chosen.

    A running job is cancelled once its supplier confirms, usually within 10 s. A job that is over is left as it is.

    Without ID, cancels all jobs that match and are not over, and prints each as `nodus list` does. Before it cancels
    more than one, it shows them and asks, if it can: on a terminal, without --yes and --json.
    """
    from ..selection import cancel_all, chosen

    wanted = read_filters(labels, filters)
    several = chosen(job_id, wanted)
    async with invocation.client() as client:
        if several or job_id is None:
            return await cancel_all(invocation, client, wanted, as_json=as_json, sure=yes)
        job = await client.job(job_id).cancel()
        show_job(invocation.output, job.view, as_json=as_json)
        if not job.is_terminal:
            wait = shell_line("nodus", "wait", job.id)
            invocation.output.note(f"The supplier has yet to confirm. To wait for that: {wait}")
        return exit_codes.OK


@asyncclick.command("logs")
@asyncclick.argument("job_id", metavar="ID")
@asyncclick.option("--follow", "-f", is_flag=True, help="Keep printing, until the job is over.")
@asyncclick.option("--raw", is_flag=True, help="Print the output unchanged on a terminal too, which then obeys it.")
@json_option
@asyncclick.pass_obj
async def logs_command(invocation: Invocation, /, job_id: str, follow: bool, raw: bool, as_json: bool) -> int:
    """Print a job's output, or follow it.

    Into a file or a pipe, the output is written unchanged. On a terminal, colours pass, and other characters that would
    control the terminal are shown as escapes, unless --raw is given.

    With --follow, a dropped connection is reopened where it left off. With --follow and --json, each piece of output is
    an object of its own.
    """
    output = invocation.output

    def write(text: str) -> None:
        if as_json:
            output.json({"job_id": job_id, "text": text})
        else:
            output.program_text(text, raw=raw)

    try:
        async with invocation.client() as client:
            if not follow:
                write(await client.logs(job_id))
                return exit_codes.OK
            invocation.pending.job_id = job_id
            async with client.logs(job_id, follow=True) as pieces:
                async for text in pieces:
                    write(text)
                    if output.reader_gone:
                        break
    finally:
        output.end_program_text()
    return exit_codes.OK


@asyncclick.command("events")
@asyncclick.argument("job_id", metavar="[ID]", required=False)
@asyncclick.option(
    "--after",
    metavar="ID",
    help="Start after this event: its id, or, for a single job, its number. `latest` skips past events.",
)
@json_option
@asyncclick.pass_obj
async def events_command(invocation: Invocation, /, job_id: str | None, after: str | None, as_json: bool) -> int:
    """Follow jobs live, one line per transition.

    With ID, follow one job from its submission to its end. Without, follow all jobs, past transitions first, until
    interrupted. Dropped connections are reopened; no transition is missed or repeated. If stdout is not a terminal, the
    columns are separated by tabs: id, time, job, number, status, placements, supplier, region, reason.
    """
    output = invocation.output
    async with invocation.client() as client:
        if job_id is not None:
            invocation.pending.job_id = job_id
        async with client.events(job_id, after=after) as events:
            async for event in events:
                _show_event(output, event, as_json=as_json)
                if job_id is None and event.id is not None:
                    invocation.pending.resume = shell_line("nodus", "events", "--after", event.id)
                if output.reader_gone:
                    break
    return exit_codes.OK


def _show_event(output: Output, event: JobEvent, *, as_json: bool) -> None:
    if as_json:
        output.json_text(event.model_dump_json())
        return
    status = event.status.value
    if not output.is_terminal:
        at = "" if event.at is None else utc_time(event.at)
        cells = [event.id, at, event.job_id, event.seq, status, event.attempt, event.supplier, event.region]
        output.row([*cells, event.reason])
        return
    at = "-" * 19 if event.at is None else local_time(event.at)
    where = ", ".join(part for part in (event.supplier, event.region) if part)
    reason = f"  ({event.reason})" if event.reason else ""
    rest = f"{' ' * (9 - len(status))}  {where}{reason}".rstrip()
    output.data(f"{at}  {event.job_id}  ", Painted(status, STATUS_COLOURS.get(status)), rest)
