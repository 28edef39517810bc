"""The operator's commands for keys: what they print, what they change, and how they end."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane
from nodus_ledger.admin.program import main
from nodus_ledger.database.database import UnusableDatabase
from nodus_ledger.database.sealing import KEY_VARIABLE
from nodus_ledger.keys.customers import stripe_customer_of
from nodus_ledger.keys.keys import KeyRecord, new_api_key
from nodus_ledger.verification.verify import verify

MINT = ["mint", "--customer-id", "acme", "--kind", "agent", "--label", "planner-prod"]
DAY_MS = 86_400_000

Run = Callable[..., str]


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for a database, named in the environment; nothing else from the developer's own."""
    path = tmp_path / "nodus.db"
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.delenv("NODUS_REDIS_URL", raising=False)
    monkeypatch.setenv("NODUS_DATABASE_URL", f"sqlite:///{path}")
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command that must succeed, and gives what it prints."""

    def run(*arguments: str) -> str:
        assert main(arguments) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return run


def mint(run: Run, *options: str) -> dict[str, Any]:
    """Mint a key."""
    minted: dict[str, Any] = json.loads(run(*MINT, "--json", *options))
    return minted


@contextmanager
def opened(database: Path) -> Iterator[ControlPlane]:
    """The control plane of the database."""
    control_plane = ControlPlane(f"sqlite:///{database}", is_alone=False)
    try:
        yield control_plane
    finally:
        control_plane.close()


def find(database: Path, api_key: str) -> KeyRecord | None:
    """The key that a caller would present."""
    with opened(database) as control_plane:
        return control_plane.keys.find(api_key)


def test_minting_prints_what_the_manual_shows(run: Run) -> None:
    """The same labels in the same columns, in the same order."""
    lines = run(*MINT, "--monthly-cap-usd", "2500", "--signing-required").splitlines()

    assert len(lines) == 5
    assert re.fullmatch(r"api_key         nk_live_[A-Za-z0-9]{43}", lines[0])
    assert re.fullmatch(r"signing_secret  sgn_[0-9a-f]{64}     # shown once, never again", lines[1])
    assert re.fullmatch(r"key_id          [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", lines[2])
    assert lines[3:] == ["principal_kind  agent", "monthly_cap     $2500.00"]


def test_what_was_minted_opens_the_control_plane(run: Run, database: Path) -> None:
    """With everything that was said of it."""
    minted = mint(run, "--monthly-cap-usd", "0.5", "--threshold", "0.25", "--signing-required")
    with opened(database) as control_plane:
        key = control_plane.keys.find(minted["api_key"])
        assert key is not None
        secrets = control_plane.keys.signing_secrets(key, 0).secrets

    assert (key.id, key.customer_id, key.label, key.principal_kind) == (
        minted["key_id"],
        "acme",
        "planner-prod",
        "agent",
    )
    assert (key.monthly_cap, key.threshold, key.is_test, key.signing_required) == (500_000, 0.25, False, True)
    assert secrets == [minted["signing_secret"]]


def test_a_key_that_need_not_sign_has_no_secret(run: Run) -> None:
    """Nor a line for one."""
    printed = run(*MINT)
    minted = mint(run, "--test")

    assert [line.split()[0] for line in printed.splitlines()] == ["api_key", "key_id", "principal_kind", "monthly_cap"]
    assert printed.endswith("monthly_cap     none\n")
    assert minted["signing_secret"] is None
    assert minted["api_key"].startswith("nk_test_")


@pytest.mark.parametrize(
    ("amount", "shown"), [("0", "$0.00"), ("12.5", "$12.50"), ("0.000001", "$0.000001"), ("1e3", "$1000.00")]
)
def test_a_cap_is_exact(run: Run, amount: str, shown: str) -> None:
    """To the micro-dollar."""
    assert run(*MINT, "--monthly-cap-usd", amount).splitlines()[-1] == f"monthly_cap     {shown}"


@pytest.mark.parametrize(
    "wrong",
    [
        ["mint"],
        [*MINT, "--kind", "robot"],
        [*MINT, "--customer-id", ""],
        [*MINT, "--label", "a\nb"],
        *([*MINT, f"--monthly-cap-usd={amount}"] for amount in ("-1", "nan", "inf", "x", "0.0000001", "1e12", "")),
        *([*MINT, f"--threshold={fraction}"] for fraction in ("0", "1.01", "-0.5", "nan", "x", "1e-9")),
        ["set-cap", "id"],
        ["set-cap", "id", "--monthly-cap-usd", "lots"],
        ["revoke"],
        ["shred"],
        [],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_a_usage_error(
    wrong: list[str], database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, before anything is opened."""
    with pytest.raises(SystemExit) as caught:
        main(wrong)

    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err
    assert not database.exists()


