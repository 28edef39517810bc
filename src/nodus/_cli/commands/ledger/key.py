"""`nodus ledger key`: who signs."""

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

    As the verifier's key of a signed note (C2SP). Pin it: get it once, and let `nodus ledger verify` have it.
    """
    async with invocation.client() as client:
        key = await client.ledger.key()
    if as_json:
        invocation.output.data(key.model_dump_json())
    else:
        invocation.output.data(key.vkey)
    return exit_codes.OK
