"""`nodus ledger`: the customer's Trust Ledger."""

from __future__ import annotations

import asyncclick

from .. import exit_codes
from ..groups import Subcommands
from ..invocation import Invocation
from ..options import json_option, listed
from ..output import show_facts

KEY_VARIABLE = "NODUS_LEDGER_KEY"


@asyncclick.command("entries")
@asyncclick.option("--job", "job_id", metavar="ID", help="Only rows about this job.")
@asyncclick.option(
    "--after", type=asyncclick.IntRange(min=0), default=0, metavar="SEQ", help="Only rows after this one."
)
@asyncclick.option(
    "--limit", type=asyncclick.IntRange(min=1), metavar="N", help="The most rows to print. By default, all."
)
@json_option
@asyncclick.pass_obj
async def entries_command(
    invocation: Invocation, /, job_id: str | None, after: int, limit: int | None, as_json: bool
) -> int:
    """Print rows, in order.

    The columns are separated by tabs: number, time, kind, job, key, principal, leaf hash. With --json, each line is a
    whole row, and `nodus ledger verify --file` accepts the output.
    """
    output = invocation.output
    wanted, page_size = listed(limit, everything=False, default=None)
    shown = 0
    async with invocation.client() as client:
        async for entry in client.ledger.iter_entries(job_id=job_id, after=after, page_size=page_size):
            if as_json:
                output.json_text(entry.model_dump_json())
            else:
                principal = None if entry.principal_kind is None else entry.principal_kind.value
                output.row((entry.seq, entry.at, entry.kind, entry.job_id, entry.key_id, principal, entry.leaf_hash))
            shown += 1
            if shown == wanted or output.reader_gone:
                break
    if not shown:
        output.note("No rows.")
    return exit_codes.OK


@asyncclick.command("checkpoint")
@json_option
@asyncclick.pass_obj
async def checkpoint_command(invocation: Invocation, /, as_json: bool) -> int:
    """Print the signed size and root of the ledger as it is now.

    It is printed as a signed note (C2SP). Keep it in a file, to check the ledger against it later:
    `nodus ledger verify --known FILE`. This machine remembers the last one that it saw, and exits with status 9 if the
    ledger does not go on from there.
    """
    from ..checkpoint_store import compare_with_last

    async with invocation.client() as client:
        checkpoint = await client.ledger.checkpoint()
        await compare_with_last(invocation, client, checkpoint)
    if as_json:
        invocation.output.data(checkpoint.model_dump_json())
    else:
        invocation.output.lines(checkpoint.note)
    return exit_codes.OK


@asyncclick.command("key")
@json_option
@asyncclick.pass_obj
async def key_command(invocation: Invocation, /, as_json: bool) -> int:
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
async def proof_command(invocation: Invocation, /, seq: int, size: int | None, as_json: bool) -> int:
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


@asyncclick.command("consistency")
@asyncclick.argument("from_size", type=asyncclick.IntRange(min=1), metavar="FROM")
@asyncclick.argument("to_size", type=asyncclick.IntRange(min=1), metavar="TO")
@json_option
@asyncclick.pass_obj
async def consistency_command(invocation: Invocation, /, from_size: int, to_size: int, as_json: bool) -> int:
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


@asyncclick.command("verify")
@asyncclick.option(
    "--public-key",
    "key",
    metavar="KEY",
    envvar=KEY_VARIABLE,
    help="The pinned public key, from `nodus ledger key`. By default, the server is trusted to name its key.",
    show_envvar=True,
)
@asyncclick.option(
    "--known", metavar="FILE", help="A checkpoint that you kept: the ledger must still begin as it did then."
)
@asyncclick.option(
    "--file",
    "export",
    metavar="FILE",
    help="Verify this output of `nodus ledger entries --json`, or of `nodus ledger statement`, instead, without using "
    "the network; - is stdin.",
)
@asyncclick.option("--checkpoint", metavar="FILE", help="With --file: the checkpoint of these entries.")
@asyncclick.option(
    "--accept-rollback",
    is_flag=True,
    help="Accept a ledger that does not go on from the checkpoint that this machine saw last, and remember it instead.",
)
@json_option
@asyncclick.pass_obj
async def verify_command(
    invocation: Invocation,
    /,
    key: str | None,
    known: str | None,
    export: str | None,
    checkpoint: str | None,
    accept_rollback: bool,
    as_json: bool,
) -> int:
    """Verify the whole ledger: rows, chain, tree and signature.

    Every row must match its hash and follow the row before it, and all rows together must have the signed root. The
    ledger must also go on from the last checkpoint that this machine saw: it is remembered in $XDG_STATE_HOME/nodus
    (~/.local/state/nodus by default; %LOCALAPPDATA%\\nodus on Windows). A statement has its checkpoint, and the proof
    of its rows, in it. The exit status is 9 if anything does not verify. Signatures need the package cryptography.
    """
    from ..ledger_verification import Evidence, verify

    if checkpoint is not None and export is None:
        raise asyncclick.UsageError("--checkpoint needs --file.")
    if accept_rollback and export is not None:
        raise asyncclick.UsageError("--accept-rollback is about the server's ledger, not about --file.")
    return await verify(invocation, Evidence(key, known, export, checkpoint, accept_rollback), as_json=as_json)


@asyncclick.command("statement")
@asyncclick.option("--month", required=True, metavar="YYYY-MM", help="The calendar month, in UTC.")
@asyncclick.option(
    "--file", "target", metavar="FILE", help="Write it to this file, once it is whole. By default, print it."
)
@json_option
@asyncclick.pass_obj
async def statement_command(invocation: Invocation, /, month: str, target: str | None, as_json: bool) -> int:
    """Fetch the statement of a month.

    It has the rows of the month, the proof that these are all from the first to the last, and what they cost, as JSON,
    one object a line, with --json or without. `nodus ledger verify --file` verifies it without the network. A file has
    it byte for byte; what is printed has characters escaped that could steer a terminal. An agent's key gets none.
    """
    async with invocation.client() as client:
        statement = client.ledger.statement(month)
        if target is not None:
            try:
                await statement.save(target)
            except OSError as exc:
                raise asyncclick.UsageError(f"{target}: {exc.strerror or exc}.") from exc
            if as_json:
                invocation.output.json({"month": month, "file": target})
            invocation.output.note(f"Verify it with the key that you pinned: nodus ledger verify --file {target}")
            return exit_codes.OK
        async with statement:
            async for line in statement:
                invocation.output.json_text(line)
                if invocation.output.reader_gone:
                    break
    return exit_codes.OK


ledger_command = Subcommands(
    "ledger",
    [
        entries_command,
        statement_command,
        checkpoint_command,
        key_command,
        proof_command,
        consistency_command,
        verify_command,
    ],
    help="Read and verify the Trust Ledger.",
)
