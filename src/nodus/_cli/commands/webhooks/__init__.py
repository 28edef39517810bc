"""`nodus webhooks`: the endpoints that events are delivered to."""

from __future__ import annotations

from ...groups import Subcommands

command = Subcommands(
    "webhooks",
    __name__,
    {
        "create": "Register an endpoint, and print its secret, which is shown only once.",
        "list": "List the endpoints.",
        "get": "Show an endpoint.",
        "delete": "Delete an endpoint.",
        "enable": "Let events be delivered again to an endpoint that was disabled.",
        "rotate": "Replace an endpoint's secret, and print the new one, which is shown only once.",
        "deliveries": "List the deliveries to an endpoint, newest first.",
        "replay": "Deliver an event again.",
        "listen": "Receive events on this machine, and forward them.",
    },
    help="Manage the endpoints that events are delivered to.",
)
