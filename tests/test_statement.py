"""Verifying a month's statement: a good one verifies, and whatever is changed in one is found and named."""

from __future__ import annotations

import io
import random
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import nodus
from nodus._statement import is_statement
from tests.support import signed_ledger as ledger

COSTS = (1_000_000, 23, 456_000)
ROWS = ledger.statement_rows(COSTS, before=3, after=2)
FIRST, LAST = 4, 9
LINES = ledger.statement_of(ROWS, FIRST, LAST)
KEY = ledger.key_of()


def verified(lines: list[Any], **options: Any) -> nodus.StatementReport:
    """Verify a statement as it is read from a file."""
    return nodus.verify_statement(io.BytesIO(ledger.written(lines)), **{"public_key": KEY, **options})


def test_a_good_statement_verifies_and_the_report_says_what_it_says() -> None:
    """Rows, sums, and what proves them."""
    assert verified(LINES, origin=ledger.ORIGIN) == nodus.StatementReport(
        origin=ledger.ORIGIN,
        customer_id="acme",
        month="2026-01",
        first_seq=FIRST,
        last_seq=LAST,
        rows=6,
        jobs=3,
        cost_micros=sum(COSTS),
        simulated_jobs=1,
        simulated_cost_micros=COSTS[2],
        by_principal_kind={
            "agent": {"jobs": 1, "cost_micros": COSTS[1]},
            "human": {"jobs": 2, "cost_micros": COSTS[0] + COSTS[2]},
        },
        is_final=True,
        checkpoint_size=len(ROWS),
        root_hash=ledger.checkpoint_of(ROWS)["root_hash"],
        signature_verified=True,
    )


def test_lines_may_be_text_and_the_key_may_be_missing() -> None:
    """As the client gives them; then nothing shows who made it."""
    text = ledger.written(LINES).decode()
    report = nodus.verify_statement(text.removesuffix("\n").split("\n"))

    assert report.rows == 6
    assert report.signature_verified is False


@pytest.mark.parametrize("first", range(1, 7))
@pytest.mark.parametrize("last", range(7, 10))
def test_any_part_of_any_log_verifies(first: int, last: int) -> None:
    """From the very first row, and to the very last."""
    rows = ledger.relink([{**row, "at": "2026-01-02T00:00:00.000Z", "kind": "other"} for row in ROWS[:last]])

    assert verified(ledger.statement_of(rows, first, last)).rows == last - first + 1


def test_a_month_without_rows_verifies() -> None:
    """It has nothing to prove."""
    report = verified(ledger.statement_of(ROWS, None, None, month="2026-06"))

    assert (report.first_seq, report.rows, report.jobs) == (None, 0, 0)


def changed(**parts: Any) -> list[Any]:
    """The statement, its `header` or `trailer` with other members, its `totals` likewise."""
    header, *rows, trailer = LINES
    trailer = {**trailer, **parts.get("trailer", {})}
    trailer["totals"] = {**trailer["totals"], **parts.get("totals", {})}
    return [{**header, **parts.get("header", {})}, *parts.get("rows", rows), trailer]


ROW_LINES = LINES[1:-1]
OTHERS = ledger.relink([{**row, "payload": {**row["payload"], "more": 1}} for row in ROWS])
DEARER = [*ROW_LINES[:-1], {"leaf": ROW_LINES[-1]["leaf"].replace('"cost_micros":456000', '"cost_micros":456001')}]


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("ledger_truncated", []),
        ("ledger_truncated", LINES[:-1]),
        ("ledger_truncated", changed(rows=ROW_LINES[:-1])),
        ("ledger_malformed", [*LINES, LINES[-1]]),
        ("ledger_malformed", LINES[1:]),
        ("ledger_gap", changed(rows=[*ROW_LINES[:2], *ROW_LINES[3:]])),
        ("ledger_gap", changed(header={"first_seq": 5})),
        ("ledger_gap", changed(header={"last_seq": 8})),
        ("ledger_gap", changed(header={"first_seq": None, "last_seq": None})),
        ("ledger_truncated", changed(header={"last_seq": 10})),
        ("ledger_malformed", changed(header={"first_seq": True})),
        ("ledger_malformed", changed(header={"month": "2026-1"})),
        ("ledger_field_mismatch", changed(header={"month": "2026-02"})),
        ("ledger_field_mismatch", ledger.statement_of(ROWS, FIRST - 1, LAST)),
        ("ledger_field_mismatch", ledger.statement_of(ROWS, FIRST, LAST + 1)),
        ("ledger_origin_mismatch", changed(header={"customer_id": "globex"})),
        ("ledger_field_mismatch", changed(header={"customer_id": "globex", "origin": "nodus.run/ledger/globex"})),
        ("ledger_origin_mismatch", changed(header={"origin": "other.test/acme"})),
        ("ledger_chain_broken", changed(rows=[*ROW_LINES[:3], {"leaf": OTHERS[6]["leaf"]}, *ROW_LINES[4:]])),
        ("ledger_proof_invalid", changed(rows=[{"leaf": row["leaf"]} for row in OTHERS[FIRST - 1 : LAST]])),
        ("ledger_proof_invalid", changed(rows=DEARER)),
        ("ledger_proof_invalid", changed(trailer={"proof": {"first": [], "last": []}})),
        ("ledger_proof_invalid", changed(trailer={"proof": {"first": "ab", "last": ["0"]}})),
        ("ledger_malformed", changed(trailer={"proof": None})),
        ("ledger_malformed", changed(trailer={"checkpoint": None})),
        ("ledger_malformed", changed(trailer={"final": 1})),
        ("ledger_totals_mismatch", changed(totals={"jobs": 4})),
        ("ledger_totals_mismatch", changed(totals={"jobs": 3.0})),
        ("ledger_totals_mismatch", changed(totals={"cost_micros": sum(COSTS) + 1})),
        ("ledger_totals_mismatch", changed(totals={"by_principal_kind": {}})),
        ("ledger_totals_mismatch", changed(totals={"simulated": {"jobs": 0, "cost_micros": 0}})),
        ("ledger_malformed", changed(rows=[{"leaf": 1}, *ROW_LINES[1:]])),
        ("ledger_malformed", changed(rows=[{"leaf": "{}"}, *ROW_LINES[1:]])),
    ],
)
def test_what_is_wrong_is_named(code: str, lines: list[Any]) -> None:
    """Rows left out, added or changed, of others or of other months; sums that are not theirs."""
    with pytest.raises(nodus.LedgerError) as caught:
        verified(lines)

    assert caught.value.code == code


