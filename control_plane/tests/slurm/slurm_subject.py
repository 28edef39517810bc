"""The slurm driver on a real cluster, as the conformance suite needs to know it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import ClassVar

from conformance.subjects import OnSharedFiles
from servers.slurm import SlurmCluster
from slurm.cluster_jobs import IMAGE, Whose, options_of

from nodus_control.suppliers.protocol import Driver
from nodus_control.suppliers.slurm.driver import SlurmDriver
from nodus_control.suppliers.slurm.shared import LATE_SECONDS
from nodus_control.suppliers.slurm.transport import ShellTransport
from nodus_core.suppliers_file import SshEndpoint


class SlurmSubject(OnSharedFiles):
    """Reached as from afar: by a stand-in for `ssh`, whose other side is this host until it cannot be reached.

    Args:
        cluster: whose nodes run the programs.
        folder: for traces and the stand-in; on this host.
    """

    database_id = "db"
    incarnation = "first"
    image = IMAGE
    # An answer about the queue or the records may be as old as this, on a busy machine.
    stale_seconds: ClassVar[float] = LATE_SECONDS
    tolerance_seconds: ClassVar[float] = 6.0
    wait_seconds: ClassVar[float] = 8.0

    def __init__(self, cluster: SlurmCluster, folder: Path) -> None:
        super().__init__(folder)
        self._cluster = cluster
        self._away = folder / "away"
        self._ssh = folder / "ssh"
        self._ssh.write_text(
            f"#!/bin/sh\n[ -e '{self._away}' ] && exit 255\nfor last in \"$@\"; do :; done\n"
            f"exec env -i PATH='{os.environ['PATH']}' HOME='{folder}' SLURM_CONF='{cluster.configuration}' "
            'sh -c "$last"\n'
        )
        self._ssh.chmod(0o755)
        self._timers: list[threading.Timer] = []

    def make_driver(self) -> Driver:
        """Make one on the one folder."""
        return self._driver("nodus")

    def make_driver_elsewhere(self) -> Driver:
        """Make one on another folder of the cluster."""
        return self._driver("elsewhere")

    def can_stop_engine(self) -> bool:
        """It can: what runs does not notice."""
        return True

    def stop_engine(self) -> None:
        """Have the login node not be reached."""
        self._away.touch()

    def start_engine(self) -> None:
        """Have it be reached."""
        self._away.unlink()

    def delay_starts(self, seconds: float) -> bool:
        """Have the partition take no job to a node for so long."""
        self._cluster.pause()
        timer = threading.Timer(seconds, self._cluster.go_on)
        timer.start()
        self._timers.append(timer)
        return True

    def end_all(self) -> None:
        """Have jobs go to nodes again, first of all."""
        for timer in self._timers:
            timer.join()
        super().end_all()

    def _driver(self, folder: str) -> SlurmDriver:
        return SlurmDriver(
            options_of(self._cluster, folder=str(self._cluster.folder / folder)),
            Whose(self.database_id, self.incarnation),
            transport=ShellTransport(SshEndpoint("login.example", "nodus"), ssh=str(self._ssh)),
            look_seconds=0.25,
        )
