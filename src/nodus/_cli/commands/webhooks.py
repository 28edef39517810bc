"""`nodus webhooks`: the endpoints that events are delivered to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import asyncclick

from .. import exit_codes
from ..groups import Subcommands
from ..invocation import Invocation
from ..options import DEFAULT_LIMIT, completing, event_types, json_option, listed
from ..output import Output, local_time, show_facts, utc_time

if TYPE_CHECKING:
    from ..._async.webhooks import AsyncWebhooks
    from ..._resources import Delivery, Webhook

_webhook_argument = asyncclick.argument("webhook_id", metavar="ID")


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
async def create_command(invocation: Invocation, /, url: str, events: tuple[str, ...], as_json: bool) -> int:
    """Register an endpoint, and print its secret, which is shown only once."""
    async with invocation.client() as client:
        hook = await client.webhooks.create(url=url, events=events)
    _show_webhook(invocation.output, hook, as_json=as_json)
    _show_secret_note(invocation.output, "The secret")
    return exit_codes.OK


@asyncclick.command("list")
@json_option
@asyncclick.pass_obj
async def list_command(invocation: Invocation, /, as_json: bool) -> int:
    """List the endpoints.

    The columns are separated by tabs: id, live or disabled, URL, types of events.
    """
    async with invocation.client() as client:
        hooks = await client.webhooks.list()
    for hook in hooks:
        _show_webhook_row(invocation.output, hook, as_json=as_json)
    if not hooks:
        invocation.output.note("No endpoints.")
    return exit_codes.OK


@asyncclick.command("get")
@_webhook_argument
@json_option
@asyncclick.pass_obj
async def get_command(invocation: Invocation, /, webhook_id: str, as_json: bool) -> int:
    """Show an endpoint."""
    return await _show_answer(invocation, lambda webhooks: webhooks.get(webhook_id), as_json=as_json)


@asyncclick.command("delete")
@_webhook_argument
@json_option
@asyncclick.pass_obj
async def delete_command(invocation: Invocation, /, webhook_id: str, as_json: bool) -> int:
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


@asyncclick.command("enable")
@_webhook_argument
@json_option
@asyncclick.pass_obj
async def enable_command(invocation: Invocation, /, webhook_id: str, as_json: bool) -> int:
    """Let events be delivered again to an endpoint that was disabled.

    An endpoint is disabled when it answers 410, or accepts nothing for days. What failed meanwhile can be replayed.
    """
    return await _show_answer(invocation, lambda webhooks: webhooks.enable(webhook_id), as_json=as_json)


@asyncclick.command("rotate")
@_webhook_argument
@json_option
@asyncclick.pass_obj
async def rotate_command(invocation: Invocation, /, webhook_id: str, as_json: bool) -> int:
    """Replace an endpoint's secret, and print the new one, which is shown only once.

    For 24 hours, deliveries are signed with the old secret too.
    """
    async with invocation.client() as client:
        rotated = await client.webhooks.rotate(webhook_id)
    if as_json:
        invocation.output.json({"id": webhook_id, "secret": rotated.secret})
    else:
        invocation.output.data(rotated.secret)
    _show_secret_note(invocation.output, "The new secret")
    return exit_codes.OK


@asyncclick.command("deliveries")
@_webhook_argument
@asyncclick.option(
    "--limit",
    type=asyncclick.IntRange(min=1),
    metavar="N",
    help=f"The most deliveries to list. By default, {DEFAULT_LIMIT}.",
)
@asyncclick.option("--all", "everything", is_flag=True, help="List all deliveries.")
@json_option
@asyncclick.pass_obj
async def deliveries_command(
    invocation: Invocation, /, webhook_id: str, limit: int | None, everything: bool, as_json: bool
) -> int:
    """List the deliveries to an endpoint, newest first.

    The columns are separated by tabs: id, status, event type, event id, attempts, outcome of the last attempt, time of
    the next attempt.
    """
    wanted, page_size = listed(limit, everything=everything)
    shown = 0
    async with invocation.client() as client:
        async for delivery in client.webhooks.iter_deliveries(webhook_id, page_size=page_size):
            _show_delivery_row(invocation.output, delivery, as_json=as_json)
            shown += 1
            if shown == wanted or invocation.output.reader_gone:
                break
    if not shown:
        invocation.output.note("No deliveries.")
    return exit_codes.OK


@asyncclick.command("replay")
@_webhook_argument
@asyncclick.argument("delivery_id", metavar="DELIVERY")
@json_option
@asyncclick.pass_obj
async def replay_command(invocation: Invocation, /, webhook_id: str, delivery_id: str, as_json: bool) -> int:
    """Deliver an event again.

    DELIVERY is the id that `nodus webhooks deliveries` shows. The event keeps its own id.
    """
    async with invocation.client() as client:
        delivery = await client.webhooks.replay(webhook_id, delivery_id)
    _show_delivery_row(invocation.output, delivery, as_json=as_json)
    return exit_codes.OK


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
async def listen_command(
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
    from ..listening import ListenOptions, listen

    await listen(invocation, ListenOptions(forward_to, events, port, public_url), as_json=as_json)
    return exit_codes.OK


async def _show_answer(
    invocation: Invocation, request: Callable[[AsyncWebhooks], Awaitable[Webhook]], *, as_json: bool
) -> int:
    """Send a request that is answered with an endpoint, and show that."""
    async with invocation.client() as client:
        hook = await request(client.webhooks)
    _show_webhook(invocation.output, hook, as_json=as_json)
    return exit_codes.OK


def _show_webhook(output: Output, hook: Webhook, *, as_json: bool) -> None:
    """Write all that is known of an endpoint, including its secret if the response had it."""
    if as_json:
        output.json_text(hook.model_dump_json(exclude=None if hook.secret else {"secret"}))
        return
    show_facts(
        output,
        [
            ("id", hook.id),
            ("url", hook.url),
            ("events", ", ".join(hook.events)),
            ("secret", hook.secret),
            ("created", None if hook.created_at is None else local_time(hook.created_at)),
            ("disabled", None if hook.disabled_at is None else local_time(hook.disabled_at)),
            ("reason", hook.disabled_reason),
            ("failing since", None if hook.failing_since is None else local_time(hook.failing_since)),
            ("held until", None if hook.held_until is None else local_time(hook.held_until)),
        ],
    )


def _show_webhook_row(output: Output, hook: Webhook, *, as_json: bool) -> None:
    """Write an endpoint as one line."""
    if as_json:
        _show_webhook(output, hook, as_json=True)
    else:
        state = "disabled" if hook.disabled_at is not None else "failing" if hook.failing_since is not None else "live"
        output.row((hook.id, state, hook.url, ",".join(hook.events)))


def _show_delivery_row(output: Output, delivery: Delivery, *, as_json: bool) -> None:
    """Write a delivery as one line, with the outcome of its last attempt."""
    if as_json:
        output.json_text(delivery.model_dump_json())
        return
    last = delivery.attempts[-1] if delivery.attempts else None
    outcome = None if last is None else last.error or last.status_code
    due = None if delivery.next_retry_at is None else utc_time(delivery.next_retry_at)
    tries = len(delivery.attempts)
    output.row((delivery.id, delivery.status, delivery.event_type, delivery.event_id, tries, outcome, due))


def _show_secret_note(output: Output, what: str) -> None:
    """Tell the user to keep a secret that is shown only now."""
    output.note(
        f"{what} is shown only once: store it, and set NODUS_WEBHOOK_SECRET to it where deliveries are verified."
    )


webhooks_command = Subcommands(
    "webhooks",
    [
        create_command,
        list_command,
        get_command,
        delete_command,
        enable_command,
        rotate_command,
        deliveries_command,
        replay_command,
        listen_command,
    ],
    help="Manage the endpoints that events are delivered to.",
)
