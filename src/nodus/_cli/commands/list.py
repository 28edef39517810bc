"""`nodus list`: recent jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncclick

from ..._enums import JobStatus
from ..._fields import FILTERS
from .. import exit_codes
from ..invocation import Invocation
from ..jobs import show_job, show_rows, show_tab_separated
from ..options import field_options, json_option

if TYPE_CHECKING:
    from ..._models import JobView

DEFAULT_LIMIT = 50
MAX_PAGE_SIZE = 200

_SPECIAL = {
    "status": [
        asyncclick.option(
            "--status",
            multiple=True,
            type=asyncclick.Choice([status.value for status in JobStatus]),
            help="Only jobs in this status. Repeatable.",
        )
    ]
}


@asyncclick.command("list")
@asyncclick.option(
    "--limit", type=asyncclick.IntRange(min=1), metavar="N", help=f"The most jobs to list. By default, {DEFAULT_LIMIT}."
)
@asyncclick.option("--all", "everything", is_flag=True, help="List all jobs.")
@field_options(FILTERS, _SPECIAL)
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, limit: int | None, everything: bool, as_json: bool, **filters: Any) -> int:
    """List recent jobs, newest first.

    On a terminal this is a table. Otherwise the columns are separated by tabs, without a header: id, status, GPUs,
    supplier, region, cost, time of creation.
    """
    if everything and limit is not None:
        raise asyncclick.UsageError("--all and --limit exclude each other.")
    output = invocation.output
    wanted = None if everything else limit or DEFAULT_LIMIT
    page_size = MAX_PAGE_SIZE if wanted is None else min(wanted, MAX_PAGE_SIZE)
    for_people = output.is_terminal and not as_json
    table: list[JobView] = []
    shown = 0
    async with invocation.client() as client:
        async for job in client.iter_jobs(page_size=page_size, **filters):
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
