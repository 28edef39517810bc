"""What becomes of jobs whose engine is restarted with all that it runs: it does not know how they ended."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from patience import eventually
from servers.container_engines import DOCKER, DockerEngine

from nodus_control.suppliers.docker.options import BRIDGE, HOST, NO_NETWORK
from nodus_control.suppliers.protocol import PlacementState

if TYPE_CHECKING:
    from containers.conftest import ContainerJobs


@pytest.mark.parametrize("network", [NO_NETWORK, BRIDGE, HOST])
def test_what_ran_when_the_power_was_cut_is_lost(jobs: ContainerJobs, network: str) -> None:
    """It goes elsewhere, and the time until the engine was back is not billed. What it had printed is kept."""
    driver = jobs.new_driver(network=network)
    seen = jobs.shell("echo up; sleep 600", driver=driver).submit().until_printed(b"up\n")
    unseen = jobs.shell("sleep 600", driver=driver).submit()
    eventually(lambda: [each["State"] for each in jobs.containers(unseen)] == ["running"])
    began_at = seen.poll().started_at
    jobs.engine.cut_power()
    jobs.engine.start_again()
    reports = [seen.finish(), unseen.finish()]

    assert [(each.state, each.error_code) for each in reports] == [(PlacementState.LOST, "engine_restarted")] * 2
    assert [each.finished_at for each in reports] == [None, None]
    assert reports[0].started_at == began_at
    assert seen.output() == b"up\n"
    for job in (seen, unseen):
        job.submit()
        assert job.finish().state is PlacementState.LOST
        job.driver.forget(job.placement)
        assert jobs.containers(job) == []
    assert jobs.engine.networks() == []


def test_what_was_cancelled_when_the_power_was_cut_has_ended(jobs: ContainerJobs) -> None:
    """It is not told as an end that somebody saw."""
    job = jobs.shell("trap '' TERM; echo up; sleep 600").submit().until_printed(b"up\n")
    job.cancel()
    jobs.engine.cut_power()
    jobs.engine.start_again()
    report = job.finish()

    assert (report.state, report.finished_at) == (PlacementState.LOST, None)


@pytest.mark.parametrize("code", [255, 143, 137])
def test_a_program_whose_exit_looks_like_a_restart_has_failed_by_itself(jobs: ContainerJobs, code: int) -> None:
    """Whether the engine has been restarted since or not: how it ended, and when, stays true."""
    jobs.run("true")
    for cuts_power in (False, True):
        job = jobs.shell(f"sleep 1; exit {code}").submit()
        eventually(lambda job=job: [each["State"] for each in jobs.containers(job)] == ["exited"])  # type: ignore[misc]
        if cuts_power and code == 255:
            jobs.engine.cut_power()
            jobs.engine.start_again()
        report = job.finish()

        assert (report.state, report.error_code) == (PlacementState.FAILED, "nonzero_exit")
        assert report.started_at is not None
        assert report.finished_at is not None
        assert 0.9 <= report.finished_at - report.started_at < 60.0  # between two readings of the engine's clock


def test_what_an_engine_ended_before_it_was_stopped_is_lost(jobs: ContainerJobs) -> None:
    """Docker ends all that it runs, unless it is told to let it live on: by a signal that nobody asked for."""
    if jobs.engine.kind != DOCKER:
        pytest.skip("Podman's service can be stopped, and what it runs does not notice")
    assert isinstance(jobs.engine, DockerEngine)
    with jobs.engine.without_live_restore():
        job = jobs.shell("echo up; exec sleep 600").submit().until_printed(b"up\n")
        jobs.engine.stop()
        jobs.engine.start_again()
        report = job.finish()

    assert (report.state, report.error_code) == (PlacementState.LOST, "engine_restarted")
    assert report.started_at is not None
    assert report.finished_at is not None
    assert job.output() == b"up\n"


@pytest.mark.soak
def test_what_an_engine_ends_because_its_shim_does_not_answer_is_lost(jobs: ContainerJobs) -> None:
    """Docker says that it exited with 255, as of what ran when the power was cut. The program has ended."""
    if jobs.engine.kind != DOCKER:
        pytest.skip("Podman has no part that must answer it when it is started")
    job = jobs.shell("echo up; exec sleep 600").submit().until_printed(b"up\n")
    (container,) = jobs.containers(job)
    shim = _find("-f", f"containerd-shim.* -id {container['Id']} ")
    program = _find("-P", str(shim))
    jobs.engine.kill()
    os.kill(shim, signal.SIGSTOP)
    try:
        jobs.engine.start_again()
        report = job.finish()
        said = jobs.engine.inspect(container["Id"])["State"]
        state = Path(f"/proc/{program}/stat").read_text().rpartition(")")[2].split()[0]
    finally:
        os.kill(shim, signal.SIGCONT)

    assert (said["Status"], said["ExitCode"], state) == ("exited", 255, "Z")
    assert (report.state, report.error_code, report.finished_at) == (PlacementState.LOST, "engine_restarted", None)


def _find(*options: str) -> int:
    """Return the number of the one process that `pgrep` finds."""
    return int(subprocess.run(["pgrep", *options], capture_output=True, text=True, check=True).stdout)
