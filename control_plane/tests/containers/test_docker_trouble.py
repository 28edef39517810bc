"""What becomes of jobs when their engine, or the worker that looks after them, is killed or does not answer."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from patience import PATIENCE_SECONDS, eventually

from nodus_control.suppliers.docker import driver as drivers
from nodus_control.suppliers.docker.attempts import CUT_MARKER
from nodus_control.suppliers.docker.containers import Containers
from nodus_control.suppliers.docker.driver import DockerDriver
from nodus_control.suppliers.docker.followers import Followers
from nodus_control.suppliers.docker.options import BRIDGE
from nodus_control.suppliers.docker.output import Writer
from nodus_control.suppliers.docker.state import Container
from nodus_control.suppliers.protocol import CapacityRefused, EngineUnavailable, Found, PlacementState
from nodus_core.suppliers_file import UnixEndpoint

if TYPE_CHECKING:
    from containers.conftest import ContainerJob, ContainerJobs

WORKER = """
import pickle, sys, time
from nodus_control.suppliers.docker import driver as drivers
from nodus_control.suppliers.docker.driver import DockerDriver
from nodus_control.suppliers.docker.followers import Followers
arguments, placement, workload = pickle.load(sys.stdin.buffer)
driver = DockerDriver(*arguments[0], **arguments[1])
while True:
    driver.poll(placement, workload, time.time())
    print(driver.logs(placement, 0, 0).total, flush=True)
    time.sleep(0.05)
"""


def ended_unseen(jobs: ContainerJobs, script: str) -> ContainerJob:
    """Let a script run to its end while nobody polls it."""
    jobs.run("true")  # from now on the image is there, and a submission starts its program
    job = jobs.shell(script).submit()
    eventually(lambda: [each["State"] for each in jobs.containers(job)] == ["exited"])
    return job


def test_programs_live_on_when_their_engine_is_killed(jobs: ContainerJobs) -> None:
    """Meanwhile nothing is known of them; afterwards code, output and times are true."""
    job = jobs.shell("echo before; sleep 3; echo after; exit 7").submit().until_printed(b"before")
    jobs.engine.kill()
    with pytest.raises(EngineUnavailable) as unavailable:
        job.poll()
    jobs.engine.start_again()
    report = job.finish()

    assert unavailable.value.never_sent
    assert (report.state, report.error_code) == (PlacementState.FAILED, "nonzero_exit")
    assert "code 7" in (report.error_message or "")
    assert job.output() == b"before\nafter\n"
    assert report.started_at is not None
    assert report.finished_at is not None
    assert 2.9 <= report.finished_at - report.started_at < 60.0  # between two readings of the engine's clock


def test_an_engine_that_is_not_there_got_nothing(jobs: ContainerJobs, tmp_path: Path) -> None:
    """The job may go elsewhere at once."""
    job = jobs.shell("true", driver=jobs.new_driver())
    driver = DockerDriver(
        replace(jobs.options(), endpoint=UnixEndpoint(str(tmp_path / "none"))),
        supplier="lab",
        gpus={"h100": 2},
        database_id="d",
        incarnation="1",
        directory=jobs.folder,
    )
    jobs.drivers.append(driver)
    with pytest.raises(EngineUnavailable) as unavailable:
        driver.submit(job.placement, job.workload, time.time())

    assert unavailable.value.never_sent
    for ask in (driver.identity, driver.list_placements, lambda: driver.forget(job.placement)):
        with pytest.raises(EngineUnavailable):
            ask()


def test_an_engine_that_hangs_is_given_up_soon(jobs: ContainerJobs) -> None:
    """And nobody takes that for a job that was never there."""
    job = jobs.shell("echo up; sleep 600").submit().until_printed(b"up")
    jobs.engine.pause()
    try:
        with pytest.raises(EngineUnavailable) as unavailable:
            job.poll()
    finally:
        jobs.engine.resume()

    assert not unavailable.value.never_sent
    assert job.poll().state is PlacementState.RUNNING


def test_another_worker_goes_on_with_the_output_where_a_killed_one_stopped(jobs: ContainerJobs) -> None:
    """Nothing is missing and nothing is there twice."""
    job = jobs.shell("i=0; while [ $i -lt 60 ]; do echo line $i; i=$((i+1)); sleep 0.1; done")
    job.submit()
    arguments = (
        (jobs.options(),),
        {
            "supplier": "lab",
            "gpus": {"h100": 2, "l40s": 2},
            "database_id": jobs.database_id,
            "incarnation": "1",
            "directory": jobs.folder,
        },
    )
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(pickle.dumps((arguments, job.placement, job.workload)))
        worker.stdin.close()
        while int(worker.stdout.readline()) < 20:
            pass
        worker.kill()
    kept = job.output()
    report = job.finish()

    assert report.state is PlacementState.COMPLETED
    assert job.output() == b"".join(b"line %d\n" % number for number in range(60))
    assert job.output().startswith(kept)
    assert len(kept) >= 20


def test_everything_of_ours_is_listed_until_it_is_forgotten(jobs: ContainerJobs) -> None:
    """With whose it is; another control plane's is left alone."""
    other = jobs.another()
    running = jobs.shell("echo up; sleep 600").submit().until_printed(b"up")
    ended = jobs.run("true")
    before = {(each.job_id, each.is_running) for each in other.list_placements()}
    other.forget(running.placement)
    other.forget(ended.placement)
    with pytest.raises(EngineUnavailable):
        running.driver.forget(running.placement)
    running.cancel()
    running.finish()
    found: list[Found] = [each for each in running.driver.list_placements() if each.job_id == ended.placement.job_id]
    for job in (running, ended):
        job.driver.forget(job.placement)
        job.driver.forget(job.placement)

    assert before == {(running.placement.job_id, True), (ended.placement.job_id, False)}
    assert [(each.attempt, each.database_id, each.incarnation) for each in found] == [(1, jobs.database_id, "1")]
    assert abs(found[0].created_at - time.time()) < PATIENCE_SECONDS
    assert running.driver.list_placements() == []
    assert running.poll().state is PlacementState.CANCELLED
    assert ended.poll().state is PlacementState.COMPLETED


