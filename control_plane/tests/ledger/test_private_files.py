"""What a control plane keeps on disk is its user's alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodus_control.testing import LocalControlPlane
from nodus_ledger.database.database import Database, UnusableDatabase
from nodus_ledger.database.private_files import keep_private

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no modes of files")


@pytest.fixture(params=[0o022, 0o000, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """A umask that takes away the usual, nothing, or everything."""
    previous = os.umask(request.param)
    yield
    os.umask(previous)


def modes(folder: Path) -> dict[str, str]:
    """Return the mode of each file."""
    return {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in sorted(folder.iterdir()) if path.is_file()}


def test_new_files_are_private_whatever_the_umask(tmp_path: Path, umask: None) -> None:
    """The database, its log and its shared memory, and the key file."""
    with LocalControlPlane(database=tmp_path / "nodus.db", serve=False) as control_plane:
        control_plane.advance(0)
        while_open = modes(tmp_path)

    assert while_open == dict.fromkeys(("nodus.db", "nodus.db-shm", "nodus.db-wal", "nodus.db.key"), "0o600")


def test_files_from_before_are_made_private(tmp_path: Path) -> None:
    """At the next start, those beside the database too."""
    with LocalControlPlane(database=tmp_path / "nodus.db", serve=False):
        for path in tmp_path.iterdir():
            path.chmod(0o644)
        with LocalControlPlane(database=tmp_path / "nodus.db", serve=False):
            found = modes(tmp_path)

    assert len(found) == 4
    assert set(found.values()) == {"0o600"}


def test_a_database_behind_a_link_is_private_too(tmp_path: Path) -> None:
    """Although the link leads to a file that is not there yet."""
    (tmp_path / "link.db").symlink_to(tmp_path / "file.db")
    Database(f"sqlite:///{tmp_path / 'link.db'}").close()

    assert modes(tmp_path)["file.db"] == "0o600"


def test_another_users_file_is_left_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it is shared for is not for us to say."""
    file = tmp_path / "nodus.db"
    file.touch(0o664)
    file.chmod(0o664)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    keep_private(file)

    assert modes(tmp_path) == {"nodus.db": "0o664"}
    assert "nodus.db may be open to other users of this machine" in caplog.text
    assert "belongs to another user" in caplog.text


def test_where_no_file_can_be_made_the_database_says_so(tmp_path: Path) -> None:
    """In its own words, as before."""
    with pytest.raises(UnusableDatabase, match="unable to open database file"):
        Database(f"sqlite:///{tmp_path}/missing/nodus.db")


def test_a_database_is_named_by_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by a URI, whose file would be made elsewhere, with any mode."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnusableDatabase, match="named by the path"):
        Database("sqlite:///file:nodus.db?uri=true")

    assert list(tmp_path.iterdir()) == []
