"""`nodus webhooks enable`: deliver to an endpoint again."""

from __future__ import annotations

import asyncclick

from ... import exit_codes
from ...invocation import Invocation
from ...options import json_option
from ...webhooks import show_webhook


@asyncclick.command("enable")
@asyncclick.argument("webhook_id", metavar="ID")
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, webhook_id: str, as_json: bool) -> int:
    """Let events be delivered again to an endpoint that was disabled.

    An endpoint is disabled when it answers 410, or accepts nothing for days. What failed meanwhile can be replayed.
    """
    async with invocation.client() as client:
        hook = await client.webhooks.enable(webhook_id)
    show_webhook(invocation.output, hook, as_json=as_json)
    return exit_codes.OK
