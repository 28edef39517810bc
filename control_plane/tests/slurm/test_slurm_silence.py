"""A script that is not heard of is given up in time, however short the lives of those who wait for it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from patience import PATIENCE_SECONDS
from slurm.cluster_jobs import DATABASE, IMAGE, Whose

from nodus_control.suppliers.protocol import EngineUnavailable, Placement, PlacementState, Workload
from nodus_control.suppliers.slurm.commands import Cluster
from nodus_control.suppliers.slurm.driver import SlurmDriver
from nodus_control.suppliers.slurm.names import name_of
from nodus_control.suppliers.slurm.transport import ShellTransport
from nodus_core.suppliers_file import SlurmOptions

PLACEMENT = Placement("job", 1, "cluster", "here", 1000.0, is_accepted=True, engine_ref="7")
WORKLOAD = Workload(IMAGE, "h100_80gb", 1, 600, ("true",), {})
LOST_SECONDS = 120.0


class Worker:
    """One life of a worker, whose clock is moved by hand."""

    def __init__(self, folder: Path) -> None:
        self._now = 0.0
        self._driver = SlurmDriver(
            SlurmOptions(folder=str(folder), images={IMAGE: ()}),
            Whose(DATABASE),
            lost_seconds=LOST_SECONDS,
            clock=lambda: self._now,
        )

    def state_after(self, seconds: float) -> PlacementState:
        """Poll every few seconds for that long; return what the last answer was."""
        state = self._state()
        for _ in range(int(seconds / 5)):
            self._now += 5.0
            state = self._state()
        return state

    def _state(self) -> PlacementState:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self._driver.poll(PLACEMENT, WORKLOAD, 2000.0).state
            except EngineUnavailable:  # This machine is busy.
                assert time.monotonic() < deadline, "the records cannot be read"


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an attempt whose program runs on a node; of the queue there is nothing."""
    stand_in = tmp_path / "squeue"
    stand_in.write_text("#!/bin/sh\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    name = name_of(DATABASE, PLACEMENT)
    cluster = Cluster(ShellTransport(None), str(tmp_path))
    cluster.prepare(name, incarnation="", script="the script", secret="the secret")
    folder = Path(cluster.folder_of(name))
    (folder / "claim").write_text("run 7.1.1 7 node1\n")
    (folder / "started").write_text("run 7.1.1 1000.0 100\n")
    show_life(folder, 200)
    return folder


def show_life(folder: Path, ticks: int) -> None:
    """Leave a sign of life, as the script does every ten seconds."""
    (folder / "alive").write_text(f"{ticks}\n")


def test_it_is_given_up_by_workers_that_are_restarted_every_minute(tmp_path: Path, attempt: Path) -> None:
    """After no less than it takes one that is not."""
    assert Worker(tmp_path).state_after(LOST_SECONDS - 5) is PlacementState.RUNNING

    (attempt / "unheard").unlink()
    assert Worker(tmp_path).state_after(55) is PlacementState.RUNNING
    assert Worker(tmp_path).state_after(55) is PlacementState.RUNNING
    assert Worker(tmp_path).state_after(55) is PlacementState.LOST


def test_several_that_wait_at_the_same_time_do_not_count_it_twice(tmp_path: Path, attempt: Path) -> None:
    """Each adds to what it waited itself only what others had waited before."""
    first, second = Worker(tmp_path), Worker(tmp_path)
    for _ in range(11):
        assert first.state_after(10) is PlacementState.RUNNING
        assert second.state_after(10) is PlacementState.RUNNING
    assert first.state_after(10) is PlacementState.LOST


def test_a_sign_of_life_makes_what_was_noted_void(tmp_path: Path, attempt: Path) -> None:
    """Before the next one looks for the first time, or after."""
    assert Worker(tmp_path).state_after(115) is PlacementState.RUNNING
    show_life(attempt, 300)
    assert Worker(tmp_path).state_after(85) is PlacementState.RUNNING
    worker = Worker(tmp_path)
    assert worker.state_after(25) is PlacementState.RUNNING
    show_life(attempt, 400)
    assert worker.state_after(115) is PlacementState.RUNNING


def test_nobody_gives_up_what_he_has_not_waited_for_himself(tmp_path: Path, attempt: Path) -> None:
    """A job can write down what it likes."""
    (attempt / "unheard").write_text("999999 200\n")
    assert Worker(tmp_path).state_after(25) is PlacementState.RUNNING
    (attempt / "unheard").write_text("999999 200\n")
    assert Worker(tmp_path).state_after(30) is PlacementState.LOST


@pytest.mark.parametrize("sign", ["", "x" * 5000, "a b\x00c"])
def test_no_sign_or_one_that_is_none_is_no_trouble(tmp_path: Path, attempt: Path, sign: str) -> None:
    """Nothing that a job can write there reaches a command's arguments."""
    (attempt / "alive").write_text(sign)

    assert Worker(tmp_path).state_after(LOST_SECONDS - 5) is PlacementState.RUNNING
    assert (attempt / "unheard").exists() == (not sign)
    assert Worker(tmp_path).state_after(LOST_SECONDS) is PlacementState.LOST
