"""No call of the driver waits for an engine that stands still for longer than its limit."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from joined_server import JoinedUnixServer, QuietHandler
from patience import PATIENCE_SECONDS, eventually

from nodus_control.dispatch.worker import CANCEL_SECONDS, POLL_SECONDS, SUBMIT_SECONDS
from nodus_control.suppliers.docker.driver import DockerDriver
from nodus_control.suppliers.docker.engine import LOOK_SECONDS, Answer
from nodus_control.suppliers.docker.limits import LIMITS, Limits
from nodus_control.suppliers.protocol import EngineUnavailable, Placement, PlacementState, Workload
from nodus_core.suppliers_file import NO_DEVICES, DockerOptions, UnixEndpoint

if TYPE_CHECKING:
    from containers.conftest import ContainerJobs

SHORT = Limits(poll_seconds=0.2, submit_seconds=0.2, change_seconds=0.2, tidy_seconds=0.2)
PLACEMENT = Placement("job", 1, "lab", "here", 0.0, gpu_indices=(0,))
WORKLOAD = Workload("ghcr.io/acme/train:1", "h100", 1, 600, ("true",), {})
CALLS: dict[str, Callable[[DockerDriver], object]] = {
    "identity": lambda driver: driver.identity(),
    "submit": lambda driver: driver.submit(PLACEMENT, WORKLOAD, 0.0),
    "poll": lambda driver: driver.poll(PLACEMENT, WORKLOAD, 0.0),
    "cancel": lambda driver: driver.cancel(PLACEMENT, 0.0),
    "forget": lambda driver: driver.forget(PLACEMENT),
    "list_placements": lambda driver: driver.list_placements(),
}


class SlowEngine(JoinedUnixServer):
    """Answers each question with an empty list, after a while."""

    def __init__(self, path: Path, answers_after: float) -> None:
        self.asked: list[str] = []
        self.is_over = threading.Event()
        asked, is_over = self.asked, self.is_over

        class SlowAnswer(QuietHandler):
            def answer(self) -> None:
                asked.append(self.path)
                is_over.wait(answers_after)
                self.send_response(404)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"[]")

        super().__init__(path, SlowAnswer)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One whose name is short enough for a socket's."""
    made = Path(tempfile.mkdtemp(prefix="nodus-slow-"))
    yield made
    shutil.rmtree(made)


def driver_at(path: Path, folder: Path, limits: Limits = SHORT) -> DockerDriver:
    """A driver of the engine that listens there."""
    options = DockerOptions(UnixEndpoint(str(path)), gpu_devices=NO_DEVICES)
    return DockerDriver(
        options,
        supplier="lab",
        gpus={"h100": 1},
        database_id="d",
        incarnation="1",
        directory=folder / "store",
        limits=limits,
    )


def test_the_worker_allows_each_call_more_than_the_driver_takes() -> None:
    """So that the engine is given up, and not the thread that waits for it."""
    assert LIMITS.poll_seconds < POLL_SECONDS
    assert LIMITS.submit_seconds < SUBMIT_SECONDS
    assert LIMITS.change_seconds < CANCEL_SECONDS


@pytest.mark.parametrize("call", CALLS)
def test_an_engine_that_accepts_and_never_answers_is_given_up_at_the_limit(call: str, folder: Path) -> None:
    """Whatever it is asked, and however long that may take elsewhere."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder / "s"))
        silent.listen(64)
        driver = driver_at(folder / "s", folder)

        def takes_no_longer_than_one_look() -> bool:
            began = time.monotonic()
            with pytest.raises(EngineUnavailable):
                CALLS[call](driver)
            return time.monotonic() - began < LOOK_SECONDS

        eventually(takes_no_longer_than_one_look)
        driver.close()


def test_the_questions_of_one_call_have_one_limit_together(folder: Path) -> None:
    """An engine that takes most of it for each of them answers only the first."""
    with SlowEngine(folder / "s", answers_after=1.5) as engine:
        driver = driver_at(folder / "s", folder, Limits(poll_seconds=2.0))
        with pytest.raises(EngineUnavailable):
            driver.poll(PLACEMENT, WORKLOAD, 0.0)
        engine.is_over.set()
        driver.close()

    assert len(engine.asked) <= 2  # by the names of the container, of which it has neither


def test_an_engine_that_stands_still_got_nothing_of_a_submission(jobs: ContainerJobs) -> None:
    """It was only asked something so far, so the job may go elsewhere at once."""
    jobs.run("true")
    driver = jobs.new_driver(limits=SHORT)
    job = jobs.shell("true", driver=driver)
    jobs.engine.pause()
    try:
        with pytest.raises(EngineUnavailable) as unavailable:
            job.submit()
    finally:
        jobs.engine.resume()

    assert unavailable.value.never_sent
    assert jobs.containers(job) == []


def test_an_engine_that_stands_still_later_may_have_got_it(jobs: ContainerJobs) -> None:
    """What it was asked to make it may still make."""
    jobs.run("true")
    driver = jobs.new_driver(limits=Limits(submit_seconds=PATIENCE_SECONDS))
    ask: Callable[..., Answer] = driver.engine.ask

    def ask_engine_that_stops(method: str, path: str, **more: Any) -> Answer:
        if path != "/containers/create":
            return ask(method, path, **more)
        jobs.engine.pause()
        try:
            with driver.engine.within(SHORT.submit_seconds):
                return ask(method, path, **more)
        finally:
            jobs.engine.resume()

    setattr(driver.engine, "ask", ask_engine_that_stops)  # noqa: B010  # mypy knows a method as what cannot be replaced
    job = jobs.shell("echo once", driver=driver)
    with pytest.raises(EngineUnavailable) as unavailable:
        job.submit()
    job.driver = jobs.driver

    assert not unavailable.value.never_sent
    assert job.submit().finish().state is PlacementState.COMPLETED
    assert job.output() == b"once\n"
