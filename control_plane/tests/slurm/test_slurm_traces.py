"""The driver on a real cluster: what others can see of a job, what repeats, and what is left of it."""

from __future__ import annotations

import os
import stat
import time

import pytest
from patience import eventually
from servers.slurm import SlurmCluster
from slurm.cluster_jobs import DATABASE, ClusterJob, Whose, driver_of, options_of

from nodus_control.suppliers.protocol import Placement, PlacementState
from nodus_control.suppliers.slurm.driver import SlurmDriver, make_slurm_driver


def test_nothing_secret_is_in_arguments_or_left_in_files(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """While the program runs, its variables are in its own environment alone; nor can others enter its folder."""
    secret = "a-password-that-nobody-sees"
    job = ClusterJob(driver, slurm, ["sh", "-c", "echo up; sleep 600"], env={"PASSWORD": secret}).submit()
    job.running().prints(b"up")
    told = slurm.command("scontrol", "show", "job", "--details")
    files = [path for path in job.folder.rglob("*") if path.is_file()]
    readable = b"".join(path.read_bytes() for path in files)
    arguments = b""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                arguments += file.read()
        except OSError:
            continue

    assert secret not in told
    assert secret.encode() not in readable
    assert secret.encode() not in arguments
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    folders = [job.folder.parent.parent, job.folder.parent, job.folder, job.folder / "work"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


def test_nothing_of_the_control_planes_environment_reaches_a_job(
    slurm: SlurmCluster, driver: SlurmDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sbatch` would hand on whatever it has."""
    monkeypatch.setenv("NODUS_KEY_ENCRYPTION_KEY", "of the control plane")
    job = ClusterJob(driver, slurm, ["env"]).submit()
    job.over()

    assert b"of the control plane" not in job.output()
    assert f"NODUS_JOB_ID={job.placement.job_id}\n".encode() in job.output()


def test_three_copies_of_a_script_run_its_program_once(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """Slurm has no submission that could be repeated, so the attempt's claim decides."""
    counter = slurm.folder / "runs"
    job = ClusterJob(driver, slurm, ["sh", "-c", f"echo ran >> {counter}; sleep 1"]).submit()
    for _ in range(2):
        slurm.command(
            "sbatch", f"--job-name={job.name}", "--gres=gpu:1", "--output=/dev/null", str(job.folder / "script")
        )
    report = job.over()
    eventually(lambda: slurm.jobs().count((job.name, "COMPLETED")) == 3, lambda: f"{slurm.jobs()}")

    assert report.state is PlacementState.COMPLETED
    assert counter.read_text() == "ran\n"


def test_submitting_again_is_no_second_submission(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """By this worker or by another, while it runs or after its end."""
    job = ClusterJob(driver, slurm, ["sh", "-c", "echo ran"]).submit()
    job.submit()
    driver_of(slurm).submit(job.placement, job.workload, time.time())
    job.over()
    job.submit()

    assert job.output() == b"ran\n"
    assert [name for name, _state in slurm.jobs()].count(job.name) == 1


def test_forgetting_keeps_the_output_and_that_it_never_runs_again(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """A starter that slept through all of it starts nothing."""
    job = ClusterJob(driver, slurm, ["sh", "-c", "echo ran; touch left"]).submit()
    job.over()

    def listed() -> list[tuple[int, str, str, bool]]:
        found = [each for each in driver.list_placements() if each.job_id == job.placement.job_id]
        return [(each.attempt, each.database_id, each.incarnation, each.is_running) for each in found]

    # Its script ends a moment after it has written down the program's end, and Slurm hears of that later.
    eventually(lambda: listed() == [(1, DATABASE, "first", False)], lambda: f"it is listed as {listed()}")
    driver.forget(job.placement)
    driver.forget(job.placement)
    job.submit()

    assert [each for each in driver.list_placements() if each.job_id == job.placement.job_id] == []
    assert job.output() == b"ran\n"
    assert not (job.folder / "work").exists()
    assert [name for name, _state in slurm.jobs()].count(job.name) == 1


def test_strays_are_named_whoever_they_belong_to(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """One that is in the queue and has no folder too."""
    other = SlurmDriver(options_of(slurm), Whose("db2", "later"))
    placement = Placement("job_of-another", 3, "cluster", "here", time.time())
    job = ClusterJob(driver, slurm, ["sleep", "600"])
    other.submit(placement, job.workload, time.time())
    slurm.command("sbatch", "--job-name=nodus-db3-job_stray-2", "--output=/dev/null", "--wrap=exec sleep 600")
    slurm.command("sbatch", "--job-name=somebody-elses", "--output=/dev/null", "--wrap=exec sleep 600")
    wanted = {("job_of-another", 3, "db2", "later", True), ("job_stray", 2, "db3", "", True)}

    def found() -> set[tuple[str, int, str, str, bool]]:
        return {
            (each.job_id, each.attempt, each.database_id, each.incarnation, each.is_running)
            for each in driver.list_placements()
            if each.database_id in ("db2", "db3")
        }

    eventually(lambda: found() == wanted, lambda: f"found {found()}")


def test_a_driver_is_not_made_of_a_folder_that_could_be_anywhere(slurm: SlurmCluster) -> None:
    """Nor of a database whose id is no part of a name."""
    with pytest.raises(ValueError, match="absolute path"):
        make_slurm_driver(options_of(slurm, folder="nodus"), Whose("db1"))
    with pytest.raises(ValueError, match="cannot be part of a name"):
        make_slurm_driver(options_of(slurm), Whose("a b"))
