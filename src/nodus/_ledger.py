"""Verifying the Trust Ledger offline: rows, checkpoints and proofs. Standard library only, but for signatures.

The bytes are described in docs/reference/ledger-encoding.md, so that others can do the same without this code.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from ._checkpoints import Checkpoint, fields_of, open_checkpoint, read_key
from ._errors import LedgerError, ValidationError
from ._merkle import Tree, consistency_holds, inclusion_holds

if TYPE_CHECKING:
    from ._models import LedgerRow
    from ._resources import ConsistencyProof, InclusionProof, LedgerCheckpoint, LedgerEntry, LedgerKey

FIRST_PREV_HASH = "0" * 64
"""The first row's `prev_hash`, as it has no row before it."""

# The members of a leaf, in the order of the canonical text; all but `customer_id` are in an entry too.
_IN_LEAF = ("at", "customer_id", "job_id", "key_id", "kind", "payload", "prev_hash", "principal_kind", "seq")
_IN_ENTRY = ("seq", "prev_hash", "leaf", "leaf_hash", "at", "job_id", "key_id", "kind", "payload", "principal_kind")

_of_mapping: Callable[[Any], tuple[Any, ...]] = itemgetter(*_IN_ENTRY)
_of_object: Callable[[Any], tuple[Any, ...]] = attrgetter(*_IN_ENTRY)
# This is RFC 8785 for everything that rows hold today; where it differs, `_compare_fields` decides instead.
_canonical = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
_HASH = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """What was verified.

    Attributes:
        size: how many rows were verified: each matches its hash, and follows the row before it.
        root_hash: the root of the tree over them, in lower-case hexadecimal.
        last_leaf_hash: the leaf hash of the last row; 64 zeros if there are no rows.
        customer_id: whose ledger it is; None if there are no rows.
        checkpoint_size: the size of the checkpoint that the rows match; None if there was no checkpoint. Rows after
            it are chained, but not yet signed for.
        known_size: the size of the older checkpoint that the rows continue; None if there was none.
        signature_verified: whether the pinned key signed the checkpoint.
        origin: the name of the log that the checkpoint is of; None if there was no checkpoint.
    """

    size: int
    root_hash: str
    last_leaf_hash: str
    customer_id: str | None
    checkpoint_size: int | None
    known_size: int | None
    signature_verified: bool
    origin: str | None = field(default=None, compare=False)


def verify_ledger(
    entries: Iterable[LedgerEntry | Mapping[str, object] | str | bytes],
    *,
    checkpoint: LedgerCheckpoint | Mapping[str, object] | str | None = None,
    public_key: LedgerKey | Mapping[str, object] | str | bytes | None = None,
    known_checkpoint: LedgerCheckpoint | Mapping[str, object] | str | None = None,
    origin: str | None = None,
) -> LedgerReport:
    """Verify a customer's whole ledger, without using the network.

    Every row must match its leaf, and every leaf its hash. Rows must be numbered from 1 without gaps, and each must
    name the hash of the row before it. The tree over the first `checkpoint.size` rows must have the root that the
    checkpoint was signed for, and the tree over the first `known_checkpoint.size` rows the root that was seen then.
    The encoding is described in docs/reference/ledger-encoding.md.

    Args:
        entries: all rows in order: what `client.ledger.entries()` returned, the same as mappings, or the lines of an
            export.
        checkpoint: what `client.ledger.checkpoint()` returned, the same as a mapping, or its note alone. Fetch it
            before the rows: there may be more rows than it covers, but not fewer.
        public_key: the pinned key to verify the checkpoints' signatures with: what `client.ledger.key()` returned, the
            same as a mapping, base64, a vkey, or 32 bytes. Needs the package cryptography. One key may sign the logs of
            several customers: base64 and bytes do not say whose is meant, the others do.
        known_checkpoint: a checkpoint that you kept from an earlier time.
        origin: the name of your log, which the checkpoints must have: `client.ledger.key().origin`. Pass it with a key
            that does not name it; otherwise the log of another customer verifies too.

    Returns:
        What was verified.

    Raises:
        LedgerError: something does not verify; `.code` says what, and `.seq` at which row.
        ConfigurationError: (`missing_extra`) there is a signature to verify, but cryptography is not installed.
        ValidationError: (`invalid_public_key`) `public_key` is not a key; (`invalid_argument`) there is no checkpoint
            for it, or for `origin`, to verify.
    """
    for name, given in (("public_key", public_key), ("origin", origin)):
        if given is not None and checkpoint is None and known_checkpoint is None:
            raise ValidationError(f"`{name}` verifies checkpoints: pass a checkpoint too.", code="invalid_argument")
    key = None if public_key is None else read_key(public_key)
    latest = None if checkpoint is None else open_checkpoint(checkpoint, key, origin)
    known = None if known_checkpoint is None else open_checkpoint(known_checkpoint, key, origin)
    if latest is not None and known is not None:
        _compare_checkpoints(known, latest)
    verifier = _RowVerifier(one.size for one in (known, latest) if one is not None)
    verifier.over(entries)
    if known is not None:
        verifier.reaches(known, code="ledger_history_rewritten", what="the checkpoint that was kept")
    if latest is not None:
        verifier.reaches(latest, code="ledger_root_mismatch", what="the checkpoint")
    return LedgerReport(
        size=verifier.tree.size,
        root_hash=verifier.tree.root().hex(),
        last_leaf_hash=verifier.last_leaf_hash,
        customer_id=verifier.customer_id,
        checkpoint_size=None if latest is None else latest.size,
        known_size=None if known is None else known.size,
        signature_verified=latest is not None and latest.is_verified,
        origin=next((one.origin for one in (latest, known) if one is not None), None),
    )


