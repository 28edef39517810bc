"""`nodus webhooks deliveries`: the deliveries to an endpoint."""

from __future__ import annotations

import asyncclick

from ... import exit_codes
from ...invocation import Invocation
from ...options import json_option
from ...webhooks import show_delivery_row

DEFAULT_LIMIT = 50
MAX_PAGE_SIZE = 200


@asyncclick.command("deliveries")
@asyncclick.argument("webhook_id", metavar="ID")
@asyncclick.option(
    "--limit",
    type=asyncclick.IntRange(min=1),
    metavar="N",
    help=f"The most deliveries to list. By default, {DEFAULT_LIMIT}.",
)
@asyncclick.option("--all", "everything", is_flag=True, help="List all deliveries.")
@json_option
@asyncclick.pass_obj
async def command(
    invocation: Invocation, /, webhook_id: str, limit: int | None, everything: bool, as_json: bool
) -> int:
    """List the deliveries to an endpoint, newest first.

    The columns are separated by tabs: id, status, event type, event id, attempts, outcome of the last attempt, time of
    the next attempt.
    """
    if everything and limit is not None:
        raise asyncclick.UsageError("--all and --limit exclude each other.")
    wanted = None if everything else limit or DEFAULT_LIMIT
    page_size = MAX_PAGE_SIZE if wanted is None else min(wanted, MAX_PAGE_SIZE)
    shown = 0
    async with invocation.client() as client:
        async for delivery in client.webhooks.iter_deliveries(webhook_id, page_size=page_size):
            show_delivery_row(invocation.output, delivery, as_json=as_json)
            shown += 1
            if shown == wanted or invocation.output.reader_gone:
                break
    if not shown:
        invocation.output.note("No deliveries.")
    return exit_codes.OK
