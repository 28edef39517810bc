"""What this machine saw of a ledger before, and what it says when the ledger does not go on from there."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

import nodus as sdk
from nodus._cli.checkpoint_store import CheckpointStore, SeenCheckpoint, predecessor, require_continuation, state_folder
from nodus._resources import ConsistencyProof
from tests.cli.conftest import Command
from tests.cli.stub import Answer, Request, Stub
from tests.support.merkle_definitions import consistency_proof
from tests.support.signed_ledger import (
    ORIGIN,
    OTHER_PRIVATE,
    PRIVATE,
    Row,
    checkpoint_of,
    key_of,
    leaf_hashes,
    rows,
)

URL = "https://api.example"
ROWS = rows(22)


def seen(count: int, *, base_url: str = URL, private: object = PRIVATE, made: list[Row] = ROWS) -> SeenCheckpoint:
    return SeenCheckpoint.of(checkpoint_of(made[:count], private=private)["note"], base_url)


def serve(stub: Stub, made: list[Row]) -> None:
    """Let the stub have a ledger, and prove that it goes on from any size."""

    def prove(request: Request) -> Answer:
        size = int(request.query["from"][0])
        proof = consistency_proof(leaf_hashes(made), size)
        return Answer(200, {"from": size, "to": len(made), "hashes": [each.hex() for each in proof]})

    stub.answer("GET /v1/ledger", Answer(200, {"entries": made, "next_after": None}))
    stub.answer("GET /v1/ledger/checkpoint", Answer(200, checkpoint_of(made)))
    stub.answer("GET /v1/ledger/key", Answer(200, key_of()))
    stub.scripts["GET /v1/ledger/consistency"] = prove


@pytest.mark.parametrize("words", [("ledger", "verify"), ("ledger", "checkpoint")])
def test_a_ledger_that_went_back_is_named(stub: Stub, nodus: Command, words: tuple[str, ...]) -> None:
    """Both commands keep refusing it until the user accepts the rollback."""
    serve(stub, ROWS)
    first = nodus(*words)
    serve(stub, ROWS[:2])
    second, third, as_json = nodus(*words), nodus(*words), nodus(*words, "--json")
    accepted = nodus("ledger", "verify", "--accept-rollback")
    after = nodus(*words)

    assert (first.status, second.status, third.status) == (0, 9, 9)
    assert "went back from 22 to 2 rows" in second.stderr
    assert ("not what it was" in second.stdout) == (words[1] == "verify")
    assert "--accept-rollback" in second.stderr
    assert {name: json.loads(as_json.stderr)[name] for name in ("error", "exit_code", "status")} == {
        "error": "ledger_truncated",
        "exit_code": 9,
        "status": None,
    }
    assert (accepted.status, after.status) == (0, 0)


def test_a_ledger_that_goes_on_has_to_prove_it(stub: Stub, nodus: Command) -> None:
    """It must be consistent with the last checkpoint seen; a rewritten ledger cannot be."""
    serve(stub, ROWS[:5])
    first = nodus("ledger", "verify")
    serve(stub, ROWS)
    grown = nodus("ledger", "verify", "--json")
    serve(stub, rows(23, kind="other"))
    rewritten = nodus("ledger", "checkpoint")

    assert (first.status, grown.status, rewritten.status) == (0, 0, 9)
    assert "seen before" not in first.stdout
    assert json.loads(grown.stdout)["seen_size"] == 5
    assert [request.query for request in stub.called("GET /v1/ledger/consistency")] == [
        {"from": ["5"], "to": ["22"]},
        {"from": ["22"], "to": ["23"]},
    ]
    assert "does not begin with the 22 rows" in rewritten.stderr


def test_another_ledger_is_another_matter(stub: Stub, nodus: Command, state: Path) -> None:
    """The checkpoint of one log, such as another customer's, says nothing about another log."""
    serve(stub, ROWS)
    nodus("ledger", "checkpoint")
    stub.answer("GET /v1/ledger/checkpoint", Answer(200, checkpoint_of(ROWS[:2], origin="nodus.run/ledger/globex")))

    assert nodus("ledger", "checkpoint").status == 0
    assert len(list(state.glob("*.json"))) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX's")
