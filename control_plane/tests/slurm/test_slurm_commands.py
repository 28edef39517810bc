"""What is put into an attempt's folder is there whole, or nothing counts as prepared."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from patience import PATIENCE_SECONDS
from slurm.conftest import Gate

from nodus_control.suppliers.protocol import EngineUnavailable
from nodus_control.suppliers.slurm.commands import Cluster
from nodus_control.suppliers.slurm.script import batch_script, secret_text
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


@pytest.mark.parametrize("record", ["script", "attempt"])
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


def test_a_secret_that_cannot_be_put_there_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without hard links, say."""
    stand_in = tmp_path / "ln"
    stand_in.write_text("#!/bin/sh\nexit 1\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(EngineUnavailable, match="a command failed"):
        prepare(Cluster(ShellTransport(None), str(tmp_path / "shared")), "secret")


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_a_starter_that_comes_late_leaves_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_forgotten: bool
) -> None:
    """The script of the first one had read and emptied it while the second was on its way."""
    secret = "a-password-that-nobody-sees"
    cluster = Cluster(ShellTransport(None), str(tmp_path / "shared"))
    folder = Path(cluster.folder_of(NAME))
    script = batch_script(folder=str(folder), limit_seconds=600, gpu_count=0)

    def start() -> None:
        cluster.prepare(NAME, incarnation="1", script=script, secret=secret_text(["true"], {"PASSWORD": secret}))

    start()
    gate = Gate(tmp_path / "gate")
    monkeypatch.setenv("PATH", gate.path)
    gate.hold("wc")
    late = threading.Thread(target=start)
    late.start()
    gate.await_somebody()
    subprocess.run(["sh", folder / "script"], env={"PATH": os.defpath}, check=True, timeout=PATIENCE_SECONDS)
    if is_forgotten:
        cluster.forget(NAME)
    gate.open()
    late.join()

    assert (folder / "ended").read_text().startswith("exited 0 ")
    assert [path.name for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("size", [0, 3])
def test_a_secret_that_was_cut_off_replaces_none(tmp_path: Path, size: int) -> None:
    """The whole one of an earlier call stays, and of the other one nothing is left."""
    folder = prepare(Cluster(ShellTransport(None), str(tmp_path)), "the secret")
    with pytest.raises(EngineUnavailable, match="a command failed"):
        prepare(Cluster(CutOff(size), str(tmp_path)), "the secret")

    assert (folder / "secret").read_text() == "the secret"
    assert sorted(path.name for path in folder.iterdir()) == ["attempt", "script", "secret", "work"]


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for a controller, which says which cluster it is."""
    folder = tmp_path / "programs"
    folder.mkdir()
    stand_in = folder / "scontrol"
    stand_in.write_text("#!/bin/sh\necho 'ClusterName = here'\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize("is_another", [False, True])
def test_nothing_is_taken_back_where_the_file_system_is_not_mounted(tmp_path: Path, is_another: bool) -> None:
    """The attempt may run, or have ended, by records that are only out of sight; who it is, is asked after a doubt."""
    shared, apart = tmp_path / "shared", tmp_path / "apart"
    cluster = Cluster(ShellTransport(None), str(shared))
    identity = cluster.identity()
    prepare(cluster, "secret")
    shared.rename(apart)
    shared.mkdir()
    if is_another:
        Cluster(ShellTransport(None), str(shared)).withdraw("nodus-db-other-1")
    before = sorted(shared.rglob("*"))
    for call in (
        lambda: prepare(cluster, "secret"),
        lambda: cluster.withdraw(NAME),
        lambda: cluster.cancel(NAME),
        lambda: cluster.forget(NAME),
        lambda: cluster.look([NAME]),
        cluster.list_attempts,
    ):
        for asked in (call, cluster.identity, call):
            with pytest.raises(EngineUnavailable, match="is that mounted"):
                asked()
    assert sorted(shared.rglob("*")) == before
    shared.rename(tmp_path / "other")
    apart.rename(shared)

    assert cluster.identity() == identity
    cluster.withdraw(NAME)
    assert cluster.look([NAME])[NAME].withdrawn_at is not None


@pytest.mark.usefixtures("controller")
def test_a_folder_in_which_nothing_was_asked_is_no_hindrance_to_the_right_one(tmp_path: Path) -> None:
    """A worker that was started before the file system was mounted says who it is then, and later who it is really."""
    shared, apart = tmp_path / "shared", tmp_path / "apart"
    identity = Cluster(ShellTransport(None), str(shared)).identity()
    shared.rename(apart)
    early = Cluster(ShellTransport(None), str(shared))
    assert early.identity() != identity
    shared.rename(tmp_path / "other")
    with pytest.raises(EngineUnavailable, match="is that mounted"):
        early.identity()
    assert not shared.exists()
    apart.rename(shared)

    assert early.identity() == identity
    early.withdraw(NAME)
