"""A control plane with a history, and copies of its database that tests may spoil."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from trust_ledger.history import make_history
from trust_ledger.tampering import Forger

from nodus_control.testing import LocalControlPlane


@pytest.fixture
def control_plane(database_url: str) -> Iterator[LocalControlPlane]:
    """A control plane in memory, whose clock stands, without a socket."""
    with LocalControlPlane(database=database_url, serve=False) as started:
        yield started


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the logs of two customers; nobody changes it."""
    path = tmp_path_factory.mktemp("recorded") / "nodus.db"
    make_history(path)
    return path


@pytest.fixture
def forger(recorded: Path, tmp_path: Path) -> Forger:
    """One who writes to the file of a copy, below the triggers."""
    return Forger(recorded, tmp_path / "forged.db")