def verify_inclusion(
    entry: LedgerEntry | LedgerRow | Mapping[str, object],
    proof: InclusionProof | Mapping[str, object],
    *,
    checkpoint: LedgerCheckpoint | Mapping[str, object] | str,
    public_key: LedgerKey | Mapping[str, object] | str | bytes | None = None,
    origin: str | None = None,
) -> None:
    """Verify that one row is in the ledger that a checkpoint was signed for, without the other rows (RFC 9162).

    Args:
        entry: the row; or only its `seq` and `leaf_hash`, which `job.view.ledger` has.
        proof: what `client.ledger.proof(seq, size=checkpoint.size)` returned, or the same as a mapping.
        checkpoint: as in `verify_ledger`.
        public_key: as in `verify_ledger`.
        origin: as in `verify_ledger`.

    Raises:
        LedgerError: the row, the checkpoint or the proof does not verify; `.code` says what.
        ConfigurationError: (`missing_extra`) there is a signature to verify, but cryptography is not installed.
        ValidationError: (`invalid_public_key`) `public_key` is not a key.
    """
    signed = open_checkpoint(checkpoint, None if public_key is None else read_key(public_key), origin)
    row, path = fields_of(entry), fields_of(proof)
    seq, leaf_hash = row.get("seq"), row.get("leaf_hash")
    if (
        not isinstance(seq, int)
        or isinstance(seq, bool)
        or not isinstance(leaf_hash, str)
        or not _HASH.match(leaf_hash)
    ):
        raise LedgerError("The row has no `seq` and `leaf_hash`.")
    if "leaf" in row:
        _RowVerifier().check(row, seq, str(row.get("prev_hash")))
    expected = {"seq": seq, "size": signed.size, "leaf_hash": leaf_hash}
    for name, value in expected.items():
        if path.get(name, value) != value:
            raise _wrong(
                "ledger_proof_invalid", f"The proof is for {name} {path[name]!r}, but {value!r} is to be proved.", seq
            )
    if not inclusion_holds(bytes.fromhex(leaf_hash), seq - 1, signed.size, _hashes(path.get("hashes")), signed.root):
        raise _wrong("ledger_proof_invalid", f"The proof does not lead from row {seq} to the checkpoint's root.", seq)


