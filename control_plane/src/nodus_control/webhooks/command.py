"""What operators say about webhooks on the command line."""

from __future__ import annotations

import asyncclick

from nodus_ledger.keys.thresholds import DEFAULT_FRACTION

allow_option = asyncclick.option(
    "--webhook-allow",
    metavar="CIDR|HOST",
    multiple=True,
    help="Allow webhooks to this network or host, although it is not public. Repeatable.",
)

threshold_option = asyncclick.option(
    "--threshold",
    type=asyncclick.FloatRange(0, 1, min_open=True),
    default=DEFAULT_FRACTION,
    show_default=True,
    help="The fraction of a key's monthly cap at which budget.threshold_reached fires.",
)
