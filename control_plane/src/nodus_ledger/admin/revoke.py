"""`revoke`: end a key for good, from the next request on, in every process."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..database.redis_store import RedisUnavailable
from .exit_codes import OK
from .opening import add_common_options, existing_keys
from .printing import print_facts, print_json


def add(commands: Any) -> None:
    """Declare the command."""
    command: argparse.ArgumentParser = commands.add_parser(
        "revoke",
        help="end a key for good",
        description="End a key for good, from the next request on. Its jobs go on, and are billed.",
    )
    command.add_argument("key_id", metavar="KEY_ID", help="the key, as `mint` and `list` name it")
    add_common_options(command)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with existing_keys(options) as opened:
        try:
            is_new = opened.keys.revoke(options.key_id, opened.now)
        except RedisUnavailable as exc:
            is_new = True
            sys.stderr.write(f"warning: the key is revoked, but its signing secret is still in Redis: {exc}\n")
    if options.json:
        print_json({"key_id": options.key_id, "revoked": True, "was_revoked": not is_new})
    else:
        print_facts({"key_id": options.key_id, "state": "revoked" if is_new else "revoked before"})
    return OK