def test_what_is_remembered_is_for_its_user_alone(stub: Stub, nodus: Command, state: Path) -> None:
    """Other users can read neither the folder nor the files."""
    serve(stub, ROWS)
    nodus("ledger", "verify")
    (file,) = state.iterdir()

    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_used_is_a_warning(
    stub: Stub, nodus: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The ledger itself verified, so the command still succeeds."""
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    serve(stub, ROWS)
    result = nodus("ledger", "verify")

    assert result.status == 0
    assert "cannot be remembered on this machine" in result.stderr


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", "{}", '{"note": 1, "base_url": "x"}', '{"note": "x", "base_url": 1}']
)
def test_what_is_damaged_is_written_anew(stub: Stub, nodus: Command, state: Path, damage: str) -> None:
    """A file that cannot be read counts as no checkpoint."""
    serve(stub, ROWS)
    nodus("ledger", "verify")
    (file,) = state.iterdir()
    file.write_text(damage, encoding="utf-8")

    assert nodus("ledger", "verify").status == 0
    assert json.loads(file.read_text(encoding="utf-8"))["size"] == 22


def test_an_export_is_not_compared(stub: Stub, nodus: Command, state: Path, tmp_path: Path) -> None:
    """An exported file may be older than the last checkpoint seen."""
    serve(stub, ROWS)
    nodus("ledger", "verify")
    export = tmp_path / "rows"
    export.write_text("\n".join(json.dumps(row) for row in ROWS[:2]), encoding="utf-8")

    assert nodus("ledger", "verify", "--file", str(export)).status == 0
    assert nodus("ledger", "verify", "--file", str(export), "--accept-rollback").status == 2


def test_of_two_writers_the_larger_checkpoint_stays(tmp_path: Path) -> None:
    """The order of the writes does not matter, and no temporary file is left in the folder."""
    store = CheckpointStore(tmp_path / "new" / "folder")
    for size in (3, 22, 5):
        store.save(seen(size))

    assert [each.size for each in store.load(ORIGIN)] == [22]
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 1
    store.save(seen(5), even_if_smaller=True)
    assert [each.size for each in store.load(ORIGIN)] == [5]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old file stays whole, and no half-written one appears."""
    store = CheckpointStore(tmp_path)
    store.save(seen(3))

    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        store.save(seen(5))

    assert [each.size for each in store.load(ORIGIN)] == [3]
    assert len(list(tmp_path.iterdir())) == 1


def test_the_same_key_is_compared_wherever_it_is_met() -> None:
    """A control plane may move to another address."""
    assert predecessor(seen(3, base_url="http://127.0.0.1:2"), [seen(5), seen(4)]) == seen(5)


def test_another_key_under_the_same_address_is_compared_too() -> None:
    """A new key must not start a new history; on loopback, it does mean a new control plane."""
    others = [seen(5, private=OTHER_PRIVATE)]
    on_loopback = [seen(5, private=OTHER_PRIVATE, base_url="http://127.0.0.1:1")]

    assert predecessor(seen(3), others) == others[0]
    assert predecessor(seen(3, base_url="https://elsewhere.example"), others) is None
    assert predecessor(seen(3, base_url="http://127.0.0.1:1"), on_loopback) is None


def test_a_continuation_needs_no_proof_where_there_is_nothing_to_prove() -> None:
    """Equal checkpoints, and growth from the empty log, need no proof."""
    require_continuation(seen(5), seen(5), None)
    require_continuation(seen(0), seen(5), None)
    proof = ConsistencyProof.model_validate(
        {"from": 5, "to": 22, "hashes": [each.hex() for each in consistency_proof(leaf_hashes(ROWS), 5)]}
    )
    require_continuation(seen(5), seen(22), proof)


def test_the_same_size_with_other_rows_is_a_rewritten_history() -> None:
    """No consistency proof can make up for it."""
    with pytest.raises(sdk.LedgerError) as caught:
        require_continuation(seen(5), seen(5, made=rows(5, kind="other")), None)

    assert caught.value.code == "ledger_history_rewritten"


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({"XDG_STATE_HOME": "/s"}, "linux", "/s/nodus"),
        ({"XDG_STATE_HOME": "s"}, "linux", "/home/me/.local/state/nodus"),
        ({}, "darwin", "/home/me/.local/state/nodus"),
        ({"LOCALAPPDATA": "/l", "XDG_STATE_HOME": "/s"}, "win32", "/l/nodus"),
        ({}, "win32", "/home/me/.local/state/nodus"),
    ],
)
def test_the_folder_is_where_the_system_wants_it(environ: dict[str, str], platform: str, expected: str) -> None:
    """It follows the XDG specification, and on Windows %LOCALAPPDATA%."""
    assert state_folder(environ, platform=platform, home=Path("/home/me")) == Path(expected)
