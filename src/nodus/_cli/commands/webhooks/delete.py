"""`nodus webhooks delete`: remove an endpoint."""

from __future__ import annotations

import asyncclick

from ... import exit_codes
from ...invocation import Invocation
from ...options import json_option


@asyncclick.command("delete")
@asyncclick.argument("webhook_id", metavar="ID")
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, webhook_id: str, as_json: bool) -> int:
    """Delete an endpoint.

    Nothing is delivered to it from then on.
    """
    async with invocation.client() as client:
        await client.webhooks.delete(webhook_id)
    if as_json:
        invocation.output.json({"id": webhook_id, "deleted": True})
    else:
        invocation.output.data(f"deleted {webhook_id}")
    return exit_codes.OK
