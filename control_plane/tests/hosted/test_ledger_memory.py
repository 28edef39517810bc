"""A machine remembers the ledgers that it saw, and notices when a database has gone back."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosted.processes import Hosted
from supplier_files import SIMULATIONS

from nodus_control.control_plane import ControlPlane
from nodus_control.serving.rollback_check import LedgerMemory, RolledBack, summary
from nodus_ledger.database.database import Database
from nodus_ledger.trust.log import OPERATOR, Entry, append_all
from nodus_ledger.trust.sizes import ROLLBACK_ACCEPTED, LedgerSizes, Seen, WentBack
from nodus_ledger.verification.verify import verify

OPTIONS = [*SIMULATIONS, "--port", "0"]


def grow(database: Database, customer_id: str, count: int, *, kind: str = "test.happened") -> None:
    """Append rows to a log."""
    with database.write() as connection:
        append_all(connection, [Entry(customer_id, kind, number, {}) for number in range(count)])


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database in a file, with two logs."""
    opened = Database(f"sqlite:///{tmp_path / 'nodus.db'}")
    grow(opened, "acme", 300)
    grow(opened, "globex", 3)
    yield opened
    opened.close()


@pytest.fixture
def memory(database: Database, tmp_path: Path) -> LedgerMemory:
    """What this machine remembers of it."""
    return LedgerMemory(tmp_path / "state" / "one.json", LedgerSizes(database))


def another(tmp_path: Path, *grown: tuple[str, int, str]) -> LedgerSizes:
    """Make another history under the same memory: as after a restore."""
    database = Database(f"sqlite:///{tmp_path / 'other.db'}")
    for customer_id, count, kind in grown:
        grow(database, customer_id, count, kind=kind)
    return LedgerSizes(database)


def test_what_only_grew_is_whole(database: Database, memory: LedgerMemory) -> None:
    """From nothing, after a restart, and with new customers."""
    first = memory.require_whole()
    grow(database, "acme", 500)
    grow(database, "initech", 1)
    second = memory.require_whole()

    assert {customer_id: seen.size for customer_id, seen in first.items()} == {"acme": 300, "globex": 3}
    assert {customer_id: seen.size for customer_id, seen in second.items()} == {"acme": 800, "globex": 3, "initech": 1}


@pytest.mark.parametrize(
    ("grown", "said"),
    [
        ([("acme", 299, "test.happened"), ("globex", 3, "test.happened")], "acme went back from 300 to 299 rows"),
        ([("acme", 300, "test.happened")], "globex went back from 3 to 0 rows"),
        (
            [("acme", 300, "test.happened"), ("globex", 2, "test.happened"), ("globex", 9, "other")],
            "globex has other rows than before among its first 3",
        ),
        (
            [("acme", 299, "test.happened"), ("acme", 1, "other"), ("globex", 3, "test.happened")],
            "acme has other rows than before among its first 300",
        ),
    ],
)
def test_what_went_back_is_named(
    memory: LedgerMemory, tmp_path: Path, grown: list[tuple[str, int, str]], said: str
) -> None:
    """Shorter, gone, or grown again past where it was with other rows; and it is named again until it is accepted."""
    memory.require_whole()
    restored = LedgerMemory(tmp_path / "state" / "one.json", another(tmp_path, *grown))

    for _ in range(2):
        with pytest.raises(RolledBack, match=f"the ledger of {said}.*--accept-rollback"):
            restored.require_whole()


def test_what_an_operator_accepts_is_recorded_and_asked_no_more(memory: LedgerMemory, tmp_path: Path) -> None:
    """In the operator's own log, which is remembered from then on."""
    memory.require_whole()
    ledgers = another(tmp_path, ("acme", 2, "test.happened"), ("globex", 3, "test.happened"))
    restored = LedgerMemory(tmp_path / "state" / "one.json", ledgers)
    accepted = restored.require_whole(accept_at=1_000)
    again = restored.require_whole(accept_at=2_000)
    with ledgers._database.read() as connection:
        rows = connection.exec_driver_sql("SELECT kind, leaf FROM ledger WHERE customer_id = ?", (OPERATOR,)).all()

    assert accepted == again
    assert [row[0] for row in rows] == [ROLLBACK_ACCEPTED]
    assert json.loads(rows[0][1])["payload"] == {
        "count": 1,
        "ledgers": [{"origin": "nodus.run/ledger/acme", "seen_size": 300, "present_size": 2}],
    }
    assert verify(ledgers._database).is_sound


def test_a_database_that_goes_back_under_a_running_server_is_not_forgotten(
    database: Database, memory: LedgerMemory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and the memory stays what it was: the next start refuses."""
    memory.start()
    memory.stop()
    restored = LedgerMemory(tmp_path / "state" / "one.json", another(tmp_path, ("acme", 5, "test.happened")))
    with caplog.at_level(logging.WARNING):
        restored.start()
        restored.stop()

    assert "the ledger of acme went back from 300 to 5 rows" in caplog.text
    with pytest.raises(RolledBack):
        restored.require_whole()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"ledgers": {"acme": 3}}', '{"ledgers": {"acme": ["x", "y"]}}'])
def test_a_memory_that_cannot_be_read_is_said_and_replaced(
    memory: LedgerMemory, tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It keeps nobody from starting."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "one.json").write_text(content)
    memory.require_whole()

    assert "cannot be read" in caplog.text
    assert (tmp_path / "state" / "one.json").stat().st_mode & 0o077 == 0
    assert json.loads((tmp_path / "state" / "one.json").read_text())["ledgers"]["acme"][0] == 300


def test_sizes_are_said_in_a_line() -> None:
    """The largest first, however many there are."""
    many = {f"customer {number:02}": Seen(number, b"") for number in range(1, 21)}

    assert summary({}) == "ledgers: none yet"
    assert summary({"acme": Seen(22, b""), "globex": Seen(30, b"")}) == "ledgers: globex 30, acme 22; 52 rows in all"
    assert summary(many).endswith("customer 13 13, and 12 more; 210 rows in all")


def test_not_all_of_many_are_named() -> None:
    """A message is to be read."""
    said = str(RolledBack([WentBack(f"customer {number}", 9, 1) for number in range(30)]))

    assert said.count("went back") == 8
    assert "and 22 more" in said


def test_serve_warns_of_a_restored_backup_at_every_start_until_it_is_accepted(tmp_path: Path) -> None:
    """In a line that says what is forgotten, once for all the processes that answer."""
    path = tmp_path / "nodus.db"
    control_plane = ControlPlane(f"sqlite:///{path}", seed=None, is_alone=False)
    grow(control_plane.database, "acme", 2)
    control_plane.close()
    shutil.copy(path, tmp_path / "backup.db")
    database = Database(f"sqlite:///{path}")
    grow(database, "acme", 20)
    database.close()
    with Hosted(f"sqlite:///{path}", tmp_path) as hosted:
        hosted.serve()
        assert "ledgers: acme 22; 22 rows in all" in hosted.output()
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", path)
    outputs: list[str] = []
    for options in ([], ["--workers", "2"], ["--accept-rollback", "--workers", "2"], []):
        folder = tmp_path / str(len(outputs))
        folder.mkdir()
        with Hosted(f"sqlite:///{path}", folder, state=tmp_path) as hosted:
            hosted.serve(*options)
            hosted.stop()
            outputs.append(hosted.output())

    warning = "WARNING: the ledger of acme went back from 22 to 2 rows"
    assert [output.count(warning) for output in outputs] == [1, 1, 0, 0]
