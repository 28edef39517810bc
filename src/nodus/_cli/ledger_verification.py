"""Verifies the Trust Ledger, from the server or from files: whole, or what an agent's key sees of it."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import asyncclick

from .._checkpoints import open_checkpoint, read_key
from .._enums import PrincipalKind
from .._errors import ConfigurationError, LedgerError
from .._ledger import LedgerReport, verify_consistency, verify_inclusion, verify_ledger
from .._money import dollars
from .._statement import is_statement, verify_statement
from . import exit_codes
from .checkpoint_store import compare_with_last
from .invocation import Invocation
from .options import opened_lines, read_body
from .output import show_facts

if TYPE_CHECKING:
    from .._async.client import AsyncClient
    from .._resources import LedgerCheckpoint, LedgerEntry, LedgerKey


# What verification says of rows between which those of others are missing.
_OTHERS_BETWEEN = ("ledger_gap", "ledger_truncated")


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What to verify, and with what.

    Attributes:
        key: the pinned key; None to ask the server.
        known: the file of a checkpoint that was kept.
        export: the file with the rows; None to ask the server.
        checkpoint: the file of the checkpoint that belongs to the export.
        accept_rollback: whether the server's ledger need not go on from the checkpoint that was seen last.
    """

    key: str | None
    known: str | None
    export: str | None
    checkpoint: str | None
    accept_rollback: bool


async def verify(invocation: Invocation, evidence: Evidence, *, as_json: bool) -> int:
    """Verify, and show what was verified; return the exit status.

    Raises:
        LedgerError: something does not verify.
    """
    known = None if evidence.known is None else _read_checkpoint(invocation, evidence.known)
    is_pinned = evidence.key is not None
    if evidence.export is not None:
        with opened_lines(evidence.export) as lines:
            first = next(lines, b"")
            lines = itertools.chain([first], lines)
            if is_statement(first):
                return _verify_statement(invocation, lines, evidence, as_json=as_json)
            if is_pinned and evidence.checkpoint is None and known is None:
                raise asyncclick.UsageError("--public-key verifies a checkpoint: give --checkpoint or --known too.")
            kept = None if evidence.checkpoint is None else _read_checkpoint(invocation, evidence.checkpoint)
            rows = _rows(lines, evidence.export)
            report = _verify(invocation, rows, kept, known, evidence.key, is_pinned=is_pinned)
    else:
        async with invocation.client() as client:
            checkpoint = await client.ledger.checkpoint()
            key = await client.ledger.key() if evidence.key is None else evidence.key
            entries = await client.ledger.entries()
            try:
                report = _verify(invocation, entries, checkpoint, known, key, is_pinned=is_pinned)
            except LedgerError as exc:
                if not await is_because_of_own_rows(client, exc):
                    raise
                own = await verify_own_rows(client, entries, checkpoint, key, known, is_pinned=is_pinned)
                # Only what verifies is worth remembering.
                await compare_with_last(invocation, client, checkpoint, accept=evidence.accept_rollback)
                _show_own_rows(invocation, own, is_pinned=is_pinned, as_json=as_json)
                return exit_codes.OK
            try:
                seen_size = await compare_with_last(invocation, client, checkpoint, accept=evidence.accept_rollback)
            except LedgerError:
                # What is there verifies, but it is not all that was there.
                _show(invocation, report, "not what it was", None, is_pinned=is_pinned, as_json=as_json)
                raise
            found = finding(report, is_pinned=is_pinned)
            return _show(invocation, report, found, seen_size, is_pinned=is_pinned, as_json=as_json)
    found = finding(report, is_pinned=is_pinned)
    return _show(invocation, report, found, None, is_pinned=is_pinned, as_json=as_json)


def _verify(
    invocation: Invocation,
    entries: Iterable[LedgerEntry] | Iterable[str],
    checkpoint: LedgerCheckpoint | Mapping[str, object] | str | None,
    known: Mapping[str, object] | str | None,
    key: LedgerKey | str | None,
    *,
    is_pinned: bool,
) -> LedgerReport:
    try:
        return verify_ledger(entries, checkpoint=checkpoint, public_key=key, known_checkpoint=known)
    except ConfigurationError as exc:
        if exc.code != "missing_extra" or is_pinned:
            raise
        invocation.output.note(f"The signature is not verified. {exc.message}")
        return verify_ledger(entries, checkpoint=checkpoint, known_checkpoint=known)


def _rows(lines: Iterable[bytes], source: str) -> Iterator[str]:
    for line in lines:
        try:
            text = line.decode()
        except UnicodeDecodeError as exc:
            raise asyncclick.UsageError(f"{source}: it is not UTF-8 text.") from exc
        if text.strip():
            yield text


