"""The driver on a real cluster of two nodes: a job gets what it asked for, and what it did is known."""

from __future__ import annotations

import sys

import pytest
from patience import eventually
from servers.slurm import GPUS_OF_A_NODE, SlurmCluster
from slurm.cluster_jobs import DATABASE, ClusterJob, Whose, driver_of, options_of

from nodus_control.suppliers.protocol import CapacityRefused, PlacementState, SubmissionRefused
from nodus_control.suppliers.slurm.driver import SlurmDriver


def test_a_command_runs_once_and_its_exit_status_and_times_are_true(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """The program's own clock is the witness: it and the node are this host."""
    program = "import sys, time; print(time.time(), flush=True); time.sleep(1); print(time.time()); sys.exit(7)"
    job = ClusterJob(driver, slurm, [sys.executable, "-c", program]).submit()
    report = job.over()
    began, ended = map(float, job.output().split())

    assert (report.state, report.error_code) == (PlacementState.FAILED, "nonzero_exit")
    assert report.error_message == "the program exited with code 7"
    assert report.started_at is not None
    assert report.finished_at is not None
    assert report.started_at <= began + 0.1
    assert report.finished_at >= ended - 0.1
    eventually(lambda: slurm.jobs().count((job.name, "COMPLETED")) == 1, lambda: f"{slurm.jobs()}")
    assert [name for name, _state in slurm.jobs()].count(job.name) == 1


def test_variables_and_words_arrive_whatever_is_in_them(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """Line breaks, quotes and what a shell would read; a name that the script uses itself is no trouble."""
    awkward = "first\nsecond 'single' \"double\" $HOME `id` \\ \t ünïcödé \U0001f680\n\n"
    env = {"AWKWARD": awkward, "timeout": "x", "program": "y", "local": "z", "NODUS_ATTEMPT": "mine"}
    program = "import os, sys; print(ascii([os.environ[n] for n in sys.argv[2].split()] + [sys.argv[1]]))"
    job = ClusterJob(driver, slurm, [sys.executable, "-c", program, awkward, " ".join(env)], env=env).submit()

    assert job.over().state is PlacementState.COMPLETED
    assert job.output().decode() == ascii([*env.values(), awkward]) + "\n"


def test_a_job_gets_the_gpus_that_it_asked_for(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """Slurm gives them out, and two jobs on one node never get the same."""
    program = "echo $CUDA_VISIBLE_DEVICES; exec sleep 600"
    jobs = [ClusterJob(driver, slurm, ["sh", "-c", program], gpus=3).submit() for _ in range(4)]
    given = [job.running().prints(b"\n").output().decode().strip().split(",") for job in jobs]
    allocated = slurm.command("scontrol", "show", "node")

    assert [len(each) for each in given] == [3, 3, 3, 3]
    assert allocated.count("gres/gpu=6") == 2 or "gres/gpu" not in allocated
    assert sorted(map(tuple, given)).count(tuple(given[0])) <= 2


def test_a_job_that_was_not_given_its_gpus_is_not_started(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """Whoever put its script into the queue without them."""
    job = ClusterJob(driver, slurm, ["echo", "ran"], gpus=2)
    job.submit(holds=lambda: False)
    slurm.command("sbatch", f"--job-name={job.name}", "--output=/dev/null", str(job.folder / "script"))
    report = job.over()

    assert (report.state, report.error_code) == (PlacementState.NOT_STARTED, "no_gpus")
    assert not (job.folder / "output").exists()


@pytest.mark.parametrize(
    ("gpu_names", "count"),
    [({}, 1), ({"h100_80gb": "l40s"}, 1), ({"h100_80gb": "h100"}, GPUS_OF_A_NODE + 1)],
    ids=["not mapped", "mapped to what is not there", "more than a node has"],
)
def test_a_job_whose_gpus_the_cluster_does_not_have_never_runs(
    slurm: SlurmCluster, gpu_names: dict[str, str], count: int
) -> None:
    """The cluster refuses it, another is tried, and the attempt costs nothing."""
    job = ClusterJob(driver_of(slurm, gpu_names=gpu_names), slurm, ["echo", "ran"], gpus=count)
    with pytest.raises(CapacityRefused):
        job.submit()
    report = job.poll()

    assert (report.state, report.started_at) == (PlacementState.NOT_STARTED, None)
    assert {state for name, state in slurm.jobs() if name == job.name} <= {"FAILED"}
    assert not (job.folder / "output").exists()


def test_a_job_that_asks_for_a_gpu_is_never_put_into_a_container_without_one(slurm: SlurmCluster) -> None:
    """Nothing of it reaches the cluster."""
    driver = driver_of(slurm, image_command=("podman", "run", "{env}", "{image}"))
    job = ClusterJob(driver, slurm, ["true"], image="docker.io/library/busybox:1")

    with pytest.raises(SubmissionRefused) as refused:
        job.submit()
    assert refused.value.code == "cannot_run"
    assert not job.folder.exists()


def test_an_image_is_run_by_the_operators_template(slurm: SlurmCluster) -> None:
    """A stand-in for a container engine prints what it was asked."""
    engine = slurm.folder / "engine"
    engine.write_text('#!/bin/sh\nfor word in "$@"; do printf "<%s>" "$word"; done; printf "%s" "$SECRET"\n')
    engine.chmod(0o755)
    template = (str(engine), "run", "--gpus=all", "{env}", "--volume={work}:/nodus/work", "{image}")
    stopped = slurm.folder / "stopped"
    driver = driver_of(slurm, image_command=template, stop_command=("touch", str(stopped)))
    job = ClusterJob(
        driver, slurm, ["train", "a b; $(id)"], env={"SECRET": "two\nlines"}, image="docker.io/library/busybox:1"
    ).submit()
    job.over()
    said = job.output().decode()

    assert "<--env=SECRET>" in said
    assert "<--env=CUDA_VISIBLE_DEVICES>" in said
    assert f"<--volume={job.folder}/work:/nodus/work>" in said
    assert said.endswith("<docker.io/library/busybox:1><train><a b; $(id)>two\nlines")
    assert stopped.exists()


def test_an_image_without_a_template_is_refused_and_never_run_without_it(
    slurm: SlurmCluster, driver: SlurmDriver
) -> None:
    """Nothing of it reaches the cluster."""
    job = ClusterJob(driver, slurm, ["true"], image="docker.io/library/busybox:1")

    with pytest.raises(SubmissionRefused) as refused:
        job.submit()
    assert refused.value.code == "cannot_run"
    assert not job.folder.exists()


def test_output_over_the_limit_is_cut_there_and_marked(slurm: SlurmCluster) -> None:
    """The program goes on, and does not notice."""
    driver = SlurmDriver(options_of(slurm), Whose(DATABASE), output_limit_bytes=4096)
    job = ClusterJob(driver, slurm, [sys.executable, "-c", "print('x' * 100_000); raise SystemExit(0)"]).submit()

    assert job.over().state is PlacementState.COMPLETED
    assert job.output() == b"x" * 4096 + b"\n[output over 4096 bytes was not kept]\n"
