"""Verifies what an agent's key sees of the Trust Ledger: its own rows, each by a proof, because others lie between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._enums import PrincipalKind
from .._errors import ConfigurationError, LedgerError
from .._ledger import verify_consistency, verify_inclusion
from .._notes import open_checkpoint, read_key

if TYPE_CHECKING:
    from .._async.client import AsyncClient
    from .._records import LedgerCheckpoint, LedgerEntry, LedgerKey

_OTHERS_BETWEEN = ("ledger_gap", "ledger_truncated")


@dataclass(frozen=True)
class OwnRowsReport:
    """What was verified of an agent's rows.

    Attributes:
        rows: how many rows were proved to be in the signed ledger.
        newer_rows: how many came after the checkpoint, and are not yet signed for.
        checkpoint_size: how many rows the signed ledger has, those of others included.
        root_hash: its root, in lower-case hexadecimal.
        known_size: the size of the older checkpoint that it continues; None if there was none.
        signature_verified: whether the key signed the checkpoint.
    """

    rows: int
    newer_rows: int
    checkpoint_size: int
    root_hash: str
    known_size: int | None
    signature_verified: bool


async def is_because_of_own_rows(client: AsyncClient, error: LedgerError) -> bool:
    """Say whether rows are missing because the key is an agent's, which sees only those of its own key and jobs."""
    return error.code in _OTHERS_BETWEEN and (await client.key()).principal_kind == PrincipalKind.AGENT


async def verify_own_rows(
    client: AsyncClient,
    entries: Sequence[LedgerEntry],
    checkpoint: LedgerCheckpoint,
    key: LedgerKey | str,
    known: Mapping[str, object] | str | None,
    *,
    is_pinned: bool,
) -> OwnRowsReport:
    """Verify that each row is in the signed ledger, and that this continues an older one; ask for the proofs.

    Without the extra for signatures, a key that was not pinned is not used.

    Raises:
        LedgerError: something does not verify.
    """
    usable: LedgerKey | str | None = key
    try:
        open_checkpoint(checkpoint, read_key(key))
    except ConfigurationError as exc:
        if exc.code != "missing_extra" or is_pinned:
            raise
        usable = None
    signed_for = [entry for entry in entries if entry.seq <= checkpoint.size]
    for entry in signed_for:
        proof = await client.ledger.proof(entry.seq, size=checkpoint.size)
        verify_inclusion(entry, proof, checkpoint=checkpoint, public_key=usable)
    known_size = None
    if known is not None:
        known_size = open_checkpoint(known, None).size
        consistency = await client.ledger.consistency(known_size, checkpoint.size)
        verify_consistency(known, checkpoint, consistency, public_key=usable)
    return OwnRowsReport(
        rows=len(signed_for),
        newer_rows=len(entries) - len(signed_for),
        checkpoint_size=checkpoint.size,
        root_hash=checkpoint.root_hash,
        known_size=known_size,
        signature_verified=usable is not None,
    )
