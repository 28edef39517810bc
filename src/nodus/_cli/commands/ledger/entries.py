"""`nodus ledger entries`: the rows."""

from __future__ import annotations

import asyncclick

from ... import exit_codes
from ...invocation import Invocation
from ...options import json_option

MAX_PAGE_SIZE = 200


@asyncclick.command("entries")
@asyncclick.option("--job", "job_id", metavar="ID", help="Only rows about this job.")
@asyncclick.option(
    "--after", type=asyncclick.IntRange(min=0), default=0, metavar="SEQ", help="Only rows after this one."
)
@asyncclick.option(
    "--limit", type=asyncclick.IntRange(min=1), metavar="N", help="The most rows to print. By default, all."
)
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, job_id: str | None, after: int, limit: int | None, as_json: bool) -> int:
    """Print rows, in order.

    The columns are separated by tabs: number, time, kind, job, key, principal, leaf hash. With --json, each line is a
    whole row, and `nodus ledger verify --file` accepts the output.
    """
    output = invocation.output
    page_size = MAX_PAGE_SIZE if limit is None else min(limit, MAX_PAGE_SIZE)
    shown = 0
    async with invocation.client() as client:
        async for entry in client.ledger.iter_entries(job_id=job_id, after=after, page_size=page_size):
            if as_json:
                output.json_text(entry.model_dump_json())
            else:
                principal = None if entry.principal_kind is None else entry.principal_kind.value
                output.row((entry.seq, entry.at, entry.kind, entry.job_id, entry.key_id, principal, entry.leaf_hash))
            shown += 1
            if shown == limit or output.reader_gone:
                break
    if not shown:
        output.note("No rows.")
    return exit_codes.OK
