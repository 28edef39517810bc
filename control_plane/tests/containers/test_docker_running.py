"""A job's image runs as it was asked to, and how it ended, what it printed and how long it took are true."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import pytest
from containers.test_docker_once import CREATE, dead_at_start
from patience import PATIENCE_SECONDS
from servers.registry import Registry

from nodus_control.suppliers.protocol import PlacementState, SubmissionRefused

if TYPE_CHECKING:
    from containers.conftest import ContainerJobs


def test_a_program_runs_with_its_environment_and_ends_as_it_did(jobs: ContainerJobs) -> None:
    """Its exit code decides, and the engine's own times are what it took."""
    job = jobs.shell('echo "$GREETING $NODUS_JOB_ID $FROM_IMAGE"; sleep 1', env={"GREETING": "hi 'there'\n=x"}).submit()
    report = job.finish()

    assert report.state is PlacementState.COMPLETED
    assert job.output() == f"hi 'there'\n=x {job.placement.job_id} yes\n".encode()
    assert report.started_at is not None
    assert report.finished_at is not None
    assert 0.9 <= report.finished_at - report.started_at < 10.0  # between two readings of the engine's clock
    assert job.driver.logs(job.placement, 0, 10).complete is False
    assert job.driver.logs(job.placement, 0, 1000).complete is True


def test_a_program_that_fails_is_reported_with_its_code(jobs: ContainerJobs) -> None:
    """And what it printed on both streams is kept, in order."""
    job = jobs.run("printf out; printf err >&2; exit 3")

    assert job.last is not None
    assert (job.last.state, job.last.error_code) == (PlacementState.FAILED, "nonzero_exit")
    assert "code 3" in (job.last.error_message or "")
    assert sorted(job.output()) == sorted(b"outerr")


def test_a_command_replaces_the_images_and_its_entrypoint_stays(jobs: ContainerJobs, image_registry: Registry) -> None:
    """The same as on every other engine; without a command, the image's own runs."""
    image = image_registry.publish("entry", entrypoint=["echo", "entered"], command=["default"])
    given, own = jobs.make(["given"], image=image).submit(), jobs.make(None, image=image).submit()
    given.finish()
    own.finish()

    assert (given.output(), own.output()) == (b"entered given\n", b"entered default\n")


def test_output_is_kept_byte_for_byte(jobs: ContainerJobs) -> None:
    """5 MB that are no text, and the last byte is no line break.

    All in one stream: an engine reads the two apart, and keeps what has no line break until its stream ends.
    """
    printing = "cat /tmp/x; printf '\\n\\r\\n\\0'"
    job = jobs.run(f"head -c 5000000 /dev/urandom > /tmp/x; sha256sum /tmp/x | head -c 64; {printing}")
    output = job.output()

    assert output[:64].decode() == hashlib.sha256(output[64:5_000_064]).hexdigest()
    assert output[5_000_064:] == b"\n\r\n\0"


def test_a_command_that_is_not_in_the_image_fails_the_job(jobs: ContainerJobs) -> None:
    """The engines give it different codes."""
    job = jobs.make(["/no/such/program"]).submit()
    report = job.finish()

    assert (report.state, report.error_code) == (PlacementState.FAILED, "nonzero_exit")


def test_limits_hold_and_nothing_is_given_that_was_not_asked_for(jobs: ContainerJobs) -> None:
    """No capabilities, no new privileges, as many processes as are allowed, and an init that passes signals on."""
    driver = jobs.new_driver(pids=37, memory_bytes=64 << 20, cpus=0.5, shm_bytes=8 << 20)
    job = jobs.run(
        "cat /proc/self/status; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; cat /proc/1/comm;"
        "cat /proc/mounts",
        driver=driver,
    )
    said = job.output().decode()

    assert "CapEff:\t0000000000000000" in said
    assert "CapBnd:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said
    assert "size=8192k" in next(line for line in said.splitlines() if "/dev/shm" in line)
    inspected = jobs.engine.inspect(job.last.engine_ref if job.last else None)["HostConfig"]
    assert (inspected["PidsLimit"], inspected["Memory"], inspected["NanoCpus"]) == (37, 64 << 20, 500_000_000)


def test_a_program_that_takes_too_much_memory_fails(jobs: ContainerJobs) -> None:
    """Where the engine says why, so does the report."""
    driver = jobs.new_driver(memory_bytes=16 << 20)
    job = jobs.make(["tail", "/dev/zero"], driver=driver).submit()
    report = job.finish()

    assert report.state is PlacementState.FAILED
    assert "memory" in (report.error_message or "")


