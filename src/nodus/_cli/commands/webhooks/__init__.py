"""`nodus webhooks`: the endpoints that events are delivered to."""

from __future__ import annotations

from ...groups import Subcommands

command = Subcommands(
    "webhooks",
    __name__,
    {
        "create": "Register an endpoint; print its secret, this once.",
        "list": "List the endpoints.",
        "get": "Show an endpoint.",
        "delete": "Delete an endpoint.",
        "rotate": "Give an endpoint a new secret; print it, this once.",
        "deliveries": "List what was delivered to an endpoint, newest first.",
        "replay": "Deliver an event once more.",
        "listen": "Receive events on this machine and forward them.",
    },
    help="Manage the endpoints that events are delivered to.",
)
