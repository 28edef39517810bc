"""`nodus ledger consistency`: the proof that nothing was rewritten."""

from __future__ import annotations

import asyncclick

from ... import exit_codes
from ...facts import show_facts
from ...invocation import Invocation
from ...options import json_option


@asyncclick.command("consistency")
@asyncclick.argument("from_size", type=asyncclick.IntRange(min=1), metavar="FROM")
@asyncclick.argument("to_size", type=asyncclick.IntRange(min=1), metavar="TO")
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, from_size: int, to_size: int, as_json: bool) -> int:
    """Print the proof that one ledger begins with another.

    FROM and TO are their sizes (RFC 9162, section 2.1.4).
    """
    if to_size < from_size:
        raise asyncclick.BadParameter(f"must be at least FROM, {from_size}, not {to_size}.", param_hint="TO")
    async with invocation.client() as client:
        proof = await client.ledger.consistency(from_size, to_size)
    if as_json:
        invocation.output.json_text(proof.model_dump_json(by_alias=True))
        return exit_codes.OK
    facts = [("from", str(proof.from_size)), ("to", str(proof.to_size))]
    show_facts(invocation.output, [*facts, *(("path", each) for each in proof.hashes)])
    return exit_codes.OK