def verify_consistency(
    known_checkpoint: LedgerCheckpoint | Mapping[str, object] | str,
    checkpoint: LedgerCheckpoint | Mapping[str, object] | str,
    proof: ConsistencyProof | Mapping[str, object],
    *,
    public_key: LedgerKey | Mapping[str, object] | str | bytes | None = None,
    origin: str | None = None,
) -> None:
    """Verify that the ledger of one checkpoint begins with that of an older one, without any rows (RFC 9162).

    Args:
        known_checkpoint: the older one, which you kept.
        checkpoint: the newer one.
        proof: what `client.ledger.consistency(known.size, checkpoint.size)` returned, or the same as a mapping.
        public_key: as in `verify_ledger`.
        origin: as in `verify_ledger`.

    Raises:
        LedgerError: a checkpoint or the proof does not verify; `.code` says what.
        ConfigurationError: (`missing_extra`) there is a signature to verify, but cryptography is not installed.
        ValidationError: (`invalid_public_key`) `public_key` is not a key.
    """
    key = None if public_key is None else read_key(public_key)
    known, latest = open_checkpoint(known_checkpoint, key, origin), open_checkpoint(checkpoint, key, origin)
    _compare_checkpoints(known, latest)
    hashes = _hashes(fields_of(proof).get("hashes"))
    if not consistency_holds(known.size, latest.size, known.root, latest.root, hashes):
        raise LedgerError(
            f"The ledger of {latest.size} rows is not proved to begin with the {known.size} rows known before.",
            code="ledger_history_rewritten" if known.size == latest.size else "ledger_proof_invalid",
        )


class _RowVerifier:
    """Verifies rows in order, and keeps the roots with which checkpoints are compared.

    Args:
        sizes: after how many rows to keep the root of the tree.
    """

    def __init__(self, sizes: Iterable[int] = ()) -> None:
        self.tree = Tree()
        self.last_leaf_hash = FIRST_PREV_HASH
        self.customer_id: str | None = None
        self._sizes = set(sizes)
        self._root_at: dict[int, bytes] = {0: self.tree.root()}

    def over(self, entries: Iterable[object]) -> None:
        tree, sizes = self.tree, self._sizes
        previous = FIRST_PREV_HASH
        seq = 1
        for entry in entries:
            digest = self.check(entry, seq, previous)
            tree.append(digest)
            previous = digest.hex()
            if seq in sizes:
                self._root_at[seq] = tree.root()
            seq += 1
        self.last_leaf_hash = previous

    def check(self, entry: object, expected_seq: int, previous: str) -> bytes:
        """Check a row by itself and against the one before; return its leaf hash."""
        if isinstance(entry, (str, bytes)):
            entry = _parsed(entry, expected_seq, _decode)
        try:
            fields = _of_mapping(entry) if isinstance(entry, Mapping) else _of_object(entry)
        except (KeyError, AttributeError) as exc:
            raise _wrong("ledger_malformed", f"Row {expected_seq} has no {exc}.", expected_seq) from None
        seq, prev_hash, leaf, leaf_hash, at, job_id, key_id, kind, payload, principal_kind = fields
        if seq != expected_seq:
            raise _gap(seq, expected_seq)
        digest = _digest(leaf, expected_seq)
        if digest.hex() != leaf_hash:
            raise _wrong("ledger_leaf_mismatch", f"The leaf of row {seq} does not have the hash {leaf_hash!r}.", seq)
        if prev_hash != previous:
            raise _wrong(
                "ledger_chain_broken",
                f"Row {seq} does not follow row {seq - 1}: its prev_hash is not that row's leaf_hash.",
                seq,
            )
        # Writing the members out and comparing texts is several times faster than parsing the leaf. A leaf may differ
        # in spelling and still be right, so a difference is looked at more closely rather than refused.
        said = {
            "at": at,
            "customer_id": self.customer_id,
            "job_id": job_id,
            "key_id": key_id,
            "kind": kind,
            "payload": payload,
            "prev_hash": prev_hash,
            "principal_kind": principal_kind,
            "seq": seq,
        }
        try:
            agrees = self.customer_id is not None and _canonical(said) == leaf
        except (TypeError, ValueError, RecursionError):
            agrees = False
        if not agrees:
            self._compare_fields(said, leaf, expected_seq)
        return digest

    def reaches(self, checkpoint: Checkpoint, *, code: str, what: str) -> None:
        """Compare the rows with a checkpoint."""
        size = self.tree.size
        if checkpoint.size > size:
            message = f"There are {size} rows, but there were {checkpoint.size} when {what} was signed."
            raise _wrong("ledger_truncated", message, size + 1)
        if self._root_at[checkpoint.size] != checkpoint.root:
            message = f"The first {checkpoint.size} rows are not those that {what} was signed for: the roots differ."
            raise _wrong(code, message, None)

    def _compare_fields(self, said: dict[str, object], leaf: str, seq: int) -> None:
        """Compare an entry with its parsed leaf, which may have more members, or spell values differently.

        Raises:
            LedgerError: a member differs.
        """
        written = _parsed(leaf, seq, _decode_strictly)
        for name in _IN_LEAF:
            if name not in written:
                raise _wrong("ledger_malformed", f"The leaf of row {seq} has no {name!r}.", seq)
        if self.customer_id is None:
            self.customer_id = said["customer_id"] = _customer(written["customer_id"], seq)
        for name in _IN_LEAF:
            if not _is_same(said[name], written[name]):
                message = f"Row {seq} has a {name!r} that differs from its leaf's."
                if name == "customer_id":
                    message = f"Row {seq} belongs to another customer than the rows before it."
                raise _wrong("ledger_field_mismatch", message, seq)


