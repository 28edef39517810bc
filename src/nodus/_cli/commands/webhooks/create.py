"""`nodus webhooks create`: a new endpoint."""

from __future__ import annotations

import asyncclick

from ... import exit_codes
from ...invocation import Invocation
from ...options import completing, event_types, json_option
from ...webhooks import show_secret_note, show_webhook


@asyncclick.command("create")
@asyncclick.argument("url")
@asyncclick.option(
    "--event",
    "events",
    multiple=True,
    required=True,
    metavar="TYPE",
    shell_complete=completing(event_types),
    help="An event type to deliver, such as job.completed. Repeatable.",
)
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, url: str, events: tuple[str, ...], as_json: bool) -> int:
    """Register an endpoint, and print its secret, which is shown only once."""
    async with invocation.client() as client:
        hook = await client.webhooks.create(url=url, events=events)
    show_webhook(invocation.output, hook, as_json=as_json)
    show_secret_note(invocation.output, "The secret")
    return exit_codes.OK