def test_a_program_ends_at_its_limit(jobs: ContainerJobs) -> None:
    """With SIGTERM, and with SIGKILL five seconds later: the end is the engine's."""
    gentle = jobs.shell("trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done", max_runtime_seconds=2).submit()
    stubborn = jobs.shell("trap '' TERM; while :; do sleep 0.1; done", max_runtime_seconds=1).submit()
    ends = [gentle.finish(), stubborn.finish()]

    for job, report in zip((gentle, stubborn), ends, strict=True):
        assert (report.state, report.error_code) == (PlacementState.FAILED, "max_runtime_exceeded")
        assert report.started_at is not None
        assert report.finished_at is not None
        assert report.finished_at - report.started_at >= job.workload.max_runtime_seconds
    assert gentle.output() == b"bye\n"


def test_a_program_ends_when_it_is_cancelled(jobs: ContainerJobs) -> None:
    """And what was printed until then is kept."""
    job = jobs.shell("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done").submit().until_printed(b"up")
    job.cancel()
    job.cancel()
    report = job.finish()

    assert report.state is PlacementState.CANCELLED
    assert report.started_at is not None
    assert job.output() == b"up\nbye\n"
    assert job.poll() == report


def test_what_is_cancelled_before_it_was_submitted_never_runs(jobs: ContainerJobs) -> None:
    """Whoever submits it afterwards starts nothing."""
    job = jobs.shell("echo ran")
    job.cancel()
    job.submit()
    report = job.finish()

    assert (report.state, report.started_at) == (PlacementState.CANCELLED, None)
    assert jobs.containers(job) == []


def test_an_image_that_does_not_exist_fails_the_job_without_a_run(
    jobs: ContainerJobs, image_registry: Registry
) -> None:
    """The reason is a code and a sentence of ours, without what the registry said."""
    job = jobs.make(["true"], image=f"{image_registry.host}/absent:7").submit()
    report = job.finish()

    assert (report.state, report.error_code, report.started_at) == (PlacementState.FAILED, "image_not_found", None)
    assert image_registry.host not in (report.error_message or "")


def test_an_image_that_has_come_since_another_job_failed_for_it_is_fetched(
    jobs: ContainerJobs, image_registry: Registry
) -> None:
    """At once: that it was not there is nothing that the next job is told."""
    name = f"late-{jobs.engine.kind}"
    early = jobs.make(["true"], image=f"{image_registry.host}/{name}:1").submit().finish()
    late = jobs.make(["echo", "here"], image=image_registry.publish(name)).submit()

    assert (early.state, early.error_code) == (PlacementState.FAILED, "image_not_found")
    assert late.finish().state is PlacementState.COMPLETED
    assert late.output() == b"here\n"


def test_an_image_that_is_not_there_yet_is_fetched_first(jobs: ContainerJobs, image_registry: Registry) -> None:
    """The submission does not wait for it."""
    image = image_registry.publish(f"fetched-{jobs.engine.kind}")
    job = jobs.make(["echo", "fetched"], image=image).submit()
    first = job.poll()
    report = job.finish()

    assert first.state in (PlacementState.PROVISIONING, PlacementState.RUNNING, PlacementState.COMPLETED)
    assert (report.state, job.output()) == (PlacementState.COMPLETED, b"fetched\n")


@pytest.mark.parametrize("image", ["ghcr.io/acme/train:v1", "busybox", "UPPER/case"])
def test_images_of_other_registries_are_refused(jobs: ContainerJobs, image: str, image_registry: Registry) -> None:
    """Nothing is asked of the engine."""
    driver = jobs.new_driver(registries=(image_registry.host,))
    with pytest.raises(SubmissionRefused) as refused:
        jobs.make(["true"], image=image, driver=driver).submit()

    assert refused.value.code == "cannot_run"


def test_a_network_without_a_container_is_found_and_removed(jobs: ContainerJobs) -> None:
    """Whoever made it died before the container was made."""
    jobs.run("true")
    driver = jobs.new_driver(network="bridge")
    job = jobs.shell("true", driver=driver)
    dead_at_start(driver, job, CREATE)
    made = jobs.engine.networks()
    (found,) = [each for each in driver.list_placements() if each.job_id == job.placement.job_id]
    driver.forget(job.placement)

    assert len(made) == 1
    assert (found.attempt, found.database_id, found.is_running) == (1, jobs.database_id, False)
    assert abs(found.created_at - time.time()) < PATIENCE_SECONDS
    assert jobs.engine.networks() == []


def test_each_placement_has_a_network_of_its_own_which_goes_with_it(jobs: ContainerJobs) -> None:
    """Two at the same time are on two."""
    driver = jobs.new_driver(network="bridge")
    made = [jobs.shell("echo up; sleep 60", driver=driver).submit().until_printed(b"up") for _ in range(2)]
    during = jobs.engine.networks()
    for job in made:
        job.cancel()
        job.finish()
        driver.forget(job.placement)

    assert len(during) == 2
    assert jobs.engine.networks() == []
    assert jobs.engine.containers() == []
