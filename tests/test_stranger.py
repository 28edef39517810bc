"""The verifier of the documentation, which shares nothing with ours, agrees with it."""

from __future__ import annotations

import ast
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nodus
from tests.support import signed_ledger as ledger
from tests.support import stranger

PATIENCE_SECONDS = 120.0

ROWS = ledger.statement_rows((1_000_000, 23, 456_000), before=3, after=2)
LINES = ledger.statement_of(ROWS, 4, 9)
TEXT = ledger.written(LINES)
VKEY = ledger.key_of()["vkey"]
PROGRAM = compile(stranger.source(), "verify.py", "exec")

Export = Callable[..., bool]


def is_accepted(folder: Path, text: bytes) -> bool:
    """Whether the stranger accepts this statement."""
    (folder / "statement").write_bytes(text)
    return stranger.accepts(PROGRAM, VKEY, str(folder / "statement"))


@pytest.fixture
def export_is_accepted(tmp_path: Path) -> Export:
    """Say whether the stranger accepts these rows with this checkpoint."""

    def accepted(rows: list[dict[str, Any]], checkpoint: dict[str, Any], key: str = VKEY) -> bool:
        (tmp_path / "rows").write_bytes(ledger.written(rows))
        (tmp_path / "checkpoint").write_text(json.dumps(checkpoint), encoding="utf-8")
        return stranger.accepts(PROGRAM, key, str(tmp_path / "rows"), str(tmp_path / "checkpoint"))

    return accepted


def test_it_is_short_and_imports_nothing_of_ours() -> None:
    """The standard library, and cryptography for Ed25519."""
    found = set()
    for node in ast.walk(ast.parse(stranger.source())):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])

    assert len(stranger.source().splitlines()) <= 60
    assert found - sys.stdlib_module_names == {"cryptography"}


def test_it_runs_by_itself(tmp_path: Path) -> None:
    """As its reader runs it."""
    (tmp_path / "verify.py").write_text(stranger.source(), encoding="utf-8")
    ended = {}
    for name, text in (("good", TEXT), ("bad", TEXT.replace(b"1000000", b"1000001"))):
        (tmp_path / name).write_bytes(text)
        ended[name] = subprocess.run(
            [sys.executable, "verify.py", VKEY, name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )

    assert (ended["good"].returncode, ended["good"].stdout) == (0, "verified\n")
    assert (ended["bad"].returncode, ended["bad"].stdout) == (1, "")
    assert "does not verify" in ended["bad"].stderr


@pytest.mark.parametrize("size", range(1, 9))
def test_it_accepts_what_we_accept(tmp_path: Path, export_is_accepted: Export, size: int) -> None:
    """Statements of any part of a log, and its exports."""
    rows = ledger.relink([{**row, "at": "2026-01-02T00:00:00.000Z"} for row in ROWS[:size]])
    for first in range(1, size + 1):
        text = ledger.written(ledger.statement_of(rows, first, size))
        assert nodus.verify_statement(text.decode().split("\n")[:-1], public_key=VKEY)
        assert is_accepted(tmp_path, text)
    assert export_is_accepted(ROWS, ledger.checkpoint_of(ROWS[:size]))


def test_it_accepts_a_month_without_rows(tmp_path: Path) -> None:
    """And a log without any."""
    empty = [ledger.written(ledger.statement_of(rows, None, None, month="2026-09")) for rows in (ROWS, [])]

    assert [is_accepted(tmp_path, text) for text in empty] == [True, True]


def test_one_changed_byte_is_found(tmp_path: Path) -> None:
    """Anywhere in a statement."""
    chance = random.Random(3)
    passed = []
    for _ in range(200):
        place, more = chance.randrange(len(TEXT)), chance.randrange(1, 256)
        spoiled = bytearray(TEXT)
        spoiled[place] = (spoiled[place] + more) % 256
        if is_accepted(tmp_path, bytes(spoiled)):
            passed.append((place, spoiled[place]))

    assert passed == []


def test_statements_that_we_refuse_are_refused(tmp_path: Path) -> None:
    """Cut off, continued, of rows left out, of another key's log."""
    lines = TEXT.decode().split("\n")[:-1]
    others = [
        lines[:-1],
        [*lines, lines[-1]],
        [*lines[:2], *lines[3:]],
        [*lines[:-2], lines[-1]],
        [lines[0].replace("2026-01", "2026-02"), *lines[1:]],
    ]
    for other in others:
        with pytest.raises(nodus.LedgerError):
            nodus.verify_statement(other, public_key=VKEY)
        assert not is_accepted(tmp_path, "\n".join([*other, ""]).encode())


def test_a_tampered_export_is_refused(export_is_accepted: Export) -> None:
    """A field, a leaf, a row left out, a chain made anew, another key, fewer rows than were signed for."""
    checkpoint = ledger.checkpoint_of(ROWS)
    dearer = [*ROWS[:4], {**ROWS[4], "payload": {**ROWS[4]["payload"], "cost_micros": 1}}, *ROWS[5:]]
    other = ledger.key_of(ledger.OTHER_PRIVATE)["vkey"]

    assert export_is_accepted(ROWS, checkpoint)
    assert not export_is_accepted(dearer, checkpoint)
    assert not export_is_accepted(ledger.relink(dearer), checkpoint)
    assert not export_is_accepted([*ROWS[:4], *ROWS[5:]], checkpoint)
    assert not export_is_accepted(ROWS[:-1], checkpoint)
    assert not export_is_accepted(ROWS, checkpoint, other)
