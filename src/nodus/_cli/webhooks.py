"""How endpoints and deliveries are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .facts import show_facts
from .jobs import local_time, utc_time
from .output import Output

if TYPE_CHECKING:
    from .._records import Delivery, Webhook


def show_webhook(output: Output, hook: Webhook, *, as_json: bool) -> None:
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


def show_webhook_row(output: Output, hook: Webhook, *, as_json: bool) -> None:
    """Write an endpoint as one line."""
    if as_json:
        show_webhook(output, hook, as_json=True)
    else:
        state = "disabled" if hook.disabled_at is not None else "failing" if hook.failing_since is not None else "live"
        output.row((hook.id, state, hook.url, ",".join(hook.events)))


def show_delivery_row(output: Output, delivery: Delivery, *, as_json: bool) -> None:
    """Write a delivery as one line, with the outcome of its last attempt."""
    if as_json:
        output.json_text(delivery.model_dump_json())
        return
    last = delivery.attempts[-1] if delivery.attempts else None
    outcome = None if last is None else last.error or last.status_code
    due = None if delivery.next_retry_at is None else utc_time(delivery.next_retry_at)
    tries = len(delivery.attempts)
    output.row((delivery.id, delivery.status, delivery.event_type, delivery.event_id, tries, outcome, due))


def show_secret_note(output: Output, what: str) -> None:
    """Tell the user to keep a secret that is shown only now."""
    output.note(
        f"{what} is shown only once: store it, and set NODUS_WEBHOOK_SECRET to it where deliveries are verified."
    )