def test_another_key_and_another_log_are_refused() -> None:
    """A signature that is not that of the pinned key; a log that is not the one that was meant."""
    with pytest.raises(nodus.LedgerError) as forged:
        verified(LINES, public_key=ledger.key_of(ledger.OTHER_PRIVATE))
    with pytest.raises(nodus.LedgerError) as other:
        verified(LINES, public_key=ledger.PUBLIC, origin="nodus.run/ledger/globex")

    assert forged.value.code == "ledger_signature_invalid"
    assert other.value.code == "ledger_origin_mismatch"


def test_a_repeated_name_is_refused() -> None:
    """In a line, and in a leaf, where two readers could read it differently."""
    leaf = ROWS[FIRST - 1]["leaf"]
    twice = leaf.replace('"seq":4', '"seq":5,"seq":4')
    lines = changed(rows=[{"leaf": twice}, *ROW_LINES[1:]])
    header = ledger.written(LINES).replace(b'{"origin"', b'{"month":"2026-02","origin"', 1)
    for text in (ledger.written(lines), header):
        with pytest.raises(nodus.LedgerError) as caught:
            nodus.verify_statement(io.BytesIO(text))
        assert caught.value.code == "ledger_malformed"


def every_change(spell: Callable[[str], str]) -> Iterator[bytes]:
    """The statement, each of its lines in turn spelled in another way."""
    lines = ledger.written(LINES).decode().split("\n")[:-1]
    for number, line in enumerate(lines):
        other = spell(line)
        if other != line:
            yield "\n".join([*lines[:number], other, *lines[number + 1 :], ""]).encode()


@pytest.mark.parametrize(
    "spell",
    [
        lambda line: line + " ",
        lambda line: line + "\r",
        lambda line: line.replace(":", ": ", 1),
        lambda line: line.replace("é", "\\u00e9", 1),
        lambda line: line.replace("jobs", "\\u006aobs", 1),
        lambda line: line + "\n",
    ],
)
def test_a_line_has_one_spelling(spell: Callable[[str], str]) -> None:
    """What a reader of JSON would take for the same is not the same."""
    found = 0
    for text in every_change(spell):
        with pytest.raises(nodus.LedgerError):
            nodus.verify_statement(io.BytesIO(text), public_key=KEY)
        found += 1

    assert found


def unnoticed(places: int, seed: int) -> list[tuple[int, int]]:
    """Change one byte at so many random places, to any other; return the changes that verify."""
    chance, text = random.Random(seed), ledger.written(LINES)
    passed = []
    for _ in range(places):
        place, more = chance.randrange(len(text)), chance.randrange(1, 256)
        spoiled = bytearray(text)
        spoiled[place] = (spoiled[place] + more) % 256
        try:
            nodus.verify_statement(io.BytesIO(spoiled), public_key=KEY)
        except nodus.LedgerError:
            continue
        passed.append((place, spoiled[place]))
    return passed


def test_one_changed_byte_is_found() -> None:
    """Anywhere: in the header, a row, the proofs, the sums, the note."""
    assert unnoticed(400, seed=1) == []


@pytest.mark.soak
def test_each_of_ten_thousand_changed_bytes_is_found() -> None:
    """The same at more places."""
    assert unnoticed(10_000, seed=2) == []


def test_memory_does_not_grow_with_the_statement() -> None:
    """A line is looked at, and forgotten."""
    rows = ledger.relink([{**ROWS[FIRST], "at": "2026-01-02T00:00:00.000Z"}] * 1500)
    text = io.BytesIO(ledger.written(ledger.statement_of(rows, 1, len(rows))))
    tracemalloc.start()
    try:
        report = nodus.verify_statement(text, public_key=KEY)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert report.rows == len(rows)
    assert peak < len(text.getvalue()) / 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (ledger.written(LINES[:1]), True),
        (ledger.canonical(ROWS[0]), False),
        ("", False),
        ("[]", False),
        (b"\xff", False),
    ],
)
def test_a_statement_is_told_from_an_export(line: str | bytes, expected: bool) -> None:
    """By its first line."""
    assert is_statement(line) is expected
