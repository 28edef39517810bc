"""`rotate`: give a key a new signing secret; the old one verifies for a day more."""

from __future__ import annotations

import argparse
from typing import Any

from nodus_core.times import timestamp

from ..keys.keys import OLD_SECRET_VERIFIES_MS
from .exit_codes import OK
from .opening import add_common_options, existing_keys
from .printing import SHOWN_ONCE, print_facts, print_json


def add(commands: Any) -> None:
    """Declare the command."""
    command: argparse.ArgumentParser = commands.add_parser(
        "rotate",
        help="give a key a new signing secret",
        description="Give a key a new signing secret, which is shown only here. The previous one remains valid for 24 "
        "hours; rotate twice to end it at once. The API key stays the same.",
    )
    command.add_argument("key_id", metavar="KEY_ID", help="the key, as `mint` and `list` name it")
    add_common_options(command)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with existing_keys(options) as opened:
        secret = opened.keys.rotate(options.key_id, opened.now, opened.real_now)
    until = timestamp(opened.real_now + OLD_SECRET_VERIFIES_MS)
    if options.json:
        print_json({"signing_secret": secret, "key_id": options.key_id, "old_secret_until": until})
    else:
        print_facts({"signing_secret": secret + SHOWN_ONCE, "key_id": options.key_id, "old_until": until})
    return OK
