"""`nodus ledger checkpoint`: the signed size and root of the ledger."""

from __future__ import annotations

import asyncclick

from ... import exit_codes
from ...invocation import Invocation
from ...options import json_option


@asyncclick.command("checkpoint")
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, as_json: bool) -> int:
    """Print the signed size and root of the ledger as it is now.

    It is printed as a signed note (C2SP). Keep it in a file, to check the ledger against it later:
    `nodus ledger verify --known FILE`. This machine remembers the last one that it saw, and exits with status 9 if the
    ledger does not go on from there.
    """
    from ...seen import compare_with_last

    async with invocation.client() as client:
        checkpoint = await client.ledger.checkpoint()
        await compare_with_last(invocation, client, checkpoint)
    if as_json:
        invocation.output.data(checkpoint.model_dump_json())
    else:
        invocation.output.lines(checkpoint.note)
    return exit_codes.OK
