"""Verifying a ledger offline: a good one verifies in every form, and whatever is changed is found and named."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nodus
from tests.support import signed_ledger as ledger
from tests.support.merkle_definitions import root_of
from tests.support.signed_ledger import Row

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "reference" / "ledger-encoding.md"

ROWS = ledger.rows(7)
CHECKPOINT = ledger.checkpoint_of(ROWS)
KNOWN = ledger.checkpoint_of(ROWS[:4])
KEY = ledger.key_of()


def found(code: str, entries: Any, seq: int | None = None, **options: Any) -> nodus.LedgerError:
    """A ledger is refused, for this reason and at this row."""
    with pytest.raises(nodus.LedgerError) as caught:
        nodus.verify_ledger(entries, **options)

    assert (caught.value.code, caught.value.seq) == (code, seq)
    return caught.value


def changed(seq: int, **fields: Any) -> list[Row]:
    """The rows, one of them changed."""
    return [{**row, **fields} if row["seq"] == seq else row for row in ROWS]


def test_a_good_ledger_verifies_and_the_report_says_what_was_seen() -> None:
    """The report names the rows, the checkpoint, the signature and the older checkpoint."""
    report = nodus.verify_ledger(ROWS, checkpoint=CHECKPOINT, public_key=KEY, known_checkpoint=KNOWN)

    assert report == nodus.LedgerReport(
        size=7,
        root_hash=CHECKPOINT["root_hash"],
        last_leaf_hash=ROWS[-1]["leaf_hash"],
        customer_id="acme",
        checkpoint_size=7,
        known_size=4,
        signature_verified=True,
    )


def test_rows_alone_can_be_verified() -> None:
    """The report then claims no signature."""
    report = nodus.verify_ledger(iter(ROWS))

    assert (report.size, report.checkpoint_size, report.signature_verified) == (7, None, False)
    assert report.root_hash == root_of(ledger.leaf_hashes(ROWS)).hex()


def test_without_a_key_the_report_does_not_claim_a_signature() -> None:
    """The root is compared nevertheless."""
    report = nodus.verify_ledger(ROWS, checkpoint=CHECKPOINT)

    assert (report.checkpoint_size, report.signature_verified) == (7, False)


@pytest.mark.parametrize(
    "form",
    [
        lambda row: row,
        lambda row: nodus.LedgerEntry(**row),
        lambda row: json.dumps(row),
        lambda row: json.dumps(row, ensure_ascii=False).encode() + b"\n",
    ],
)
def test_rows_may_come_in_any_form(form: Callable[[Row], Any]) -> None:
    """They may be the client's records, mappings, or the lines of an export."""
    assert nodus.verify_ledger(map(form, ROWS), checkpoint=CHECKPOINT, public_key=KEY).size == 7


@pytest.mark.parametrize("checkpoint", [CHECKPOINT, CHECKPOINT["note"], nodus.LedgerCheckpoint(**CHECKPOINT)])
@pytest.mark.parametrize(
    "key",
    [KEY, nodus.LedgerKey(**KEY), KEY["vkey"], KEY["public_key"], ledger.PUBLIC],
)
def test_checkpoint_and_key_may_come_in_any_form(checkpoint: Any, key: Any) -> None:
    """They may be the client's records, or the texts that were written down."""
    assert nodus.verify_ledger(ROWS, checkpoint=checkpoint, public_key=key).signature_verified


@pytest.mark.parametrize("size", range(10))
def test_every_size_has_its_root(size: int) -> None:
    """The empty ledger has one too."""
    rows = ledger.rows(size)
    report = nodus.verify_ledger(rows, checkpoint=ledger.checkpoint_of(rows), public_key=KEY)

    assert (report.size, report.customer_id) == (size, "acme" if size else None)


def test_rows_after_the_checkpoint_are_chained_but_not_signed_for() -> None:
    """The ledger may grow while it is read."""
    report = nodus.verify_ledger(ROWS, checkpoint=KNOWN, public_key=KEY)

    assert (report.size, report.checkpoint_size, report.last_leaf_hash) == (7, 4, ROWS[6]["leaf_hash"])


