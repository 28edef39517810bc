"""`nodus ledger`: read from the server, verified there or from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.cli.stub import Answer, Stub
from tests.support.merkle_definitions import consistency_proof, inclusion_proof
from tests.support.signed_ledger import (
    OTHER_PRIVATE,
    Row,
    checkpoint_of,
    key_of,
    leaf_hashes,
    rows,
    statement_of,
    statement_rows,
    written,
)

ROWS = rows(5)


def serve(stub: Stub, made: list[Row] = ROWS, **options: Any) -> None:
    """Let the stub have a ledger."""
    stub.answer("GET /v1/ledger", Answer(200, {"entries": made, "next_after": None}))
    stub.answer("GET /v1/ledger/checkpoint", Answer(200, checkpoint_of(made, **options)))
    stub.answer("GET /v1/ledger/key", Answer(200, key_of()))


def test_rows_are_printed_in_their_order(stub: Stub, nodus: Command) -> None:
    """They are printed as columns, or as JSON with every member of the row."""
    serve(stub)
    shown = nodus("ledger", "entries", "--limit", "2")
    as_json = nodus("ledger", "entries", "--json")
    nodus("ledger", "entries", "--job", "job-2", "--after", "1")

    first = ["1", ROWS[0]["at"], "job.transition", "", "key-1", "agent", ROWS[0]["leaf_hash"]]
    lines = shown.stdout.splitlines()
    assert (lines[0].split("\t"), len(lines)) == (first, 2)
    assert [json.loads(line) for line in as_json.stdout.splitlines()] == ROWS
    assert stub.requests[-1].query == {"after": ["1"], "job_id": ["job-2"], "limit": ["200"]}


def test_checkpoint_and_key_are_printed_as_they_are_kept(stub: Stub, nodus: Command) -> None:
    """The checkpoint is the signed note, the key a verifier key."""
    serve(stub)

    assert nodus("ledger", "checkpoint").stdout == checkpoint_of(ROWS)["note"]
    assert json.loads(nodus("ledger", "checkpoint", "--json").stdout) == checkpoint_of(ROWS)
    assert nodus("ledger", "key").stdout == key_of()["vkey"] + "\n"
    assert json.loads(nodus("ledger", "key", "--json").stdout) == key_of()


def test_proofs_are_printed(stub: Stub, nodus: Command) -> None:
    """Each hash of the path is printed as the server sent it."""
    hashes = leaf_hashes(ROWS)
    inclusion = {
        "seq": 3,
        "size": 5,
        "leaf_hash": ROWS[2]["leaf_hash"],
        "hashes": [each.hex() for each in inclusion_proof(hashes, 2)],
    }
    consistency = {"from": 2, "to": 5, "hashes": [each.hex() for each in consistency_proof(hashes, 2)]}
    stub.answer("GET /v1/ledger/3/proof", Answer(200, inclusion))
    stub.answer("GET /v1/ledger/consistency", Answer(200, consistency))

    assert json.loads(nodus("ledger", "proof", "3", "--size", "5", "--json").stdout) == inclusion
    assert json.loads(nodus("ledger", "consistency", "2", "5", "--json").stdout) == consistency
    assert inclusion["leaf_hash"] in nodus("ledger", "proof", "3").stdout
    assert nodus("ledger", "consistency", "2", "5").stdout.startswith("from  2\nto    5\npath  ")


@pytest.mark.parametrize("words", [("proof", "0"), ("proof", "3", "--size", "2"), ("consistency", "5", "2")])
def test_what_cannot_be_proved_is_not_asked_for(stub: Stub, nodus: Command, words: tuple[str, ...]) -> None:
    """A size smaller than the row is an error of usage."""
    assert nodus("ledger", *words).status == 2
    assert stub.requests == []


def test_the_servers_ledger_is_verified(stub: Stub, nodus: Command) -> None:
    """With a pinned key, or else with a note that the server named the key itself."""
    serve(stub)
    trusting = nodus("ledger", "verify")
    pinned = nodus("ledger", "verify", "--public-key", key_of()["vkey"], "--json")

    assert (trusting.status, pinned.status) == (0, 0)
    assert "the key that the server named" in trusting.stdout
    assert "Pin the key" in trusting.stderr
    assert {name: json.loads(pinned.stdout)[name] for name in ("size", "checkpoint_size", "signature_verified")} == {
        "size": 5,
        "checkpoint_size": 5,
        "signature_verified": True,
    }


def test_what_does_not_verify_exits_9(stub: Stub, nodus: Command) -> None:
    """A row was changed, or another key signed the checkpoint."""
    serve(stub, [*ROWS[:2], {**ROWS[2], "kind": "job.settled"}, *ROWS[3:]])
    changed = nodus("ledger", "verify")
    serve(stub, private=OTHER_PRIVATE)
    forged = nodus("ledger", "verify", "--public-key", key_of()["public_key"])

    assert (changed.status, changed.stdout) == (9, "")
    assert "row 3" in changed.stderr.lower()
    assert (forged.status, forged.stdout) == (9, "")


def test_files_are_verified_without_a_network(stub: Stub, nodus: Command, tmp_path: Path) -> None:
    """An export and its checkpoint are read from files, each as a note or as JSON."""
    export, checkpoint, known = tmp_path / "rows", tmp_path / "checkpoint", tmp_path / "known"
    export.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n", encoding="utf-8")
    checkpoint.write_text(checkpoint_of(ROWS)["note"], encoding="utf-8")
    known.write_text(json.dumps(checkpoint_of(ROWS[:3])), encoding="utf-8")
    words = ("ledger", "verify", "--file", str(export), "--known", str(known), "--json")
    whole = nodus(*words, "--checkpoint", str(checkpoint), "--public-key", key_of()["vkey"])
    known.write_text(json.dumps(checkpoint_of(rows(3, kind="other"))), encoding="utf-8")
    rewritten = nodus(*words)

    assert json.loads(whole.stdout)["known_size"] == 3
    assert rewritten.status == 9
    assert stub.requests == []


def test_an_export_has_a_row_a_line_whatever_is_in_it(stub: Stub, nodus: Command, tmp_path: Path) -> None:
    """Only a line feed ends a line: a payload may contain U+2028 and U+0085."""
    made = rows(3, payload={"reason": "one\u2028two\x85three\x0b"})
    serve(stub, made)
    export, checkpoint = tmp_path / "rows", tmp_path / "checkpoint"
    export.write_text(nodus("ledger", "entries", "--json").stdout, encoding="utf-8")
    checkpoint.write_text(nodus("ledger", "checkpoint").stdout, encoding="utf-8")

    verified = nodus("ledger", "verify", "--file", str(export), "--checkpoint", str(checkpoint), "--json")

    assert (verified.status, json.loads(verified.stdout)["size"]) == (0, 3)


def test_evidence_that_is_none_is_a_usage_error(nodus: Command, tmp_path: Path) -> None:
    """So is a key without anything to verify with it."""
    file = tmp_path / "file"
    file.write_bytes(b"{\xff")

    assert nodus("ledger", "verify", "--known", str(file)).status == 2
    assert nodus("ledger", "verify", "--known", str(tmp_path / "absent")).status == 2
    assert nodus("ledger", "verify", "--checkpoint", str(file)).status == 2
    file.write_text("{", encoding="utf-8")
    assert nodus("ledger", "verify", "--known", str(file)).status == 2
    assert nodus("ledger", "verify", "--file", str(file), "--public-key", key_of()["vkey"]).status == 2


def serve_own_rows(stub: Stub, *seqs: int, kind: str = "agent") -> None:
    """Let the stub show these rows alone, as to an agent's key, and prove each."""
    serve(stub)
    stub.answer("GET /v1/ledger", Answer(200, {"entries": [ROWS[seq - 1] for seq in seqs], "next_after": None}))
    stub.answer("GET /v1/key", Answer(200, {"id": "key-1", "principal_kind": kind}))
    hashes = leaf_hashes(ROWS)
    for seq in seqs:
        path = [each.hex() for each in inclusion_proof(hashes, seq - 1)]
        content = {"seq": seq, "size": 5, "leaf_hash": ROWS[seq - 1]["leaf_hash"], "hashes": path}
        stub.answer(f"GET /v1/ledger/{seq}/proof", Answer(200, content))
    consistency = [each.hex() for each in consistency_proof(hashes, 2)]
    stub.answer("GET /v1/ledger/consistency", Answer(200, {"from": 2, "to": 5, "hashes": consistency}))