def test_an_engine_has_one_identity_for_ever(jobs: ContainerJobs) -> None:
    """Whoever asks, and after a restart too."""
    first = jobs.driver.identity()
    jobs.engine.stop()
    jobs.engine.start_again()

    assert first
    assert jobs.driver.identity() == jobs.new_driver().identity() == first


def test_an_engine_on_which_another_control_plane_works_takes_nothing(jobs: ContainerJobs) -> None:
    """Unless both say which GPUs are theirs, and none is both's."""
    jobs.shell("echo up; sleep 600", driver=jobs.new_driver(gpu_indices=(0, 1))).submit().until_printed(b"up")
    sharing, greedy = jobs.another(gpu_indices=(2, 3)), jobs.another(gpu_indices=(1, 2))
    job = jobs.shell("true", driver=sharing).submit()

    assert job.finish().state is PlacementState.COMPLETED
    for driver in (greedy, jobs.another()):
        with pytest.raises(CapacityRefused):
            jobs.shell("true", driver=driver).submit()


def test_what_has_ended_keeps_no_other_control_plane_from_an_engine(jobs: ContainerJobs) -> None:
    """Such as the containers of one that is no more, which nobody forgets."""
    first = jobs.run("true")
    second = jobs.run("echo mine", driver=jobs.another())

    assert len(jobs.containers(first)) == 1
    assert second.output() == b"mine\n"


def test_an_engine_whose_disk_is_full_takes_nothing(jobs: ContainerJobs) -> None:
    """As much has to be left as the operator says."""
    job = jobs.shell("true", driver=jobs.new_driver(min_free_disk_bytes=1 << 60))
    with pytest.raises(CapacityRefused):
        job.submit()

    assert jobs.containers(job) == []


