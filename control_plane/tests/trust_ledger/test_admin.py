"""The operator's commands `verify` and `export`: what they print, and how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from trust_ledger.history import OTHER_CUSTOMER
from trust_ledger.tampering import Forger

from nodus_ledger.admin.program import main


@pytest.fixture(autouse=True)
def no_database_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing from the developer's own environment."""
    monkeypatch.delenv("NODUS_DATABASE_URL", raising=False)


def test_a_sound_ledger_verifies(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 0, and a line for each log."""
    status = main(["verify", "--db", f"sqlite:///{recorded}"])
    printed = capsys.readouterr().out

    assert status == 0
    assert "the ledger is sound" in printed
    assert f"{OTHER_CUSTOMER}: " in printed


def test_a_forged_ledger_does_not(forger: Forger, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 1, and a line that names log, row and fault."""
    forger.write("UPDATE ledger SET kind = 'job.settlec' WHERE customer_id = 'playground' AND seq = 12")
    status = main(["verify", "--db", f"sqlite:///{forger.path}"])
    printed = capsys.readouterr().out

    assert status == 1
    assert "FAULT playground row 12: its kind is not what its leaf says\n" in printed
    assert "sound" not in printed


def test_json_says_the_same(forger: Forger, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--json`, the report is one JSON object."""
    forger.write("UPDATE ledger SET kind = CAST(x'ff' AS TEXT) WHERE customer_id = 'playground' AND seq = 12")
    status = main(["verify", "--json", "--db", f"sqlite:///{forger.path}"])
    document = json.loads(capsys.readouterr().out)

    assert status == 1
    assert document["ok"] is False
    assert document["faults"][0] == {
        "customer_id": "playground",
        "seq": 12,
        "fault": "its kind is not what its leaf says",
    }


@pytest.mark.parametrize("command", ["verify", "export"])
def test_without_a_database_both_ways_of_naming_one_are_told(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 3; a database that is not there is not made."""
    missing = tmp_path / "none.db"
    statuses = [main([command]), main([command, "--db", f"sqlite:///{missing}"]), main([command, "--db", "nonsense"])]
    errors = capsys.readouterr().err.splitlines()

    assert statuses == [3, 3, 3]
    assert "--db" in errors[0]
    assert "NODUS_DATABASE_URL" in errors[0]
    assert not missing.exists()


def test_the_database_may_come_from_the_environment(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The variable is that of every other command."""
    monkeypatch.setenv("NODUS_DATABASE_URL", f"sqlite:///{recorded}")

    assert main(["verify"]) == 0
    assert capsys.readouterr().out


def test_an_export_has_every_row_in_order(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A JSON object a line, from the seq that was asked for on."""
    url = f"sqlite:///{recorded}"
    assert main(["export", "--db", url, "--customer-id", "playground"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main(["export", "--db", url, "--customer-id", "playground", "--after", "400"]) == 0
    later = capsys.readouterr().out.splitlines()

    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert [json.loads(line) for line in later] == rows[400:]
    assert set(rows[0]) == {
        "seq",
        "at",
        "kind",
        "job_id",
        "key_id",
        "principal_kind",
        "payload",
        "prev_hash",
        "leaf",
        "leaf_hash",
    }


def test_of_several_logs_one_must_be_named(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An export is of one customer."""
    status = main(["export", "--db", f"sqlite:///{recorded}"])

    assert status == 3
    assert "--customer-id" in capsys.readouterr().err


def test_a_customer_without_a_log_is_told(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that was mistyped is no empty export."""
    status = main(["export", "--db", f"sqlite:///{recorded}", "--customer-id", "plaground"])
    printed = capsys.readouterr()

    assert (status, printed.out) == (4, "")
    assert "plaground" in printed.err


def test_who_reads_may_stop_reading(recorded: Path) -> None:
    """As in `… export | head -1`: no traceback, whatever was still to be written."""
    export = [sys.executable, "-m", "nodus_ledger.admin", "export", "--customer-id", "playground"]
    with subprocess.Popen(
        [*export, "--db", f"sqlite:///{recorded}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        first = running.stdout.readline()
        running.stdout.close()
        complaints = running.stderr.read()

    assert json.loads(first)["seq"] == 1
    assert (running.returncode, complaints) == (0, b"")


def test_it_runs_as_a_module(recorded: Path) -> None:
    """`python -m nodus_ledger.admin`, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "nodus_ledger.admin", "verify", "--json", "--db", f"sqlite:///{recorded}"],
        capture_output=True,
        check=True,
        text=True,
    )

    assert json.loads(done.stdout)["ok"] is True