@pytest.mark.parametrize(
    "command",
    [MINT, ["list"], ["revoke", "id"], ["rotate", "id"], ["set-cap", "id", "--monthly-cap-usd", "1"], ["verify"]],
    ids=lambda command: command[0],
)
def test_without_a_database_both_ways_of_naming_one_are_told(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 3 and one line; one in memory would be gone with the command."""
    monkeypatch.delenv("NODUS_DATABASE_URL")
    statuses = [main(command), main([*command, "--db", "sqlite://"]), main([*command, "--db", "nonsense"])]
    errors = capsys.readouterr().err.splitlines()

    assert statuses == [3, 3, 3]
    assert len(errors) == 3
    assert "--db" in errors[0]
    assert "NODUS_DATABASE_URL" in errors[0]


@pytest.mark.parametrize("command", ["list", "revoke id", "rotate id", "set-cap id --monthly-cap-usd 1"])
def test_only_minting_makes_a_database(
    command: str, database: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is looked for in one must be there."""
    assert main(command.split()) == 3
    assert str(database) in capsys.readouterr().err
    assert not database.exists()

    mint(run)
    assert database.exists()


@pytest.mark.parametrize("command", ["revoke", "rotate", "set-cap --monthly-cap-usd 1"])
def test_an_unknown_key_is_told(command: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 4 and one line, which names it."""
    mint(run)
    name, *options = command.split()

    assert main([name, "no-such-id", *options]) == 4
    assert capsys.readouterr().err == "error: there is no live key no-such-id; `list` shows the keys\n"


def test_a_revoked_key_opens_nothing_any_more(run: Run, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even in a control plane that runs; saying so twice does no harm, and nothing else can be done to it."""
    minted = mint(run, "--signing-required")
    with opened(database) as control_plane:
        before = control_plane.keys.find(minted["api_key"])
        first = run("revoke", minted["key_id"])
        after = control_plane.keys.find(minted["api_key"])
    again = json.loads(run("revoke", minted["key_id"], "--json"))

    assert before is not None
    assert after is None
    assert first == f"key_id          {minted['key_id']}\nstate           revoked\n"
    assert again == {"key_id": minted["key_id"], "revoked": True, "was_revoked": True}
    assert main(["rotate", minted["key_id"]]) == 4
    assert main(["set-cap", minted["key_id"], "--monthly-cap-usd", "none"]) == 4
    assert "no live key" in capsys.readouterr().err


def test_after_rotating_the_old_secret_verifies_for_a_day(run: Run, database: Path) -> None:
    """Of real time; the one before the last no longer."""
    minted = mint(run, "--signing-required")
    printed = run("rotate", minted["key_id"])
    key = find(database, minted["api_key"])
    assert key is not None
    until = key.previous_signing_secret_until
    assert until is not None
    with opened(database) as control_plane:
        now, last, over = (control_plane.keys.signing_secrets(key, at).secrets for at in (0, until - 1, until))
    second = json.loads(run("rotate", minted["key_id"], "--json"))
    rotated_again = find(database, minted["api_key"])
    assert rotated_again is not None
    with opened(database) as control_plane:
        both = control_plane.keys.signing_secrets(rotated_again, until).secrets

    found = re.search(r"^signing_secret  (sgn_[0-9a-f]{64})     # shown once, never again$", printed, re.MULTILINE)
    assert found is not None
    assert now == last == [found.group(1), minted["signing_secret"]]
    assert over == [found.group(1)]
    assert both == [second["signing_secret"], found.group(1)]


def test_a_rotated_secret_is_good_for_a_day_from_now(run: Run, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty-four hours."""
    minted = mint(run, "--signing-required")
    monkeypatch.setattr("nodus_ledger.admin.opening.time.time", lambda: 1_800_000_000.0)
    rotated = json.loads(run("rotate", minted["key_id"], "--json"))
    control_plane = ControlPlane(f"sqlite:///{database}", clock=ManualClock())
    key = control_plane.keys.find(minted["api_key"])
    control_plane.close()

    assert key is not None
    assert key.previous_signing_secret_until == 1_800_000_000_000 + DAY_MS
    assert rotated["old_secret_until"] == "2027-01-16T08:00:00.000Z"


def test_a_key_without_a_secret_has_none_to_rotate(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, and what to do instead."""
    minted = mint(run)

    assert main(["rotate", minted["key_id"]]) == 2
    assert "--signing-required" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "micros", "shown"), [("30", 30_000_000, "$30.00"), ("none", None, "none")])
def test_a_cap_can_be_changed(run: Run, database: Path, given: str, micros: int | None, shown: str) -> None:
    """To another, or to none at all."""
    minted = mint(run, "--monthly-cap-usd", "25")
    printed = run("set-cap", minted["key_id"], "--monthly-cap-usd", given)
    key = find(database, minted["api_key"])

    assert printed == f"key_id          {minted['key_id']}\nmonthly_cap     {shown}\n"
    assert key is not None
    assert key.monthly_cap == micros


def test_the_list_has_every_key_and_no_secret(run: Run) -> None:
    """A line or an object each, revoked ones too; of one customer where that is asked."""
    first = mint(run, "--signing-required", "--monthly-cap-usd", "25")
    second = mint(run, "--customer-id", "other", "--test")
    run("revoke", second["key_id"])
    printed = run("list")
    keys = json.loads(run("list", "--json"))["keys"]
    others = json.loads(run("list", "--json", "--customer-id", "other"))["keys"]

    assert [line.split()[0] for line in printed.splitlines()] == ["key_id", first["key_id"], second["key_id"]]
    assert [key["key_id"] for key in keys] == [first["key_id"], second["key_id"]]
    assert [key["key_id"] for key in others] == [second["key_id"]]
    assert (keys[0]["monthly_cap_usd"], keys[0]["month_to_date_usd"], keys[0]["revoked_at"]) == (25.0, 0.0, None)
    assert keys[1]["revoked_at"] is not None
    for secret in (first["api_key"], first["signing_secret"], second["api_key"]):
        assert secret not in printed + json.dumps(keys)


def test_everything_that_is_done_to_a_key_is_in_the_ledger(run: Run, database: Path) -> None:
    """With its principal's kind; and the ledger is sound."""
    minted = mint(run, "--signing-required", "--threshold", "0.5")
    run("rotate", minted["key_id"])
    run("set-cap", minted["key_id"], "--monthly-cap-usd", "30")
    run("set-cap", minted["key_id"], "--monthly-cap-usd", "30")
    run("revoke", minted["key_id"])
    run("revoke", minted["key_id"])
    rows = [json.loads(line) for line in run("export").splitlines()]
    run("verify")

    assert [row["kind"] for row in rows] == ["key.minted", "key.rotated", "key.cap_set", "key.revoked"]
    assert {row["key_id"] for row in rows} == {minted["key_id"]}
    assert {row["principal_kind"] for row in rows} == {"agent"}
    assert rows[0]["payload"]["threshold"] == "0.5"
    assert rows[2]["payload"] == {"monthly_cap_micros": 30_000_000, "previous_monthly_cap_micros": None}


def test_a_database_of_another_sealing_key_is_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 3: what it seals could never be opened."""
    mint(run)
    monkeypatch.setenv(KEY_VARIABLE, "00" * 32)

    assert main(MINT) == 3
    assert KEY_VARIABLE in capsys.readouterr().err


def test_a_key_file_that_is_lost_is_not_made_anew(run: Run, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another one would open nothing, and stand where the right one belongs."""
    mint(run)
    key_file = database.with_name("nodus.db.key")
    kept = key_file.rename(database.with_name("elsewhere"))
    status = main(MINT)
    complaint = capsys.readouterr().err

    assert status == 3
    assert "the key file nodus.db.key is missing" in complaint
    assert not key_file.exists()
    kept.rename(key_file)
    mint(run)


@pytest.mark.parametrize("options", [["--json"], []], ids=["json", "text"])
def test_names_that_a_terminal_cannot_show_cost_no_secret(options: list[str]) -> None:
    """They are written in another way; a program still reads them as they are."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    admin = [sys.executable, "-m", "nodus_ledger.admin"]
    mint_it = [*admin, "mint", "--customer-id", "acmé", "--kind", "human", "--label", "\u2603", *options]
    minted = subprocess.run(mint_it, env=environment, capture_output=True, check=True, text=True).stdout
    listed = subprocess.run([*admin, "list", *options], env=environment, capture_output=True, check=True).stdout

    assert "nk_live_" in minted
    if options:
        assert [key["label"] for key in json.loads(listed)["keys"]] == ["\u2603"]
    else:
        assert rb"acm\xe9" in listed


def test_keys_and_secrets_are_new_every_time(run: Run) -> None:
    """Nobody can tell one from another."""
    minted = [mint(run, "--signing-required") for _ in range(5)]

    assert len({one["api_key"] for one in minted} | {new_api_key() for _ in range(5)}) == 10
    assert len({one["signing_secret"] for one in minted}) == 5


@pytest.mark.both_engines
def test_the_commands_work_on_either_engine(run: Run, kept_database_url: str) -> None:
    """From the first key to its end."""
    place = ["--db", kept_database_url]
    minted = json.loads(run(*MINT, "--signing-required", "--monthly-cap-usd", "25", "--json", *place))
    rotated = json.loads(run("rotate", minted["key_id"], "--json", *place))
    run("set-cap", minted["key_id"], "--monthly-cap-usd", "none", *place)
    control_plane = ControlPlane(kept_database_url, is_alone=False)
    key = control_plane.keys.find(minted["api_key"])
    assert key is not None
    secrets = control_plane.keys.signing_secrets(key, 0).secrets
    run("revoke", minted["key_id"], *place)
    after = control_plane.keys.find(minted["api_key"])
    control_plane.close()
    [listed] = json.loads(run("list", "--json", *place))["keys"]

    assert secrets == [rotated["signing_secret"], minted["signing_secret"]]
    assert key.monthly_cap is None
    assert after is None
    assert listed["revoked_at"] is not None
    assert "the ledger is sound" in run("verify", *place)


def test_postgresql_without_a_sealing_key_is_refused(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 3, and the variable is named."""
    assert main([*MINT, "--db", postgres_url]) == 3
    assert KEY_VARIABLE in capsys.readouterr().err


def test_a_database_that_cannot_be_written_is_told_in_a_line(
    run: Run, database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 3, without a traceback; another program holds its lock here."""
    minted = mint(run)
    monkeypatch.setattr("nodus_ledger.database.dialects.LOCK_SECONDS", 0)
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    status = main(["revoke", minted["key_id"]])
    holder.close()

    assert status == 3
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "locked" in line


def test_a_control_plane_says_in_a_line_that_its_database_takes_nothing(database: Path, run: Run) -> None:
    """Not only when it is opened: a file may be readable, and a look at it succeed."""
    run(*MINT)
    connection = sqlite3.connect(database)
    connection.execute("DELETE FROM settings")
    connection.execute("CREATE TRIGGER full BEFORE INSERT ON settings BEGIN SELECT RAISE(ABORT, 'no room'); END")
    connection.commit()
    connection.close()

    with pytest.raises(UnusableDatabase, match="cannot use the database: no room"):
        ControlPlane(f"sqlite:///{database}")


def test_a_customer_is_named_to_stripe_once_and_corrected_by_its_own_command(
    run: Run, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second mint with another value makes no key; the operator's ledger has both."""
    minted = mint(run, "--stripe-customer", "cus_1")
    mint(run, "--stripe-customer", "cus_1")
    assert main([*MINT, "--stripe-customer", "cus_2"]) == 2
    assert "set-stripe-customer" in capsys.readouterr().err
    count = len(json.loads(run("list", "--json"))["keys"])
    corrected = json.loads(run("set-stripe-customer", minted["customer_id"], "cus_2", "--json"))
    with opened(database) as control_plane:
        present = stripe_customer_of(control_plane.database, minted["customer_id"])
        report = verify(control_plane.database)

    assert minted["stripe_customer"] == "cus_1"
    assert count == 2
    assert corrected == {"customer_id": minted["customer_id"], "stripe_customer": "cus_2", "previous": "cus_1"}
    assert present == "cus_2"
    assert report.is_sound
    assert report.roots["_operator"][0] == 2


@pytest.mark.parametrize("text", ["acme", "cus_", "cus_a b"])
def test_what_is_no_customer_of_stripe_is_a_usage_error(
    database: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """Before anything is opened or written."""
    with pytest.raises(SystemExit) as ended:
        main([*MINT, "--stripe-customer", text])

    assert ended.value.code == 2
    assert "such as cus_" in capsys.readouterr().err
