"""Real containers on real engines: how the tests here start them, wait for them and look for what they left."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from patience import eventually
from sampling import function_of, runs_whole, share_of
from servers.container_engines import DOCKER, PODMAN, ContainerEngine
from servers.registry import Registry

from nodus_control.suppliers.docker.driver import DockerDriver
from nodus_control.suppliers.docker.limits import LIMITS, Limits
from nodus_control.suppliers.docker.options import NO_NETWORK
from nodus_control.suppliers.protocol import (
    EngineUnavailable,
    Placement,
    PlacementState,
    Report,
    Workload,
    always,
)
from nodus_core.suppliers_file import NO_DEVICES, DockerOptions, UnixEndpoint


# Before the marks are looked at, as with campaigns.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to `soak`, of what both engines run, two tests in three on Podman: its containers cost the most of all."""
    if runs_whole():
        return
    on_both = {function_of(item.nodeid) for item in items if engine_of(item) == DOCKER}
    left = {function for function in on_both if share_of(function, 3) > 1}
    for item in items:
        if engine_of(item) == PODMAN and function_of(item.nodeid) in left:
            item.add_marker("soak")


def engine_of(item: pytest.Item) -> str | None:
    """The engine that a test is given."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("container_engine") if callspec else None


UNFINISHED = (PlacementState.PROVISIONING, PlacementState.RUNNING)


class ContainerJob:
    """One attempt of one job on a driver."""

    def __init__(self, driver: DockerDriver, placement: Placement, workload: Workload) -> None:
        self.driver = driver
        self.placement = placement
        self.workload = workload
        self.last: Report | None = None

    def submit(self, holds: Callable[[], bool] = always) -> ContainerJob:
        self.driver.submit(self.placement, self.workload, time.time(), holds)
        self.placement = replace(self.placement, is_accepted=True)
        return self

    def poll(self, driver: DockerDriver | None = None) -> Report:
        self.last = (driver or self.driver).poll(self.placement, self.workload, time.time())
        return self.last

    def cancel(self) -> None:
        self.driver.cancel(self.placement, time.time())

    def output(self) -> bytes:
        return self.driver.logs(self.placement, 0, 1 << 30).data

    def look(self) -> Report | None:
        """Ask as a worker does, which asks again where the engine cannot answer."""
        try:
            return self.poll()
        except EngineUnavailable:
            return None

    def until(self, state: PlacementState) -> ContainerJob:
        eventually(lambda: (seen := self.look()) is not None and seen.state is state, lambda: f"it is {self.last}")
        return self

    def until_printed(self, text: bytes) -> ContainerJob:
        eventually(lambda: self.look() is not None and text in self.output(), lambda: f"{self.last} {self.output()!r}")
        return self

    def finish(self) -> Report:
        found: list[Report] = []

        def is_finished() -> bool:
            seen = self.look()
            if seen is not None and seen.state not in UNFINISHED:
                found.append(seen)
            return bool(found)

        eventually(is_finished, lambda: f"it is {self.last}")
        return found[0]


class ContainerJobs:
    """Makes jobs with ids of their own, all on one engine and one store."""

    def __init__(self, engine: ContainerEngine, folder: Path, image: str) -> None:
        self.engine = engine
        self.image = image
        self.database_id = secrets.token_hex(8)
        self.folder = folder
        self.drivers: list[DockerDriver] = []
        self.driver = self.new_driver()

    def options(self, **changed: Any) -> DockerOptions:
        """Without GPUs and networks, unless a test says otherwise."""
        usual: dict[str, Any] = {
            "endpoint": UnixEndpoint(str(self.engine.socket)),
            "gpu_devices": NO_DEVICES,
            "network": NO_NETWORK,
            "min_free_disk_bytes": 0,
        }
        return DockerOptions(**{**usual, **changed})

    def new_driver(self, limits: Limits = LIMITS, **changed: Any) -> DockerDriver:
        """A driver as another worker has it."""
        return self._make_driver(self.database_id, self.folder, changed, limits)

    def another(self, **changed: Any) -> DockerDriver:
        """The driver of another control plane on the same engine."""
        return self._make_driver(secrets.token_hex(8), self.folder.with_name("another"), changed)

    def _make_driver(
        self, database_id: str, folder: Path, changed: dict[str, Any], limits: Limits = LIMITS
    ) -> DockerDriver:
        driver = DockerDriver(
            self.options(**changed),
            supplier="lab",
            gpus={"h100": 2, "l40s": 2},
            database_id=database_id,
            incarnation="1",
            directory=folder,
            limits=limits,
        )
        self.drivers.append(driver)
        return driver

    def make(
        self,
        command: Sequence[str] | None,
        *,
        env: Mapping[str, str] | None = None,
        max_runtime_seconds: int = 600,
        driver: DockerDriver | None = None,
        image: str | None = None,
        gpu: str = "h100",
        gpu_indices: tuple[int, ...] = (0,),
    ) -> ContainerJob:
        placement = Placement(str(uuid.uuid4()), 1, "lab", "here", time.time(), gpu_indices=gpu_indices)
        argv = None if command is None else tuple(command)
        workload = Workload(image or self.image, gpu, len(gpu_indices), max_runtime_seconds, argv, dict(env or {}))
        return ContainerJob(driver or self.driver, placement, workload)

    def shell(self, script: str, **more: Any) -> ContainerJob:
        return self.make(["sh", "-c", script], **more)

    def run(self, script: str, **more: Any) -> ContainerJob:
        """Run a shell's script to its end."""
        job = self.shell(script, **more).submit()
        job.finish()
        return job

    def containers(self, job: ContainerJob) -> list[dict[str, Any]]:
        """Everything that the engine has of a job, below the driver."""
        return [each for each in self.engine.containers() if each["Labels"].get("nodus.job") == job.placement.job_id]

    def close(self) -> None:
        for driver in self.drivers:
            driver.close()
        self.engine.empty()


@pytest.fixture(scope="module")
def busybox(image_registry: Registry) -> str:
    """An image that prints its variable where no command is given."""
    return image_registry.publish("busybox", command=["env"], env={"FROM_IMAGE": "yes"})


@pytest.fixture
def jobs(container_engine: ContainerEngine, busybox: str, tmp_path: Path) -> Iterator[ContainerJobs]:
    made = ContainerJobs(container_engine, tmp_path / "store", busybox)
    yield made
    made.close()
