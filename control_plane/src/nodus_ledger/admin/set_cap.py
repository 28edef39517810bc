"""`set-cap`: change what a key may spend in a month, from the next submission on."""

from __future__ import annotations

import argparse
from typing import Any

from nodus_core.money import usd

from . import values
from .exit_codes import OK
from .opening import add_common_options, existing_keys
from .printing import money, print_facts, print_json


def add(commands: Any) -> None:
    """Declare the command."""
    command: argparse.ArgumentParser = commands.add_parser(
        "set-cap",
        help="change a key's monthly cap",
        description="Change a key's monthly cap, from the next submission on. Jobs in flight go on, even if they "
        "exceed the new cap.",
    )
    command.add_argument("key_id", metavar="KEY_ID", help="the key, as `mint` and `list` name it")
    command.add_argument(
        "--monthly-cap-usd",
        required=True,
        type=values.cap_or_none,
        metavar="N|none",
        help="how much it may spend per calendar month, in US dollars, or none for no cap",
    )
    add_common_options(command)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    cap = options.monthly_cap_usd
    with existing_keys(options) as opened:
        opened.keys.set_cap(options.key_id, cap, opened.now)
    if options.json:
        print_json({"key_id": options.key_id, "monthly_cap_usd": None if cap is None else usd(cap)})
    else:
        print_facts({"key_id": options.key_id, "monthly_cap": money(cap)})
    return OK
