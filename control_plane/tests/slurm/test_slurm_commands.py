"""What is put into an attempt's folder is there whole, or nothing counts as prepared."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from nodus_control.suppliers.protocol import EngineUnavailable
from nodus_control.suppliers.slurm.commands import Cluster
from nodus_control.suppliers.slurm.transport import Outcome, ShellTransport

NAME = "nodus-db-job-1"


class CutOff:
    """A connection that breaks off after some bytes of its input."""

    def __init__(self, size: int) -> None:
        self._size = size

    def run(self, script: str, arguments: Sequence[str], *, seconds: float, given: bytes = b"") -> Outcome:
        return ShellTransport(None).run(script, arguments, seconds=seconds, given=given[: self._size])


def prepare(cluster: Cluster, secret: str) -> Path:
    """Prepare an attempt, and return its folder."""
    cluster.prepare(NAME, incarnation="1", script="the script", secret=secret)
    return Path(cluster.folder_of(NAME))


def test_everything_is_there_that_the_script_needs(tmp_path: Path) -> None:
    """And nothing else; the secret is measured in bytes."""
    folder = prepare(Cluster(ShellTransport(None), str(tmp_path)), "schlüssel")

    assert (folder / "secret").read_text(encoding="utf-8") == "schlüssel"
    assert (folder / "script").read_text() == "the script"
    assert sorted(path.name for path in folder.iterdir()) == ["attempt", "script", "secret", "work"]


@pytest.mark.parametrize("record", ["secret", "script", "attempt"])
def test_what_cannot_be_put_there_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: str) -> None:
    """Whichever of them it is."""
    stand_in = tmp_path / "mv"
    stand_in.write_text(
        f'#!/bin/sh\nfor last in "$@"; do :; done\n[ "$last" = {record} ] && exit 1\nPATH={os.defpath}\nexec mv "$@"\n'
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(EngineUnavailable, match="a command failed"):
        prepare(Cluster(ShellTransport(None), str(tmp_path / "shared")), "secret")


@pytest.mark.parametrize("size", [0, 3])
def test_a_secret_that_was_cut_off_replaces_none(tmp_path: Path, size: int) -> None:
    """The whole one of an earlier call stays, and of the other one nothing is left."""
    folder = prepare(Cluster(ShellTransport(None), str(tmp_path)), "the secret")
    with pytest.raises(EngineUnavailable, match="a command failed"):
        prepare(Cluster(CutOff(size), str(tmp_path)), "the secret")

    assert (folder / "secret").read_text() == "the secret"
    assert sorted(path.name for path in folder.iterdir()) == ["attempt", "script", "secret", "work"]