def _digest(leaf: object, seq: int) -> bytes:
    try:
        return hashlib.sha256(b"\x00" + leaf.encode()).digest()  # type: ignore[attr-defined]  # what has none is caught
    except (AttributeError, TypeError, UnicodeEncodeError):
        raise _wrong("ledger_malformed", f"The leaf of row {seq} is not text.", seq) from None


def _parsed(text: str | bytes, seq: int, decode: Callable[[str], object]) -> dict[str, object]:
    try:
        value = decode(text.decode() if isinstance(text, bytes) else text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _wrong("ledger_malformed", f"Row {seq}, or its leaf, is not a JSON object.", seq)
    return value


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse an object that has a key twice: two readers could read it differently."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


_decode = json.JSONDecoder().decode
_decode_strictly = json.JSONDecoder(object_pairs_hook=_without_repetition).decode


def _customer(value: object, seq: int) -> str:
    if isinstance(value, str):
        return value
    raise _wrong("ledger_malformed", f"The leaf of row {seq} does not say whose it is.", seq)


def _is_same(said: object, written: object) -> bool:
    """Compare as JSON, where true is not 1, and 1.0 is not 1."""
    try:
        return _canonical(said) == _canonical(written)
    except (TypeError, ValueError, RecursionError):
        return False


def _compare_checkpoints(known: Checkpoint, latest: Checkpoint) -> None:
    if known.origin != latest.origin:
        raise LedgerError(
            f"The checkpoints belong to different logs: {known.origin!r} and {latest.origin!r}.",
            code="ledger_origin_mismatch",
        )
    if known.size > latest.size:
        message = f"The ledger had {known.size} rows before, but the checkpoint has only {latest.size}."
        raise _wrong("ledger_truncated", message, latest.size + 1)


def _hashes(value: object) -> list[bytes]:
    if isinstance(value, Sequence) and all(isinstance(one, str) and _HASH.match(one) for one in value):
        return [bytes.fromhex(one) for one in value]
    raise LedgerError("The proof is not a list of hashes in lower-case hexadecimal.", code="ledger_proof_invalid")


def _gap(seq: object, expected: int) -> LedgerError:
    if isinstance(seq, int) and seq > expected:
        message = (
            f"Row {expected} is missing: row {seq} is in its place. If an agent's key fetched these rows, they are "
            "only those of its own key and jobs: verify each with verify_inclusion() and a proof."
        )
        return _wrong("ledger_gap", message, expected)
    return _wrong("ledger_gap", f"Row {seq!r} is where row {expected} should be.", expected)


def _wrong(code: str, message: str, seq: int | None) -> LedgerError:
    error = LedgerError(message, code=code)
    error.seq = seq
    return error
