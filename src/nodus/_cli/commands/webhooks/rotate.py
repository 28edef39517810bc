"""`nodus webhooks rotate`: a new secret."""

from __future__ import annotations

import asyncclick

from ... import exit_codes
from ...invocation import Invocation
from ...options import json_option
from ...webhooks import show_secret_note


@asyncclick.command("rotate")
@asyncclick.argument("webhook_id", metavar="ID")
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, webhook_id: str, as_json: bool) -> int:
    """Replace an endpoint's secret, and print the new one, which is shown only once.

    For 24 hours, deliveries are signed with the old secret too.
    """
    async with invocation.client() as client:
        rotated = await client.webhooks.rotate(webhook_id)
    if as_json:
        invocation.output.json({"id": webhook_id, "secret": rotated.secret})
    else:
        invocation.output.data(rotated.secret)
    show_secret_note(invocation.output, "The new secret")
    return exit_codes.OK
