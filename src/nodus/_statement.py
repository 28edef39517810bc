"""Verifying a month's statement offline, line by line. Standard library only, but for signatures.

The bytes are described in docs/reference/ledger-encoding.md, so that others can do the same without this code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ._arguments import MONTH
from ._checkpoints import Checkpoint, open_checkpoint, read_key
from ._errors import LedgerError
from ._merkle import inclusion_holds, leaf_hash

if TYPE_CHECKING:
    from ._resources import LedgerKey

_SETTLED = "job.settled"
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_FIRST_PREV_HASH = "0" * 64

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_encode_sorted = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


@dataclass(frozen=True, slots=True)
class StatementReport:
    """What was verified of a statement. Amounts are in micro-USD.

    Attributes:
        origin: the name of the log.
        customer_id: whose log it is.
        month: the calendar month in UTC, such as `2026-10`.
        first_seq: the first row; None for a month without rows.
        last_seq: the last row, likewise.
        rows: how many rows were verified: all from the first to the last.
        jobs: how many jobs were settled in the month.
        cost_micros: what they cost.
        simulated_jobs: how many of them were simulated.
        simulated_cost_micros: what those would have cost; part of `cost_micros`.
        by_principal_kind: `jobs` and `cost_micros` by who submitted the jobs.
        is_final: whether the server says that no more rows of the month will come. Nothing proves that.
        checkpoint_size: how many rows the log had when the statement was made.
        root_hash: its root, in lower-case hexadecimal.
        signature_verified: whether the pinned key signed the checkpoint.
    """

    origin: str
    customer_id: str
    month: str
    first_seq: int | None
    last_seq: int | None
    rows: int
    jobs: int
    cost_micros: int
    simulated_jobs: int
    simulated_cost_micros: int
    by_principal_kind: Mapping[str, Mapping[str, int]]
    is_final: bool
    checkpoint_size: int
    root_hash: str
    signature_verified: bool


def verify_statement(
    lines: Iterable[str | bytes],
    *,
    public_key: LedgerKey | Mapping[str, object] | str | bytes | None = None,
    origin: str | None = None,
) -> StatementReport:
    """Verify a month's statement line by line, without using the network, and without keeping the lines.

    Its rows must be all of the signed log's from the first to the last, both of which are in the month, and its totals
    what those rows add up to. Every line must be spelled as the server spells it, so that no byte can be changed. That
    the month has no rows before the first or after the last is the server's word, and so is which month has none at
    all.

    Args:
        lines: such as `client.ledger.statement(month)`, or a file of it that was opened with `open(path, "rb")`.
        public_key: the pinned key, as in `verify_ledger`. Without it nothing shows who made the statement.
        origin: the name of your log, as in `verify_ledger`.

    Returns:
        What was verified.

    Raises:
        LedgerError: something does not verify; `.code` says what, and `.seq` at which row.
        ConfigurationError: (`missing_extra`) there is a signature to verify, but cryptography is not installed.
        ValidationError: (`invalid_public_key`) `public_key` is not a key.
    """
    key = None if public_key is None else read_key(public_key)
    verifier: _Verifier | None = None
    trailer: dict[str, Any] | None = None
    for number, line in enumerate(lines, 1):
        content = _content(line, number)
        if verifier is None:
            verifier = _Verifier(_header(content))
        elif trailer is not None:
            raise _wrong("ledger_malformed", f"Line {number} comes after the statement's trailer.")
        elif "leaf" in content:
            verifier.take(content["leaf"])
        else:
            trailer = content
    if verifier is None or trailer is None:
        raise _wrong("ledger_truncated", "The statement is not whole: it has no trailer. Fetch it again.")
    checkpoint = _member(trailer, "checkpoint", (dict,))
    for name in ("origin", "size", "root_hash", "note"):
        _member(checkpoint, name, (str, int))
    return verifier.end(trailer, open_checkpoint(checkpoint, key, origin))


def is_statement(line: str | bytes) -> bool:
    """Say whether a file that begins with this line is meant as a statement, and not as an export of rows."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "month" in content and "leaf" not in content


@dataclass(frozen=True, slots=True)
class _Header:
    origin: str
    customer_id: str
    month: str
    first_seq: int | None
    last_seq: int | None


