"""A job that asked for a GPU never runs without it, whatever its engine makes of the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodus_control.suppliers.protocol import PlacementState, SubmissionRefused
from nodus_core.suppliers_file import NVIDIA

if TYPE_CHECKING:
    from containers.conftest import ContainerJobs

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")


def test_a_job_without_its_gpus_does_not_run(jobs: ContainerJobs) -> None:
    """Docker refuses to start it; Podman would run it without."""
    jobs.run("true")
    driver = jobs.new_driver(gpu_devices=NVIDIA)
    report = (job := jobs.shell("echo ran", driver=driver)).submit().finish()

    assert (report.state, report.error_code) == (PlacementState.NOT_STARTED, "gpu_not_attached")
    assert (report.started_at, job.output()) == (None, b"")


def test_a_device_that_is_not_there_is_not_done_without(jobs: ContainerJobs) -> None:
    """Where a path stands for a GPU."""
    jobs.run("true")
    driver = jobs.new_driver(gpu_devices=("/dev/nodus-none", *DEVICES[1:]))
    job = jobs.shell("echo ran", driver=driver).submit()
    report = job.finish()

    assert report.state is PlacementState.NOT_STARTED
    assert (report.started_at, job.output()) == (None, b"")


@pytest.mark.parametrize(
    ("gpu", "indices", "expected"), [("h100", (1,), ["/dev/zero"]), ("l40s", (0, 1), ["/dev/full", "/dev/random"])]
)
def test_a_job_gets_the_devices_of_its_slots(
    jobs: ContainerJobs, gpu: str, indices: tuple[int, ...], expected: list[str]
) -> None:
    """They are numbered through all models, in the order of the file."""
    driver = jobs.new_driver(gpu_devices=DEVICES)
    job = jobs.run("true", driver=driver, gpu=gpu, gpu_indices=indices)
    assert job.last is not None
    attached = jobs.engine.inspect(job.last.engine_ref)["HostConfig"]["Devices"]

    assert job.last.state is PlacementState.COMPLETED
    assert [each["PathOnHost"] for each in attached] == expected


def test_a_job_whose_slots_are_not_known_is_refused(jobs: ContainerJobs) -> None:
    """It would run on another's GPU, or on none."""
    driver = jobs.new_driver(gpu_devices=DEVICES)
    job = jobs.shell("true", driver=driver, gpu="l40s", gpu_indices=(2,))
    with pytest.raises(SubmissionRefused):
        job.submit()

    assert jobs.containers(job) == []
