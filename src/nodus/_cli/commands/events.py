"""`nodus events`: transitions as they happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncclick

from .. import exit_codes
from ..invocation import Invocation
from ..jobs import local_time, utc_time
from ..options import json_option
from ..output import STATUS_COLOURS, Output, Painted
from ..shell import shell_line

if TYPE_CHECKING:
    from ..._records import JobEvent


@asyncclick.command("events")
@asyncclick.argument("job_id", metavar="[ID]", required=False)
@asyncclick.option(
    "--after",
    metavar="ID",
    help="Start after this event: its id, or, for a single job, its number. `latest` skips past events.",
)
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, job_id: str | None, after: str | None, as_json: bool) -> int:
    """Follow jobs live, one line per transition.

    With ID, follow one job from its submission to its end. Without, follow all jobs, past transitions first, until
    interrupted. Dropped connections are reopened; no transition is missed or repeated. If stdout is not a terminal, the
    columns are separated by tabs: id, time, job, number, status, placements, supplier, region, reason.
    """
    output = invocation.output
    async with invocation.client() as client:
        if job_id is not None:
            invocation.underway.job_id = job_id
        async with client.events(job_id, after=after) as events:
            async for event in events:
                _show(output, event, as_json=as_json)
                if job_id is None and event.id is not None:
                    invocation.underway.resume = shell_line("nodus", "events", "--after", event.id)
                if output.reader_gone:
                    break
    return exit_codes.OK


def _show(output: Output, event: JobEvent, *, as_json: bool) -> None:
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
