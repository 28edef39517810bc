"""`nodus webhooks get`: one endpoint."""

from __future__ import annotations

import asyncclick

from ... import exit_codes
from ...invocation import Invocation
from ...options import json_option
from ...webhooks import show_webhook


@asyncclick.command("get")
@asyncclick.argument("webhook_id", metavar="ID")
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, webhook_id: str, as_json: bool) -> int:
    """Show an endpoint."""
    async with invocation.client() as client:
        hook = await client.webhooks.get(webhook_id)
    show_webhook(invocation.output, hook, as_json=as_json)
    return exit_codes.OK