@settings(deadline=None)
@given(st.data())
def test_any_character_changed_in_any_row_is_found_and_the_row_is_named(data: st.DataObject) -> None:
    """Every text of a row is tried: its members, its leaf and its hashes."""
    seq = data.draw(st.integers(1, 7))
    row = dict(ROWS[seq - 1])
    texts = [name for name, value in row.items() if isinstance(value, str)]
    name = data.draw(st.sampled_from(texts))
    place = data.draw(st.integers(0, len(row[name]) - 1))
    character = data.draw(st.text(min_size=1, max_size=1).filter(lambda c: c != row[name][place]))
    row[name] = row[name][:place] + character + row[name][place + 1 :]

    with pytest.raises(nodus.LedgerError) as caught:
        nodus.verify_ledger([*ROWS[: seq - 1], row, *ROWS[seq:]])

    assert caught.value.seq == seq


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("at", "2026-01-01T00:00:03Z"),
        ("kind", "job.completed"),
        ("job_id", None),
        ("key_id", "key-2"),
        ("principal_kind", "human"),
        ("payload", {}),
        ("payload", {**ROWS[2]["payload"], "attempt": 3.0}),
        ("payload", {**ROWS[2]["payload"], "more": True}),
        ("payload", {**ROWS[2]["payload"], "nested": {"a": False, "b": []}}),
        ("payload", {1, 2}),
        ("seq", 3.0),
    ],
)
def test_a_field_that_differs_from_the_leaf_is_found(field: str, value: Any) -> None:
    """What is shown must be what was hashed, including the type of a number."""
    error = found("ledger_field_mismatch", [*ROWS[:2], {**ROWS[2], field: value}, *ROWS[3:]], 3)

    assert f"Row 3 has a {field!r} that differs" in error.message


def test_true_is_not_one() -> None:
    """JSON tells them apart, although Python compares them as equal."""
    rows = ledger.rows(1, payload={"attempt": 1})

    found("ledger_field_mismatch", [{**rows[0], "payload": {"attempt": True}}], 1)
    found("ledger_field_mismatch", [{**rows[0], "seq": True}], 1)


def test_a_leaf_that_was_changed_is_found_by_its_hash() -> None:
    """It is found even if the member was changed with it."""
    leaf = ROWS[2]["leaf"].replace("running", "failed")
    payload = {**ROWS[2]["payload"], "to": "failed"}

    found("ledger_leaf_mismatch", changed(3, leaf=leaf, payload=payload), 3)


def test_a_leaf_that_was_changed_with_its_hash_is_found_by_the_next_row() -> None:
    """Each row holds the hash of the one before."""
    forged = ledger.link({**ROWS[2], "kind": "job.completed"}, ROWS[2]["prev_hash"])

    found("ledger_chain_broken", [*ROWS[:2], forged, *ROWS[3:]], 4)


def test_a_last_row_that_was_changed_with_its_hash_is_found_by_the_checkpoint() -> None:
    """No row follows that would hold its hash."""
    forged = ledger.link({**ROWS[6], "kind": "job.completed"}, ROWS[6]["prev_hash"])

    assert nodus.verify_ledger([*ROWS[:6], forged]).size == 7
    found("ledger_root_mismatch", [*ROWS[:6], forged], checkpoint=CHECKPOINT)


@pytest.mark.parametrize("seq", range(1, 8))
def test_a_row_that_is_missing_is_found(seq: int) -> None:
    """If it is the last one, the checkpoint shows it."""
    rows = [row for row in ROWS if row["seq"] != seq]
    code = "ledger_truncated" if seq == 7 else "ledger_gap"

    error = found(code, rows, seq, checkpoint=CHECKPOINT)

    assert str(seq) in error.message


def test_rows_that_changed_places_are_found() -> None:
    """Their numbers show it, and if these were exchanged too, their leaves."""
    rows = list(ROWS)
    rows[2], rows[3] = rows[3], rows[2]
    found("ledger_gap", rows, 3)

    found("ledger_chain_broken", [*rows[:2], {**rows[2], "seq": 3}, {**rows[3], "seq": 4}, *rows[4:]], 3)


def test_a_row_that_was_slipped_in_is_found() -> None:
    """It may be a copy of another row, or a new one."""
    found("ledger_gap", [*ROWS[:3], ROWS[2], *ROWS[3:]], 4)
    extra = ledger.link({**ROWS[3], "kind": "job.completed"}, ROWS[2]["leaf_hash"])
    found("ledger_gap", [*ROWS[:3], extra, *ROWS[3:]], 5)


def test_the_first_row_follows_on_nothing() -> None:
    """A ledger whose beginning was cut off does not verify with its numbers changed."""
    first = ledger.link(ROWS[0], "1" * 64)

    found("ledger_chain_broken", [first], 1)


def test_a_row_of_another_customer_is_found() -> None:
    """Its chain is right, but its customer is not."""
    alien = ledger.link(ROWS[6], ROWS[6]["prev_hash"], customer_id="evil")

    error = found("ledger_field_mismatch", [*ROWS[:6], alien], 7)

    assert "another customer" in error.message


