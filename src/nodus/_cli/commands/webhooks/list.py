"""`nodus webhooks list`: all endpoints."""

from __future__ import annotations

import asyncclick

from ... import exit_codes
from ...invocation import Invocation
from ...options import json_option
from ...webhooks import show_webhook_row


@asyncclick.command("list")
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, as_json: bool) -> int:
    """List the endpoints.

    The columns are separated by tabs: id, live or disabled, URL, types of events.
    """
    async with invocation.client() as client:
        hooks = await client.webhooks.list()
    for hook in hooks:
        show_webhook_row(invocation.output, hook, as_json=as_json)
    if not hooks:
        invocation.output.note("No endpoints.")
    return exit_codes.OK
