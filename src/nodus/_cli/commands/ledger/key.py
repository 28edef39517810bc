"""`nodus ledger key`: the public key that checkpoints are signed with."""

from __future__ import annotations

import asyncclick

from ... import exit_codes
from ...invocation import Invocation
from ...options import json_option


@asyncclick.command("key")
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, as_json: bool) -> int:
    """Print the public key that checkpoints are signed with.

    It is printed as a verifier key for signed notes (C2SP). Pin it: fetch it once, keep it, and pass it to
    `nodus ledger verify`.
    """
    async with invocation.client() as client:
        key = await client.ledger.key()
    if as_json:
        invocation.output.json_text(key.model_dump_json())
    else:
        invocation.output.data(key.vkey)
    return exit_codes.OK