def test_a_history_that_was_rewritten_is_found_by_who_kept_a_checkpoint() -> None:
    """Rows, head and checkpoint agree, and the right key signed: only memory helps."""
    rewritten = ledger.relink(changed(2, kind="job.completed"))
    checkpoint = ledger.checkpoint_of(rewritten)

    assert nodus.verify_ledger(rewritten, checkpoint=checkpoint, public_key=KEY).signature_verified
    found("ledger_history_rewritten", rewritten, checkpoint=checkpoint, public_key=KEY, known_checkpoint=KNOWN)


def test_a_ledger_that_shrank_is_found_by_who_kept_a_checkpoint() -> None:
    """The ledger may have a checkpoint of its own or none."""
    found("ledger_truncated", ROWS[:3], 4, checkpoint=ledger.checkpoint_of(ROWS[:3]), known_checkpoint=KNOWN)
    found("ledger_truncated", ROWS[:3], 4, known_checkpoint=KNOWN)


def test_a_checkpoint_of_another_log_is_found() -> None:
    """The key's name or the older checkpoint shows it."""
    other = ledger.checkpoint_of(ROWS, origin="nodus.run/ledger/evil")

    found("ledger_origin_mismatch", ROWS, checkpoint=other, public_key=KEY)
    found("ledger_origin_mismatch", ROWS, checkpoint=other, public_key=KEY["vkey"])
    found("ledger_origin_mismatch", ROWS, checkpoint=other, known_checkpoint=KNOWN)


@pytest.mark.parametrize("key", [None, KEY["public_key"], ledger.PUBLIC])
def test_the_log_of_another_customer_is_not_taken_for_ones_own(key: Any) -> None:
    """One key may sign the logs of all; a key that does not name the log needs its origin beside it."""
    rows = [ledger.link(ROWS[0], "0" * 64, customer_id="evil")]
    theirs = ledger.checkpoint_of(rows, origin="nodus.run/ledger/evil")
    report = nodus.verify_ledger(rows, checkpoint=theirs, public_key=key)

    assert (report.origin, report.customer_id) == ("nodus.run/ledger/evil", "evil")
    found("ledger_origin_mismatch", rows, checkpoint=theirs, public_key=key, origin=ledger.ORIGIN)
    found("ledger_origin_mismatch", rows, known_checkpoint=theirs, public_key=key, origin=ledger.ORIGIN)
    with pytest.raises(nodus.LedgerError, match="not to") as included:
        nodus.verify_inclusion(rows[0], {}, checkpoint=theirs, public_key=key, origin=ledger.ORIGIN)
    with pytest.raises(nodus.LedgerError, match="not to") as consistent:
        nodus.verify_consistency(theirs, theirs, {}, public_key=key, origin=ledger.ORIGIN)
    assert included.value.code == consistent.value.code == "ledger_origin_mismatch"


def test_the_origin_of_ones_own_log_is_accepted() -> None:
    """It works with any key or none, but not without any checkpoint."""
    for key in (None, KEY, ledger.PUBLIC):
        assert nodus.verify_ledger(ROWS, checkpoint=CHECKPOINT, public_key=key, origin=ledger.ORIGIN).size == 7
    with pytest.raises(nodus.ValidationError, match="`origin` verifies checkpoints"):
        nodus.verify_ledger(ROWS, origin=ledger.ORIGIN)


@pytest.mark.parametrize("key", [KEY, KEY["vkey"], KEY["public_key"]])
def test_a_checkpoint_that_another_key_signed_is_found(key: Any) -> None:
    """Access to the database does not give access to the key."""
    forged = ledger.checkpoint_of(ROWS, private=ledger.OTHER_PRIVATE)

    found("ledger_signature_invalid", ROWS, checkpoint=forged, public_key=key)
    found("ledger_signature_invalid", ROWS, checkpoint=CHECKPOINT, known_checkpoint=forged, public_key=key)


def test_a_key_without_anything_to_verify_is_refused() -> None:
    """The call would look as if it had verified a signature."""
    with pytest.raises(nodus.ValidationError, match="checkpoint"):
        nodus.verify_ledger(ROWS, public_key=KEY)


@pytest.mark.parametrize("missing", ["seq", "at", "leaf", "leaf_hash", "payload", "prev_hash", "job_id"])
def test_a_row_that_lacks_a_field_is_malformed(missing: str) -> None:
    """The error names the row by its position."""
    rows = [*ROWS[:2], {name: value for name, value in ROWS[2].items() if name != missing}]

    assert missing in found("ledger_malformed", rows, 3).message


@pytest.mark.parametrize("row", [None, 7, [], "", "{", b"\xff", "[]", '{"seq":1}', "[" * 100_000, {"leaf": 1}])
def test_a_row_that_is_none_is_malformed(row: Any) -> None:
    """This holds for values of any type."""
    found("ledger_malformed", [*ROWS[:1], row], 2)


