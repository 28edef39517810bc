"""`nodus ledger proof`: the proof that a row is in the ledger."""

from __future__ import annotations

import asyncclick

from ... import exit_codes
from ...facts import show_facts
from ...invocation import Invocation
from ...options import json_option


@asyncclick.command("proof")
@asyncclick.argument("seq", type=asyncclick.IntRange(min=1), metavar="SEQ")
@asyncclick.option(
    "--size",
    type=asyncclick.IntRange(min=1),
    metavar="N",
    help="The size of the ledger to prove it for, such as a checkpoint's. By default, the current size.",
)
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, seq: int, size: int | None, as_json: bool) -> int:
    """Print the proof that a row is in the ledger.

    It is the path from the row's leaf hash to the root (RFC 9162, section 2.1.3).
    """
    if size is not None and size < seq:
        raise asyncclick.BadParameter(f"a ledger of {size} rows has no row {seq}.", param_hint="--size")
    async with invocation.client() as client:
        proof = await client.ledger.proof(seq, size=size)
    if as_json:
        invocation.output.json_text(proof.model_dump_json())
        return exit_codes.OK
    facts = [("row", str(proof.seq)), ("size", str(proof.size)), ("leaf hash", proof.leaf_hash)]
    show_facts(invocation.output, [*facts, *(("path", each) for each in proof.hashes)])
    return exit_codes.OK
