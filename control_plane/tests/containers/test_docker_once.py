"""A program runs once, however many try to start it, and wherever one of them stands still meanwhile."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_SECONDS, eventually
from servers.container_engines import DOCKER, DockerEngine

from nodus_control.suppliers.docker import driver as drivers
from nodus_control.suppliers.docker.driver import DockerDriver
from nodus_control.suppliers.docker.engine import Answer
from nodus_control.suppliers.docker.options import BRIDGE, HOST
from nodus_control.suppliers.protocol import EngineUnavailable, PlacementState

if TYPE_CHECKING:
    from containers.conftest import ContainerJob, ContainerJobs

CREATE, RENAME, START = "/containers/create", "/rename", "/start"


class Runs:
    """Counts how often programs ran, which each say so over the network of the host."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        self.count = 0

    @property
    def script(self) -> str:
        """What a program runs to be counted."""
        return f"echo ran; echo ran | nc 127.0.0.1 {self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                said = connection.recv(16)
            if said == b"stop":
                return
            self.count += 1

    def close(self) -> None:
        with socket.create_connection(self._listener.getsockname(), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(b"stop")
        self._thread.join()
        self._listener.close()


class Pause:
    """Lets a driver stand still before one of its requests, until it is let go."""

    def __init__(self, driver: DockerDriver, path: str) -> None:
        self.reached = threading.Event()
        self._go_on = threading.Event()
        self._path = path
        self._ask: Callable[..., Answer] = driver.engine.ask
        setattr(driver.engine, "ask", self._paused)  # noqa: B010  # mypy knows a method as what cannot be replaced

    def _paused(self, method: str, path: str, **more: Any) -> Answer:
        if method == "POST" and path.endswith(self._path):
            self.reached.set()
            assert self._go_on.wait(PATIENCE_SECONDS)
        return self._ask(method, path, **more)

    def end(self) -> None:
        self._go_on.set()


@pytest.fixture
def runs() -> Iterator[Runs]:
    counted = Runs()
    yield counted
    counted.close()


def fetched(jobs: ContainerJobs) -> None:
    """Have the image on the engine, so that submissions start at once."""
    jobs.run("true")


def test_eight_submissions_at_once_run_it_once(jobs: ContainerJobs, runs: Runs) -> None:
    """They are of eight workers, and each of them may adopt what another one made."""
    fetched(jobs)
    job = jobs.shell(runs.script)
    workers = [jobs.new_driver(network=HOST) for _ in range(8)]
    together = threading.Barrier(8)

    def submit(driver: DockerDriver) -> None:
        together.wait(PATIENCE_SECONDS)
        driver.submit(job.placement, job.workload, 0.0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(submit, workers))
    report = job.submit().finish()

    assert (report.state, runs.count) == (PlacementState.COMPLETED, 1)
    assert len(jobs.containers(job)) == 1


def test_eight_submissions_at_once_make_one_network(jobs: ContainerJobs) -> None:
    """An engine may make several of one name, and then starts no container on any of them."""
    fetched(jobs)
    job = jobs.shell("echo ran")
    workers = [jobs.new_driver(network=BRIDGE) for _ in range(8)]
    together = threading.Barrier(8)

    def submit(driver: DockerDriver) -> None:
        together.wait(PATIENCE_SECONDS)
        driver.submit(job.placement, job.workload, 0.0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(submit, workers))
    job.driver = workers[0]
    report = job.submit().finish()

    assert (report.state, job.output()) == (PlacementState.COMPLETED, b"ran\n")
    assert len(jobs.engine.networks()) == 1
    job.driver.forget(job.placement)
    assert (jobs.engine.networks(), jobs.containers(job)) == ([], [])


def test_a_submission_of_what_has_ended_runs_nothing(jobs: ContainerJobs, runs: Runs) -> None:
    """Not even after it was forgotten, and its container is gone."""
    fetched(jobs)
    driver = jobs.new_driver(network=HOST)
    job = jobs.shell(runs.script, driver=driver).submit()
    ended = job.finish()
    job.submit()
    driver.forget(job.placement)
    job.submit()

    assert job.finish() == ended
    assert job.output() == b"ran\n"
    assert (runs.count, jobs.containers(job)) == (1, [])


@pytest.mark.parametrize(
    ("step", "has_lease"), [(CREATE, False), (CREATE, True), (RENAME, False), (RENAME, True), (START, True)]
)
def test_a_starter_that_stood_still_until_its_attempt_was_forgotten_starts_nothing(
    jobs: ContainerJobs, runs: Runs, monkeypatch: pytest.MonkeyPatch, step: str, has_lease: bool
) -> None:
    """Even if it believes that the attempt is still its own."""
    fetched(jobs)
    monkeypatch.setattr(drivers, "CLAIM_SECONDS", 0.0)
    slow, other = jobs.new_driver(network=HOST), jobs.new_driver(network=HOST)
    pause = Pause(slow, step)
    job = jobs.shell(runs.script, driver=other)
    starter = threading.Thread(target=lambda: slow.submit(job.placement, job.workload, 0.0, lambda: has_lease))
    starter.start()
    assert pause.reached.wait(PATIENCE_SECONDS)
    report = job.submit().finish()
    other.forget(job.placement)
    count = runs.count
    pause.end()
    starter.join()

    assert report.state is (PlacementState.NOT_STARTED if step == START else PlacementState.COMPLETED)
    assert count == (0 if step == START else 1)
    assert runs.count == count
    assert jobs.containers(job) == []
    assert job.poll() == report


def test_a_starter_whose_lease_is_over_removes_what_it_made(jobs: ContainerJobs, runs: Runs) -> None:
    """It asks in the last moment."""
    fetched(jobs)
    driver = jobs.new_driver(network=HOST)
    job = jobs.shell(runs.script, driver=driver).submit(holds=lambda: False)

    assert jobs.containers(job) == []
    assert job.finish().state is PlacementState.COMPLETED
    assert runs.count == 1


def test_a_container_that_nobody_started_is_found_never_to_have_run(
    jobs: ContainerJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever had claimed it died before the start; it is removed, and the attempt is over."""
    fetched(jobs)
    monkeypatch.setattr(drivers, "CLAIM_SECONDS", 0.0)
    driver = jobs.new_driver()
    job = jobs.shell("true", driver=driver)
    dead_at_start(driver, job)
    report = job.submit().finish()

    assert (report.state, report.started_at) == (PlacementState.NOT_STARTED, None)
    assert jobs.containers(job) == []


def test_a_program_that_began_as_its_engine_was_killed_is_not_said_never_to_have_run(
    jobs: ContainerJobs, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had not written that down, and calls its container a new one while it runs on, and when it has ended."""
    fetched(jobs)
    monkeypatch.setattr(drivers, "CLAIM_SECONDS", 0.0)
    with jobs.engine.hiding_starts():
        job = jobs.shell(runs.script, driver=jobs.new_driver(network=HOST))
        with begun(job, runs):
            jobs.engine.kill()
        jobs.engine.start_again()
        report = job.finish()

    assert (report.state, report.error_code) == (PlacementState.LOST, "start_unknown")
    assert jobs.containers(job) == []
    assert job.submit().finish() == report
    assert runs.count == 1


@pytest.mark.parametrize("container_engine", [DOCKER], indirect=True)
def test_a_program_that_began_as_containerd_was_killed_is_not_said_never_to_have_run(
    jobs: ContainerJobs, runs: Runs
) -> None:
    """Docker says that it could not start it, since it heard no more of that."""
    assert isinstance(jobs.engine, DockerEngine)
    fetched(jobs)
    with jobs.engine.hiding_starts():
        job = jobs.shell(runs.script, driver=jobs.new_driver(network=HOST))
        with begun(job, runs):
            jobs.engine.kill_containerd()
        report = job.finish()

    assert (report.state, report.error_code) == (PlacementState.LOST, "start_unknown")
    assert runs.count == 1


@contextlib.contextmanager
def begun(job: ContainerJob, runs: Runs) -> Iterator[None]:
    """Submit, and let something happen as soon as the program has begun, before anybody has heard of that."""

    def submit() -> None:
        with contextlib.suppress(EngineUnavailable):
            job.submit()

    starter = threading.Thread(target=submit)
    starter.start()
    eventually(lambda: runs.count == 1)
    yield
    starter.join()
    job.placement = replace(job.placement, is_accepted=True)


@pytest.mark.parametrize("step", [CREATE, RENAME, "holds"])
def test_what_a_worker_died_over_is_begun_again(
    jobs: ContainerJobs, runs: Runs, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Before anybody had the right to start it: it runs once after all."""
    fetched(jobs)
    monkeypatch.setattr(drivers, "CLAIM_SECONDS", 0.0)
    driver = jobs.new_driver(network=HOST)
    job = jobs.shell(runs.script, driver=driver)
    dead_at_start(driver, job, step)
    report = job.submit().finish()

    assert (report.state, runs.count) == (PlacementState.COMPLETED, 1)
    assert job.output() == b"ran\n"
    assert len(jobs.containers(job)) == 1


def test_a_container_that_was_removed_is_lost(jobs: ContainerJobs) -> None:
    """Somebody else removed it: how the program ended is not known, and it is not run again."""
    job = jobs.shell("echo up; sleep 600").submit().until_printed(b"up")
    with jobs.engine.client() as client:
        client.delete(f"/containers/{jobs.containers(job)[0]['Id']}", params={"force": "true"}).raise_for_status()
    report = job.finish()

    assert (report.state, report.error_code) == (PlacementState.LOST, "container_removed")
    assert jobs.containers(job) == []


def dead_at_start(driver: DockerDriver, job: ContainerJob, step: str = START) -> None:
    """Submit, and die before one of the requests, or when asked whether the attempt is still held."""

    class Died(BaseException):
        pass

    ask: Callable[..., Answer] = driver.engine.ask

    def dying(method: str, path: str, **more: Any) -> Answer:
        if method == "POST" and path.endswith(step):
            raise Died
        return ask(method, path, **more)

    def holds() -> bool:
        if step == "holds":
            raise Died
        return True

    setattr(driver.engine, "ask", dying)  # noqa: B010  # mypy knows a method as what cannot be replaced
    with pytest.raises(Died):
        driver.submit(job.placement, job.workload, 0.0, holds)
    setattr(driver.engine, "ask", ask)  # noqa: B010
