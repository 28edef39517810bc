"""`nodus webhooks replay`: deliver an event again."""

from __future__ import annotations

import asyncclick

from ... import exit_codes
from ...invocation import Invocation
from ...options import json_option
from ...webhooks import show_delivery_row


@asyncclick.command("replay")
@asyncclick.argument("webhook_id", metavar="ID")
@asyncclick.argument("delivery_id", metavar="DELIVERY")
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, webhook_id: str, delivery_id: str, as_json: bool) -> int:
    """Deliver an event again.

    DELIVERY is the id that `nodus webhooks deliveries` shows. The event keeps its own id.
    """
    async with invocation.client() as client:
        delivery = await client.webhooks.replay(webhook_id, delivery_id)
    show_delivery_row(invocation.output, delivery, as_json=as_json)
    return exit_codes.OK