def _header(content: Mapping[str, Any]) -> _Header:
    texts = [_member(content, name, (str,)) for name in ("origin", "customer_id", "month")]
    bounds = [_member(content, name, (int, type(None))) for name in ("first_seq", "last_seq")]
    header = _Header(*texts, *bounds)
    first, last = bounds
    if not MONTH.match(header.month):
        raise _wrong("ledger_malformed", f"The statement is of {header.month!r}, which is no month.")
    if (first is None) is not (last is None) or (first is not None and not 1 <= first <= last):
        raise _wrong("ledger_malformed", f"The statement cannot have the rows from {first!r} to {last!r}.")
    if not header.origin.endswith("/" + quote(header.customer_id, safe="")):
        message = f"The log {header.origin!r} is not that of {header.customer_id!r}: its name says whose it is."
        raise _wrong("ledger_origin_mismatch", message)
    return header


@dataclass(slots=True)
class _Sum:
    jobs: int = 0
    cost_micros: int = 0

    def add(self, cost_micros: int) -> None:
        self.jobs += 1
        self.cost_micros += cost_micros

    def said(self) -> dict[str, int]:
        return {"jobs": self.jobs, "cost_micros": self.cost_micros}


@dataclass(slots=True)
class _Verifier:
    """Takes in rows in order, and compares the trailer with them."""

    header: _Header
    rows: int = 0
    hashes: tuple[bytes, bytes] | None = None
    """Of the first leaf, and of the last so far."""
    last_at: str = ""
    whole: _Sum = field(default_factory=_Sum)
    simulated: _Sum = field(default_factory=_Sum)
    by_principal_kind: dict[str, _Sum] = field(default_factory=dict)

    def take(self, leaf: object) -> None:
        """Check a row against the one before it.

        Raises:
            LedgerError: it is not the row that comes next in this log.
        """
        header, seq = self.header, (self.header.first_seq or 1) + self.rows
        if header.last_seq is None or seq > header.last_seq:
            raise _wrong("ledger_gap", f"Row {seq} is one too many: the statement ends at {header.last_seq}.", seq)
        if not isinstance(leaf, str):
            raise _wrong("ledger_malformed", f"The leaf of row {seq} is not text.", seq)
        row = _leaf(leaf, seq)
        digest = leaf_hash(leaf.encode())
        if row["seq"] != seq or isinstance(row["seq"], bool):
            raise _wrong("ledger_gap", f"Row {row['seq']!r} is where row {seq} should be.", seq)
        previous = self.hashes[1].hex() if self.hashes else _FIRST_PREV_HASH if seq == 1 else row["prev_hash"]
        if row["prev_hash"] != previous:
            raise _wrong("ledger_chain_broken", f"Row {seq} does not follow row {seq - 1}.", seq)
        if row["customer_id"] != header.customer_id:
            raise _wrong("ledger_field_mismatch", f"Row {seq} is not of {header.customer_id!r}.", seq)
        if self.hashes is None:
            self._require_month(row["at"], seq)
        self.hashes = (digest if self.hashes is None else self.hashes[0], digest)
        self.last_at = row["at"]
        self.rows += 1
        if row["kind"] == _SETTLED and self._is_in_month(row["at"]):
            self._add(row, seq)

    def end(self, trailer: Mapping[str, Any], checkpoint: Checkpoint) -> StatementReport:
        """Compare the trailer, and return what was verified.

        Raises:
            LedgerError: it does not belong to these rows.
        """
        header = self.header
        if checkpoint.origin != header.origin:
            message = f"The checkpoint belongs to the log {checkpoint.origin!r}, not to {header.origin!r}."
            raise _wrong("ledger_origin_mismatch", message)
        self._require_rows()
        self._compare_proof(trailer, checkpoint)
        self._compare_totals(_member(trailer, "totals", (dict,)))
        return StatementReport(
            origin=header.origin,
            customer_id=header.customer_id,
            month=header.month,
            first_seq=header.first_seq,
            last_seq=header.last_seq,
            rows=self.rows,
            jobs=self.whole.jobs,
            cost_micros=self.whole.cost_micros,
            simulated_jobs=self.simulated.jobs,
            simulated_cost_micros=self.simulated.cost_micros,
            by_principal_kind={kind: of_kind.said() for kind, of_kind in sorted(self.by_principal_kind.items())},
            is_final=_member(trailer, "final", (bool,)),
            checkpoint_size=checkpoint.size,
            root_hash=checkpoint.root.hex(),
            signature_verified=checkpoint.is_verified,
        )

    def _add(self, row: Mapping[str, Any], seq: int) -> None:
        payload, principal = row["payload"], row["principal_kind"]
        cost = payload.get("cost_micros") if isinstance(payload, dict) else None
        if not isinstance(cost, int) or isinstance(cost, bool) or not isinstance(principal, str):
            raise _wrong("ledger_malformed", f"Row {seq} settles a job, but does not say whose, or what it cost.", seq)
        self.whole.add(cost)
        self.by_principal_kind.setdefault(principal, _Sum()).add(cost)
        # Rows from before this was recorded are about simulated jobs.
        if payload.get("simulated", True):
            self.simulated.add(cost)

    def _require_rows(self) -> None:
        header = self.header
        if header.first_seq is None or header.last_seq is None:
            return
        expected = header.last_seq - header.first_seq + 1
        if self.rows != expected:
            seq = header.first_seq + self.rows
            raise _wrong("ledger_truncated", f"The statement has {self.rows} rows, not {expected}.", seq)
        self._require_month(self.last_at, header.last_seq)

    def _compare_proof(self, trailer: Mapping[str, Any], checkpoint: Checkpoint) -> None:
        first, last = self.header.first_seq, self.header.last_seq
        if self.hashes is None or first is None or last is None:
            _member(trailer, "proof", (type(None),))
            return
        proof = _member(trailer, "proof", (dict,))
        for name, seq, digest in (("first", first, self.hashes[0]), ("last", last, self.hashes[1])):
            path = _path(proof.get(name), seq)
            if not inclusion_holds(digest, seq - 1, checkpoint.size, path, checkpoint.root):
                message = f"The proof does not lead from row {seq} to the checkpoint's root."
                raise _wrong("ledger_proof_invalid", message, seq)

    def _compare_totals(self, said: Mapping[str, Any]) -> None:
        by_kind = {kind: of_kind.said() for kind, of_kind in self.by_principal_kind.items()}
        rows = {**self.whole.said(), "by_principal_kind": by_kind, "simulated": self.simulated.said()}
        for name, value in rows.items():
            if name not in said or _encode_sorted(said[name]) != _encode_sorted(value):
                message = f"The statement's {name} are {said.get(name)!r}, but its rows add up to {value!r}."
                raise _wrong("ledger_totals_mismatch", message)

    def _require_month(self, at: object, seq: int) -> None:
        if not self._is_in_month(at):
            message = f"Row {seq}, where the statement begins or ends, is not of {self.header.month}."
            raise _wrong("ledger_field_mismatch", message, seq)

    def _is_in_month(self, at: object) -> bool:
        return isinstance(at, str) and at.startswith(f"{self.header.month}-")