def test_an_output_that_the_engine_does_not_give_holds_no_job_for_ever(
    jobs: ContainerJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How it ended is known, and is reported after a while."""
    monkeypatch.setattr(Followers, "ensure", lambda *_: None)
    job = jobs.shell("echo lost").submit()
    eventually(lambda: job.poll().state is PlacementState.RUNNING and jobs.containers(job)[0]["State"] == "exited")
    held = job.poll().state
    monkeypatch.setattr(drivers, "OUTPUT_SECONDS", -PATIENCE_SECONDS)
    report = job.poll()

    output = job.output()

    assert (held, report.state) == (PlacementState.RUNNING, PlacementState.COMPLETED)
    assert output == CUT_MARKER
    assert job.driver.logs(job.placement, 9, len(output)).data == output[9:]
    assert job.driver.logs(job.placement, 9, len(output)).complete
    assert not job.driver.logs(job.placement, 0, 9).complete


def test_an_output_that_does_not_fit_on_the_disk_is_waited_for(
    jobs: ContainerJobs, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and nothing is missing when there is room again."""
    jobs.folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "nodus", jobs.folder], check=True)
    try:
        job = ended_unseen(jobs, "seq 200000")
        eventually(lambda: job.poll() is not None and "No space left" in caplog.text)
        first = job.poll().state
        for _ in range(5):
            eventually(lambda: job.poll().state is PlacementState.RUNNING)
        said = [each for each in caplog.records if "No space left" in each.getMessage()]
        subprocess.run(["mount", "-o", "remount,size=64m", jobs.folder], check=True)
        report = job.finish()
        output = job.output()
    finally:
        for driver in jobs.drivers:
            driver.close()
        subprocess.run(["umount", jobs.folder], check=True)

    assert first is PlacementState.RUNNING
    assert report.state is PlacementState.COMPLETED
    assert output == b"".join(b"%d\n" % number for number in range(1, 200_001))
    assert len(said) == 1
    assert "supplier lab" in said[0].getMessage()


def test_a_network_that_the_engine_does_not_remove_is_not_forgotten(
    jobs: ContainerJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's container is on it, for example."""
    job = jobs.run("true", driver=jobs.new_driver(network=BRIDGE))
    with monkeypatch.context() as patched:
        patched.setattr(Containers, "remove_network", lambda *_: False)
        with pytest.raises(EngineUnavailable, match="network"):
            job.driver.forget(job.placement)
    job.driver.forget(job.placement)

    assert jobs.engine.networks() == []


def test_why_a_program_cannot_be_started_yet_is_shown(jobs: ContainerJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where that is tried in the background."""

    def fail(*_: object) -> str:
        raise EngineUnavailable("it makes no networks today")

    monkeypatch.setattr(Containers, "make_network", fail)
    job = jobs.shell("true", driver=jobs.new_driver(network=BRIDGE))
    jobs.run("true")
    with pytest.raises(EngineUnavailable):
        job.submit()
    job.placement = replace(job.placement, is_accepted=True)

    eventually(lambda: job.poll().phase_detail == "it makes no networks today")


def test_an_output_is_waited_for_from_when_its_end_is_seen(
    jobs: ContainerJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program may have ended long before, while no worker was there to copy anything."""
    job = ended_unseen(jobs, "echo lost")
    monkeypatch.setattr(Followers, "ensure", lambda *_: None)
    late, at = jobs.new_driver(), [time.time() + 10 * drivers.OUTPUT_SECONDS]
    find: Callable[..., tuple[Container | None, float]] = late._containers.find
    monkeypatch.setattr(late._containers, "find", lambda *what, **more: (find(*what, **more)[0], at[0]))
    states = []
    for waited in (0.0, drivers.OUTPUT_SECONDS - 1, 1.0):
        at[0] += waited
        states.append(job.poll(late).state)

    assert states == [PlacementState.RUNNING, PlacementState.RUNNING, PlacementState.COMPLETED]


def test_many_lines_of_a_program_that_has_ended_are_kept_in_few_writes(
    jobs: ContainerJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine may send each line by itself."""
    job = ended_unseen(jobs, "seq 20000")
    sizes: list[int] = []
    append = Writer.append

    def counted(writer: Writer, data: bytes) -> None:
        sizes.append(len(data))
        append(writer, data)

    monkeypatch.setattr(Writer, "append", counted)
    report = job.finish()

    assert report.state is PlacementState.COMPLETED
    assert job.output() == b"".join(b"%d\n" % number for number in range(1, 20_001))
    assert len(sizes) < 100


def test_outputs_stop_being_copied_when_the_driver_is_closed(jobs: ContainerJobs) -> None:
    """Its threads end, and the next one goes on at once."""
    first = jobs.new_driver()
    job = jobs.shell("echo one; sleep 2; echo two", driver=first).submit().until_printed(b"one")
    first.close()
    job.driver = jobs.driver
    eventually(lambda: job.poll().state is PlacementState.COMPLETED)

    assert job.output() == b"one\ntwo\n"
