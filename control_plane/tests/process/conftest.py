"""Real programs under the process driver: how the tests here start them, wait for them and look for what they left."""

from __future__ import annotations

import os
import pathlib
import sys
import time
import uuid
from collections.abc import Iterator, Mapping

import pytest
from patience import PATIENCE_SECONDS, eventually

from nodus_control.runner import attempt_files
from nodus_control.runner.output import image_notice
from nodus_control.suppliers.process.driver import ProcessDriver
from nodus_control.suppliers.process.options import ProcessOptions
from nodus_control.suppliers.protocol import Placement, PlacementState, Report, Workload

AMPLE_SECONDS = PATIENCE_SECONDS
"""For what ends by itself: it may take its time on a busy machine, and costs none on an idle one."""
TOKEN = "NODUS_TEST_TOKEN"
SECRET = b"what the records of every test's drivers are authenticated with"


class RealJob:
    """One attempt of one job on a driver."""

    def __init__(
        self, driver: ProcessDriver, directory: pathlib.Path, placement: Placement, workload: Workload
    ) -> None:
        self.driver = driver
        self.directory = directory
        self.placement = placement
        self.workload = workload
        self.token = workload.env.get(TOKEN, "")

    def submit(self) -> RealJob:
        self.driver.submit(self.placement, self.workload, time.time())
        return self

    def poll(self) -> Report:
        return self.driver.poll(self.placement, self.workload, time.time())

    def cancel(self) -> None:
        self.driver.cancel(self.placement, time.time())

    def until_it_shows_life(self) -> None:
        """Wait until its runner has shown several times, from now on, that it lives."""
        claim = self.directory / attempt_files.CLAIM
        signs: set[int] = set()

        def has_given_signs() -> bool:
            signs.add(claim.stat().st_mtime_ns)
            return len(signs) > 3  # One is from before.

        eventually(has_given_signs, lambda: f"the runner gives no sign of life: {signs}")

    @property
    def key(self) -> bytes:
        return attempt_files.attempt_key(SECRET, self.placement.job_id, self.placement.attempt)

    @property
    def notice(self) -> bytes:
        return image_notice(self.workload.image).encode()

    def output(self) -> bytes:
        """What the program printed, after the line about its image, without which there is no output."""
        everything = self.driver.logs(self.placement, 0, 1 << 30).data
        assert everything[: len(self.notice)] in (self.notice, b"")
        return everything[len(self.notice) :]

    def until_printed(self, text: bytes) -> RealJob:
        eventually(lambda: text in self.output())
        return self

    def finish(self) -> Report:
        eventually(lambda: self.poll().state not in (PlacementState.PROVISIONING, PlacementState.RUNNING))
        return self.poll()

    def until_removed(self) -> RealJob:
        """Wait until the runner has done the last of its work: after the result come the directories."""
        eventually(lambda: not (self.directory / "tmp").exists() and not (self.directory / "work").exists())
        return self

    def processes(self) -> list[int]:
        """Every living process that carries this job's token, wherever it hangs in the process table."""
        return processes_with(self.token)


class RealJobs:
    """Makes jobs with ids of their own, all on one state directory; kills what is left of them in the end."""

    def __init__(self, state_dir: pathlib.Path) -> None:
        self.state_dir = state_dir
        self.scratch = state_dir.with_name("scratch")
        """Where programs and tests leave files for each other: a program may not see what is in `state_dir`."""
        self.scratch.mkdir()
        self.driver = self.new_driver()
        self._made: list[RealJob] = []

    def new_driver(
        self,
        *,
        grace_seconds: float = 0.3,
        linger_seconds: float = 0.2,
        output_limit_bytes: int = 64 << 20,
        options: ProcessOptions | None = None,
    ) -> ProcessDriver:
        """A driver as a restarted control plane has it. Grace and linger are short, so that tests are.

        What has to be killed and seen to be gone may take long, though, before it counts as what cannot be ended.
        """
        return ProcessDriver(
            self.state_dir,
            secret=SECRET,
            options=options,
            grace_seconds=grace_seconds,
            linger_seconds=linger_seconds,
            force_seconds=AMPLE_SECONDS,
            output_limit_bytes=output_limit_bytes,
        )

    def make(
        self,
        command: tuple[str, ...] | None,
        *,
        env: Mapping[str, str] | None = None,
        max_runtime_seconds: int = 600,
        driver: ProcessDriver | None = None,
        attempt: int = 1,
    ) -> RealJob:
        job_id = str(uuid.uuid4())
        placement = Placement(job_id, attempt, "supplier", "region", time.time())
        workload = Workload("image", "H100", 1, max_runtime_seconds, command, {TOKEN: uuid.uuid4().hex, **(env or {})})
        job = RealJob(driver or self.driver, self.state_dir / job_id / str(attempt), placement, workload)
        self._made.append(job)
        return job

    def start_python(
        self,
        program: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        max_runtime_seconds: int = 600,
        driver: ProcessDriver | None = None,
    ) -> RealJob:
        command = (sys.executable, "-u", "-c", program, *arguments)
        return self.make(command, env=env, max_runtime_seconds=max_runtime_seconds, driver=driver).submit()

    def start_shell(
        self, script: str, *, max_runtime_seconds: int = 600, driver: ProcessDriver | None = None
    ) -> RealJob:
        return self.make(("sh", "-c", script), max_runtime_seconds=max_runtime_seconds, driver=driver).submit()

    def end_all(self) -> None:
        for job in self._made:
            job.cancel()
        for job in self._made:
            job.finish()


@pytest.fixture
def jobs(tmp_path: pathlib.Path) -> Iterator[RealJobs]:
    made = RealJobs(tmp_path / "state")
    yield made
    made.end_all()


def processes_with(token: str) -> list[int]:
    """Find every living process that carries a token, wherever it hangs in the process table."""
    needle = os.fsencode(f"{TOKEN}={token}")
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and needle in _environment(name)]


def _environment(name: str) -> list[bytes]:
    try:
        return pathlib.Path("/proc", name, "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each campaign of forgeries, whether it went well or not."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            said = [value for name, value in getattr(report, "user_properties", ()) if name == "forgeries"]
            if said and report.when == "call":
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {'; '.join(said)}")