def _verify_statement(invocation: Invocation, lines: Iterable[bytes], evidence: Evidence, *, as_json: bool) -> int:
    """Verify a month's statement, and show what was verified; return the exit status."""
    for name, given in (("--checkpoint", evidence.checkpoint), ("--known", evidence.known)):
        if given is not None:
            raise asyncclick.UsageError(f"{name} is for entries: this is a statement, which has its checkpoint in it.")
    report = verify_statement(lines, public_key=evidence.key)
    found = "verified" if report.signature_verified else "consistent in itself; nothing shows who made it"
    if as_json:
        invocation.output.json({"finding": found, **dataclasses.asdict(report)})
        return exit_codes.OK
    rows = "none" if report.first_seq is None else f"{report.rows}, from {report.first_seq} to {report.last_seq}"
    simulated = None
    if report.simulated_jobs:
        jobs = "1 job" if report.simulated_jobs == 1 else f"{report.simulated_jobs} jobs"
        simulated = f"{jobs}, {dollars(report.simulated_cost_micros / 1_000_000)}"
    show_facts(
        invocation.output,
        [
            ("statement", found),
            ("ledger", report.origin),
            ("month", report.month if report.is_final else f"{report.month}, not final"),
            ("rows", rows),
            ("jobs settled", str(report.jobs)),
            ("cost", dollars(report.cost_micros / 1_000_000)),
            ("simulated", simulated),
            ("root", report.root_hash),
            ("checkpoint", f"{report.checkpoint_size} rows"),
            ("signature", _signature(report.signature_verified, is_pinned=True)),
        ],
    )
    return exit_codes.OK


def _show_own_rows(invocation: Invocation, report: OwnRowsReport, *, is_pinned: bool, as_json: bool) -> None:
    invocation.output.note(
        "An agent's key sees only the rows of its own key and jobs. Each was proved to be in the signed ledger; that "
        "none of them was left out can be verified only with a person's or a service's key."
    )
    if as_json:
        invocation.output.json(dataclasses.asdict(report))
        return
    show_facts(
        invocation.output,
        [
            ("ledger", "verified in part"),
            ("own rows", str(report.rows)),
            ("newer rows", str(report.newer_rows) if report.newer_rows else None),
            ("root", report.root_hash),
            ("checkpoint", f"{report.checkpoint_size} rows"),
            ("signature", _signature(report.signature_verified, is_pinned=is_pinned)),
            ("known before", None if report.known_size is None else f"{report.known_size} rows"),
        ],
    )


def _signature(is_verified: bool, *, is_pinned: bool) -> str:
    if not is_verified:
        return "not verified"
    return "verified" if is_pinned else "verified, with the key that the server named"


def finding(report: LedgerReport, *, is_pinned: bool) -> str:
    """Say what was verified, and no more: who can have written the rows is shown by a signature alone."""
    if report.signature_verified:
        return "verified"
    if is_pinned and report.known_size is not None:
        return f"the first {report.known_size} rows are verified, by the checkpoint that was kept"
    if report.checkpoint_size is not None or report.known_size is not None:
        return "the rows are those of the checkpoint; nothing shows who wrote it"
    return "the rows are consistent among themselves; nothing shows who wrote them"


def _show(
    invocation: Invocation, report: LedgerReport, found: str, seen_size: int | None, *, is_pinned: bool, as_json: bool
) -> int:
    """Show what was verified; return the exit status."""
    if as_json:
        invocation.output.json({"finding": found, **dataclasses.asdict(report), "seen_size": seen_size})
        return exit_codes.OK
    covered = None if report.checkpoint_size is None else f"{report.checkpoint_size} rows"
    show_facts(
        invocation.output,
        [
            ("ledger", found),
            ("rows", str(report.size)),
            ("root", report.root_hash),
            ("checkpoint", covered),
            ("signature", _signature(report.signature_verified, is_pinned=is_pinned)),
            ("known before", None if report.known_size is None else f"{report.known_size} rows"),
            ("seen before", None if seen_size is None else f"{seen_size} rows"),
        ],
    )
    if report.signature_verified and not is_pinned:
        invocation.output.note("Pin the key, so that nobody can replace it unnoticed: nodus ledger key")
    return exit_codes.OK


def _read_checkpoint(invocation: Invocation, source: str) -> Mapping[str, object] | str:
    """Read a checkpoint that was kept: a note, or what `--json` printed."""
    text = _read_text(invocation, source)
    if not text.lstrip().startswith("{"):
        return text
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise asyncclick.UsageError(f"{source}: this is not a checkpoint.")
    return content


def _read_text(invocation: Invocation, source: str) -> str:
    try:
        return read_body(source, invocation.output).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise asyncclick.UsageError(f"{source}: it is not UTF-8 text.") from exc


@dataclasses.dataclass(frozen=True)
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
