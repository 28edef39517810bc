"""The docker driver passes the conformance suite, on Docker Engine and on Podman's service."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from joined_server import JoinedServer, LineHandler
from servers.container_engines import ContainerEngine
from servers.registry import Registry

from nodus_control.suppliers.conformance import DriverChecks, Program, Subject
from nodus_control.suppliers.docker.driver import DockerDriver
from nodus_control.suppliers.docker.options import HOST
from nodus_control.suppliers.protocol import Driver, Placement, Workload
from nodus_core.suppliers_file import DockerOptions, UnixEndpoint

DEVICES = ("/dev/null", "/dev/nodus-none")
"""What stands for the two GPUs of the supplier, of which the second is not there."""


class Beginnings(JoinedServer):
    """Hears programs say, over the network of the host, that they have begun: each says its name in a line."""

    def __init__(self) -> None:
        hear = self.hear

        class Beginning(LineHandler):
            def hear(self, line: str) -> None:
                hear(line)

        super().__init__(Beginning)
        self._lock = threading.Lock()
        self._heard: Counter[str] = Counter()

    def saying(self, name: str) -> str:
        """Return what a program runs to be heard."""
        return f"echo {name} | nc 127.0.0.1 {self.port}"

    def hear(self, name: str) -> None:
        """Count one."""
        with self._lock:
            self._heard[name] += 1

    def count(self, name: str) -> int:
        """Return how often that name was said."""
        with self._lock:
            return self._heard[name]


class DockerSubject(Subject):
    """Real containers.

    Args:
        engine: the engine.
        registry: from which it fetches images.
        image: what is run, with a shell in it.
        folder: where outputs and records of attempts are kept.
        beginnings: hears which programs have begun.
    """

    database_id = "conformance"
    incarnation = "first"
    missing_gpus = (1,)
    gpu_indices = (0,)
    wait_seconds = 6.0

    def __init__(
        self, engine: ContainerEngine, registry: Registry, image: str, folder: Path, beginnings: Beginnings
    ) -> None:
        super().__init__()
        self._engine = engine
        self._registry = registry
        self._image = image
        self._folder = folder
        self._drivers: list[DockerDriver] = []
        self._beginnings = beginnings
        self._resuming: threading.Timer | None = None

    def make_driver(self) -> Driver:
        """Make one on the one store."""
        driver = DockerDriver(
            DockerOptions(
                UnixEndpoint(str(self._engine.socket)),
                gpu_devices=DEVICES,
                network=HOST,
                min_free_disk_bytes=0,
            ),
            supplier=self.supplier,
            gpus={self.gpu: len(DEVICES)},
            database_id=self.database_id,
            incarnation=self.incarnation,
            directory=self._folder,
        )
        self._drivers.append(driver)
        return driver

    def times_begun(self, placement: Placement) -> int:
        """Count what its programs said."""
        return self._beginnings.count(_name(placement))

    def opening(self, placement: Placement) -> str:
        """Say that it has begun."""
        return self._beginnings.saying(_name(placement))

    def can_stop_engine(self) -> bool:
        """It can be killed, and its containers live on."""
        return True

    def stop_engine(self) -> None:
        """Kill it."""
        self._engine.kill()

    def start_engine(self) -> None:
        """Start it again."""
        self._engine.start_again()

    def delay_starts(self, seconds: float) -> bool:
        """Have an image fetched from a registry that stands still."""
        self._image = self._registry.publish(f"slow-{uuid.uuid4().hex}")
        self._registry.pause()
        self._resuming = threading.Timer(seconds, self._registry.resume)
        self._resuming.start()
        return True

    def workload(
        self,
        program: Program,
        placement: Placement,
        *,
        env: Mapping[str, str] | None = None,
        max_runtime_seconds: int = 3600,
    ) -> Workload:
        """Run it by the shell of the image."""
        made = super().workload(program, placement, env=env, max_runtime_seconds=max_runtime_seconds)
        return replace(made, image=self._image)

    def close(self) -> None:
        """Leave nothing on the engine."""
        if self._resuming is not None:
            self._resuming.join()
        for driver in self._drivers:
            driver.close()
        self._engine.empty()


def _name(placement: Placement) -> str:
    return f"{placement.job_id}-{placement.attempt}"


class TestDocker(DriverChecks):
    """Docker Engine, and Podman's service."""

    @pytest.fixture
    def subject(
        self, container_engine: ContainerEngine, image_registry: Registry, busybox: str, tmp_path: Path
    ) -> Iterator[Subject]:
        """Make one for each check."""
        with Beginnings() as beginnings:
            made = DockerSubject(container_engine, image_registry, busybox, tmp_path / "store", beginnings)
            yield made
            made.close()
