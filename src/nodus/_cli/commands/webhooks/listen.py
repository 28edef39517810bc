"""`nodus webhooks listen`: events on this machine."""

from __future__ import annotations

import asyncclick

from ... import exit_codes
from ...invocation import Invocation
from ...options import completing, event_types, json_option


@asyncclick.command("listen")
@asyncclick.option(
    "--forward-to",
    required=True,
    metavar="URL",
    help="Where to post each delivery, unchanged: for example a server on this machine.",
)
@asyncclick.option(
    "--event",
    "events",
    multiple=True,
    metavar="TYPE",
    shell_complete=completing(event_types),
    help="An event type to receive. Repeatable. By default, all types.",
)
@asyncclick.option(
    "--port",
    type=asyncclick.IntRange(0, 65_535),
    default=0,
    show_default=True,
    help="The loopback port to receive on; 0 picks a free one.",
)
@asyncclick.option(
    "--public-url",
    metavar="URL",
    help="The URL under which a control plane elsewhere reaches that port, such as a tunnel's; with the path of "
    "--forward-to.",
)
@json_option
@asyncclick.pass_obj
async def command(
    invocation: Invocation,
    /,
    forward_to: str,
    events: tuple[str, ...],
    port: int,
    public_url: str | None,
    as_json: bool,
) -> int:
    """Receive events on this machine, and forward them.

    Registers an endpoint for as long as it runs, and prints its secret on stderr: set NODUS_WEBHOOK_SECRET to it for
    the server that receives the forwarded deliveries, which are unchanged, signature included. That server's answers
    are passed on, so that failed deliveries are retried. A control plane on this machine delivers to loopback; for any
    other, give --public-url. With --json, the first line is the endpoint with its secret.
    """
    from ...listening import Listening, listen

    await listen(invocation, Listening(forward_to, events, port, public_url), as_json=as_json)
    return exit_codes.OK
