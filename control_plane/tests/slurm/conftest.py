"""A driver on a real cluster, and what holds a script there where a test wants it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from patience import eventually
from servers.slurm import SlurmCluster
from slurm.cluster_jobs import driver_of

from nodus_control.suppliers.slurm.driver import SlurmDriver


class Gate:
    """Stands for a program on the nodes, and lets nobody through until it is opened."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder

    @property
    def path(self) -> str:
        """The variable `PATH` of whoever is to be held."""
        return f"{self.folder}:{os.environ['PATH']}"

    def hold(self, program: str) -> None:
        """Hold whoever calls it from now on."""
        stand_in = self.folder / program
        stand_in.write_text(
            f"#!/bin/sh\n: >'{self.folder}/reached'\n"
            f"while [ -d '{self.folder}' ] && [ ! -e '{self.folder}/open' ]; do sleep 0.05; done\n"
            f'PATH={os.defpath}\nexec {program} "$@"\n'
        )
        stand_in.chmod(0o755)

    def await_somebody(self) -> None:
        """Wait until somebody is held."""
        eventually((self.folder / "reached").exists, lambda: "nobody calls the program")

    def open(self) -> None:
        """Let everybody through."""
        (self.folder / "open").touch()


@pytest.fixture
def gate(slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Holds a script of the cluster where it calls a program."""
    made = Gate(tmp_path)
    monkeypatch.setenv("PATH", made.path)
    return made


@pytest.fixture
def driver(slurm: SlurmCluster) -> SlurmDriver:
    """What an operator would have, with everything as it is by default."""
    return driver_of(slurm)