@pytest.mark.parametrize("seqs", [(2, 4), (1, 2), ()], ids=["gaps", "the first ones", "none"])
def test_what_an_agent_sees_is_verified_row_by_row(
    stub: Stub, nodus: Command, tmp_path: Path, seqs: tuple[int, ...]
) -> None:
    """Each row is verified by an inclusion proof, and the output says what this cannot show."""
    serve_own_rows(stub, *seqs)
    known = tmp_path / "known"
    known.write_text(json.dumps(checkpoint_of(ROWS[:2])), encoding="utf-8")
    shown = nodus("ledger", "verify")
    as_json = nodus("ledger", "verify", "--json", "--known", str(known), "--public-key", key_of()["vkey"])

    assert (shown.status, as_json.status) == (0, 0)
    assert "verified in part" in shown.stdout
    assert "with the key that the server named" in shown.stdout
    assert "only the rows of its own key and jobs" in shown.stderr
    assert json.loads(as_json.stdout) == {
        "rows": len(seqs),
        "newer_rows": 0,
        "checkpoint_size": 5,
        "root_hash": checkpoint_of(ROWS)["root_hash"],
        "known_size": 2,
        "signature_verified": True,
    }


def test_a_row_of_an_agent_that_is_not_proved_exits_9(stub: Stub, nodus: Command) -> None:
    """The proof is another row's, or the row's text was changed."""
    serve_own_rows(stub, 2, 4)
    wrong = {"seq": 2, "size": 5, "leaf_hash": ROWS[1]["leaf_hash"], "hashes": []}
    stub.answer("GET /v1/ledger/2/proof", Answer(200, wrong))
    unproved = nodus("ledger", "verify")
    serve_own_rows(stub, 2, 4)
    changed = [ROWS[1], {**ROWS[3], "kind": "job.settled"}]
    stub.answer("GET /v1/ledger", Answer(200, {"entries": changed, "next_after": None}))
    forged = nodus("ledger", "verify")

    assert (unproved.status, unproved.stdout) == (9, "")
    assert (forged.status, forged.stdout) == (9, "")