def _content(line: str | bytes, number: int) -> dict[str, Any]:
    """Read a line, which must be spelled as the server spells it: then none of its bytes can be another."""
    try:
        text = (line.decode() if isinstance(line, bytes) else line).removesuffix("\n")
        text.encode()
        content = json.loads(text)
        if isinstance(content, dict) and _encode(content) == text:
            return content
    except (ValueError, RecursionError):
        pass
    raise _wrong("ledger_malformed", f"Line {number} of the statement is not a JSON object as servers write it.")


def _leaf(leaf: str, seq: int) -> dict[str, Any]:
    try:
        row = json.loads(leaf)
        if _encode_sorted(row) != leaf:
            # It may be in order all the same, but an object must not have the same name twice.
            row = json.loads(leaf, object_pairs_hook=_without_repetition)
        for name in ("seq", "prev_hash", "customer_id", "at", "kind", "payload", "principal_kind"):
            row[name]
        leaf.encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _wrong("ledger_malformed", f"The leaf of row {seq} is not that of a row.", seq) from None
    found: dict[str, Any] = row
    return found


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _path(value: object, seq: int) -> list[bytes]:
    if isinstance(value, Sequence) and all(isinstance(one, str) and _HASH.match(one) for one in value):
        return [bytes.fromhex(one) for one in value]
    raise _wrong("ledger_proof_invalid", f"The proof of row {seq} is not a list of hashes.", seq)


def _member(content: Mapping[str, Any], name: str, types: tuple[type, ...]) -> Any:
    value = content.get(name, _member)
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise _wrong("ledger_malformed", f"The statement has no {name!r}, or one that cannot be.")
    return value


def _wrong(code: str, message: str, seq: int | None = None) -> LedgerError:
    error = LedgerError(message, code=code)
    error.seq = seq
    return error