@pytest.mark.parametrize("leaf", [None, 7, "\ud800", b"{}"])
def test_a_leaf_that_is_no_text_is_malformed(leaf: Any) -> None:
    """Only text can be hashed."""
    found("ledger_malformed", changed(1, leaf=leaf), 1)


@pytest.mark.parametrize("leaf", ["", "{", "[]", "{}", '{"seq":1,"seq":1}', "null"])
def test_a_leaf_that_does_not_say_what_it_should_is_malformed(leaf: str) -> None:
    """Its hash is right, but it is no leaf."""
    hashed = ledger.sha256(b"\x00" + leaf.encode()).hex()

    found("ledger_malformed", changed(1, leaf=leaf, leaf_hash=hashed), 1)


def test_a_leaf_that_says_something_twice_is_malformed() -> None:
    """Two parsers could read two different values."""
    leaf = ROWS[0]["leaf"].replace('"kind":', '"kind":"job.failed","kind":')
    hashed = ledger.sha256(b"\x00" + leaf.encode()).hex()

    found("ledger_malformed", changed(1, leaf=leaf, leaf_hash=hashed), 1)


def test_a_leaf_without_a_customer_is_malformed() -> None:
    """Each row belongs to one customer."""
    found("ledger_malformed", [ledger.link(ROWS[0], "0" * 64, customer_id=None)], 1)  # type: ignore[arg-type]


def test_leaves_may_say_more_than_this_version_knows() -> None:
    """Numbers in them may also be spelled differently from how Python writes them."""
    first = ledger.link(ROWS[0], "0" * 64, signed_by="notary")
    second = ledger.link({**ROWS[1], "payload": {"x": 1e22}}, first["leaf_hash"])
    second["leaf"] = second["leaf"].replace("1e+22", "1e22")
    second["leaf_hash"] = ledger.sha256(b"\x00" + second["leaf"].encode()).hex()

    assert nodus.verify_ledger([first, second]).size == 2
    found("ledger_field_mismatch", [{**first, "kind": "other"}], 1)


def test_an_error_travels_with_the_row_it_names() -> None:
    """Errors pickle, so a worker process can return them."""
    error = found("ledger_gap", ROWS[1:], 1)

    again = pickle.loads(pickle.dumps(error))

    assert (type(again), again.code, again.seq, str(again)) == (nodus.LedgerError, "ledger_gap", 1, str(error))


def test_without_cryptography_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the signature is verified without it."""
    for name in [*sys.modules]:
        if name.split(".")[0] == "cryptography":
            monkeypatch.setitem(sys.modules, name, None)

    assert nodus.verify_ledger(ROWS, checkpoint=CHECKPOINT, known_checkpoint=KNOWN).size == 7
    with pytest.raises(nodus.ConfigurationError, match="pip install cryptography") as caught:
        nodus.verify_ledger(ROWS, checkpoint=CHECKPOINT, public_key=KEY)
    assert caught.value.code == "missing_extra"


def test_verifying_loads_neither_the_http_stack_nor_cryptography() -> None:
    """The standard library computes the hashes."""
    program = (
        "import sys, nodus\n"
        "nodus.verify_ledger([])\n"
        "print(sorted({'anyio', 'cryptography', 'httpx', 'pydantic', 'ssl'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"


def blocks_of_document() -> list[str]:
    return re.findall(r"```text\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


def test_the_example_in_the_documentation_is_right() -> None:
    """Its hashes, tree, key and note follow from its leaves by the rules alone."""
    leaves, hashes, nodes, keys, note = blocks_of_document()
    computed = [ledger.sha256(b"\x00" + leaf.encode()) for leaf in leaves.splitlines()]
    inner = ledger.sha256(b"\x01" + computed[0] + computed[1])
    root = ledger.sha256(b"\x01" + inner + computed[2])

    assert hashes.split() == [one.hex() for one in computed]
    assert nodes.split() == [inner.hex(), root.hex()]
    assert keys.split() == [KEY["public_key"], KEY["vkey"]]
    assert note == ledger.note_of(ledger.ORIGIN, 3, root)


def test_the_example_in_the_documentation_verifies() -> None:
    """The rows are made of its leaves, and its key is used."""
    leaves, hashes, _, keys, note = blocks_of_document()
    rows = []
    for leaf, hashed in zip(leaves.splitlines(), hashes.split(), strict=True):
        row = json.loads(leaf)
        assert row.pop("customer_id") == "acme"
        rows.append({**row, "leaf": leaf, "leaf_hash": hashed})

    report = nodus.verify_ledger(rows, checkpoint=note, public_key=keys.split()[1])

    assert dataclasses.asdict(report).items() >= {"size": 3, "signature_verified": True}.items()
