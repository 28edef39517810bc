"""`nodus ledger verify`: check the whole ledger."""

from __future__ import annotations

import asyncclick

from ...invocation import Invocation
from ...options import json_option

KEY_VARIABLE = "NODUS_LEDGER_KEY"


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
    help="Verify this output of `nodus ledger entries --json` instead, without using the network; - is stdin.",
)
@asyncclick.option("--checkpoint", metavar="FILE", help="With --file: the checkpoint that belongs to it.")
@asyncclick.option(
    "--accept-rollback",
    is_flag=True,
    help="Accept a ledger that does not go on from the checkpoint that this machine saw last, and remember it instead.",
)
@json_option
@asyncclick.pass_obj
async def command(
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
    (~/.local/state/nodus by default; %LOCALAPPDATA%\\nodus on Windows). The
    exit status is 9 if anything does not verify. Signatures need the package cryptography.
    """
    from ...ledger import Evidence, verify

    if checkpoint is not None and export is None:
        raise asyncclick.UsageError("--checkpoint needs --file.")
    if key is not None and export is not None and checkpoint is None and known is None:
        raise asyncclick.UsageError("--public-key verifies a checkpoint: give --checkpoint or --known too.")
    if accept_rollback and export is not None:
        raise asyncclick.UsageError("--accept-rollback is about the server's ledger, not about --file.")
    return await verify(invocation, Evidence(key, known, export, checkpoint, accept_rollback), as_json=as_json)