def test_for_everybody_else_missing_rows_are_a_fault(stub: Stub, nodus: Command) -> None:
    """Only an agent's key has a reason not to see all rows."""
    serve_own_rows(stub, 2, 4, kind="service")
    refused = nodus("ledger", "verify")

    assert (refused.status, refused.stdout) == (9, "")
    assert "Row 1 is missing" in refused.stderr


def test_an_export_proves_no_more_than_it_can(nodus: Command, tmp_path: Path) -> None:
    """Consistent rows and a checkpoint are easily made; only a pinned key's signature shows who did."""
    export, checkpoint = tmp_path / "rows", tmp_path / "checkpoint"
    export.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n", encoding="utf-8")
    checkpoint.write_text(checkpoint_of(ROWS)["note"], encoding="utf-8")
    words = ("ledger", "verify", "--file", str(export))
    with_checkpoint = (*words, "--checkpoint", str(checkpoint))
    pinned = ("--public-key", key_of()["vkey"])
    alone, beside, signed, kept = (
        nodus(*words),
        nodus(*with_checkpoint),
        nodus(*with_checkpoint, *pinned),
        nodus(*words, "--known", str(checkpoint), *pinned),
    )

    assert (alone.status, beside.status, signed.status, kept.status) == (0, 0, 0, 0)
    assert "the rows are consistent among themselves; nothing shows who wrote them\n" in alone.stdout
    assert "the rows are those of the checkpoint; nothing shows who wrote it\n" in beside.stdout
    assert "ledger        verified\n" not in alone.stdout + beside.stdout
    assert signed.stdout.startswith("ledger      verified\n")
    assert "the first 5 rows are verified" in kept.stdout
    assert "nothing shows who" in json.loads(nodus(*words, "--json").stdout)["finding"]


STATEMENT_ROWS = statement_rows((1_000_000, 23, 456_000))
LINES = statement_of(STATEMENT_ROWS, 2, 7)
STATEMENT = written(LINES)


def serve_statement(stub: Stub) -> None:
    """Let the stub have the statement of a month."""
    stub.answer("GET /v1/ledger/statement", Answer(200, STATEMENT.decode()))


def test_a_statement_is_printed_or_saved_and_verified(stub: Stub, nodus: Command, tmp_path: Path) -> None:
    """The file byte for byte; what it says is shown, without a network."""
    serve_statement(stub)
    target = tmp_path / "january.ndjson"
    printed = nodus("ledger", "statement", "--month", "2026-01")
    saved = nodus("ledger", "statement", "--month", "2026-01", "--file", str(target))
    for_programs = nodus("ledger", "statement", "--month", "2026-01", "--file", str(target), "--json")
    stub.requests.clear()
    words = ("ledger", "verify", "--file", str(target), "--public-key", key_of()["vkey"])
    shown, as_json = nodus(*words), nodus(*words, "--json")

    assert [json.loads(line) for line in printed.stdout.split("\n")[:-1]] == LINES
    assert (saved.status, saved.stdout, target.read_bytes()) == (0, "", STATEMENT)
    assert f"nodus ledger verify --file {target}" in saved.stderr
    assert json.loads(for_programs.stdout) == {"month": "2026-01", "file": str(target)}
    assert shown.stdout.splitlines()[:7] == [
        "statement     verified",
        "ledger        nodus.run/ledger/acme",
        "month         2026-01",
        "rows          6, from 2 to 7",
        "jobs settled  3",
        "cost          $1.456023",
        "simulated     1 job, $0.456",
    ]
    assert (json.loads(as_json.stdout)["cost_micros"], json.loads(as_json.stdout)["finding"]) == (1_456_023, "verified")
    assert stub.requests == []


def test_a_changed_statement_exits_9(nodus: Command, tmp_path: Path) -> None:
    """A cost, and the signature; without the pinned key, nothing shows who made it."""
    target = tmp_path / "january.ndjson"
    target.write_bytes(STATEMENT.replace(b"1000000", b"1000001"))
    dearer = nodus("ledger", "verify", "--file", str(target))
    target.write_bytes(STATEMENT)
    other_key = nodus("ledger", "verify", "--file", str(target), "--public-key", key_of(OTHER_PRIVATE)["vkey"])
    no_key = nodus("ledger", "verify", "--file", str(target))

    assert (dearer.status, other_key.status, no_key.status) == (9, 9, 0)
    assert "nothing shows who made it" in no_key.stdout


def test_what_a_statement_has_in_it_is_not_given_beside_it(nodus: Command, tmp_path: Path) -> None:
    """An error of usage, like a file that is not there; a month that is none is an invalid argument."""
    target, checkpoint = tmp_path / "january.ndjson", tmp_path / "checkpoint"
    target.write_bytes(STATEMENT)
    checkpoint.write_text(checkpoint_of(ROWS)["note"], encoding="utf-8")
    refused = [
        nodus("ledger", "verify", "--file", str(target), option, str(checkpoint))
        for option in ("--checkpoint", "--known")
    ]
    missing = nodus("ledger", "verify", "--file", str(tmp_path / "missing"))
    no_month = nodus("ledger", "statement", "--month", "January")

    assert [each.status for each in refused] == [2, 2]
    assert "has its checkpoint in it" in refused[0].stderr
    assert missing.status == 2
    assert no_month.status == 5
