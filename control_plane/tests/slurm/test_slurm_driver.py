"""The driver on a real cluster of two nodes: what becomes of a job when nothing goes wrong."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import sys
import time
from pathlib import Path

import pytest
from patience import eventually
from servers.slurm import SlurmCluster
from slurm.cluster_jobs import DATABASE, ClusterJob, driver_of, options_of

from nodus_control.suppliers.protocol import Placement, PlacementState, SubmissionRefused
from nodus_control.suppliers.slurm.driver import SlurmDriver, make_slurm_driver
from nodus_control.suppliers.slurm.options import SlurmContext, SshEndpoint
from nodus_control.suppliers.slurm.transport import ShellTransport


@pytest.fixture
def driver(slurm: SlurmCluster) -> SlurmDriver:
    return driver_of(slurm)


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
    assert slurm.jobs().count((job.name, "COMPLETED")) == 1


def test_a_job_that_waits_says_so_until_there_is_room(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """All GPUs of both nodes are taken by two others."""
    others = [ClusterJob(driver, slurm, ["sleep", "600"], gpus=8).submit().running() for _ in range(2)]
    job = ClusterJob(driver, slurm, ["true"]).submit()
    eventually(lambda: "Resources" in (job.poll().phase_detail or "") or "Priority" in (job.poll().phase_detail or ""))
    waiting = job.poll()
    others[0].cancel()

    assert (waiting.state, waiting.phase) == (PlacementState.PROVISIONING, "waiting_in_engine")
    assert waiting.engine_ref is not None
    assert waiting.engine_ref.isdigit()
    assert job.over().state is PlacementState.COMPLETED


def test_five_megabytes_of_any_bytes_come_back_as_they_were(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """In parts, by offset, both streams in one."""
    program = "import os, sys; data = bytes(range(256)) * 20000; os.write(2, b'err'); sys.stdout.buffer.write(data)"
    job = ClusterJob(driver, slurm, [sys.executable, "-c", program]).submit()
    job.over()
    parts = [driver.logs(job.placement, offset, 1_000_000) for offset in range(0, 6_000_000, 1_000_000)]
    data = b"".join(part.data for part in parts)

    assert hashlib.sha256(data).digest() == hashlib.sha256(b"err" + bytes(range(256)) * 20000).digest()
    assert [part.complete for part in parts] == [False] * 5 + [True]
    assert {part.total for part in parts} == {5_120_003}


def test_variables_and_words_arrive_whatever_is_in_them(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """Line breaks, quotes and what a shell would read; a name that the script uses itself is no trouble."""
    awkward = "first\nsecond 'single' \"double\" $HOME `id` \\ \t ünïcödé \U0001f680\n\n"
    env = {"AWKWARD": awkward, "timeout": "x", "program": "y", "local": "z", "NODUS_ATTEMPT": "mine"}
    program = "import os, sys; print(ascii([os.environ[n] for n in sys.argv[2].split()] + [sys.argv[1]]))"
    job = ClusterJob(driver, slurm, [sys.executable, "-c", program, awkward, " ".join(env)], env=env).submit()

    assert job.over().state is PlacementState.COMPLETED
    assert job.output().decode() == ascii([*env.values(), awkward]) + "\n"


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


def test_the_limit_is_in_seconds_though_slurms_is_in_minutes(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """It is the net."""
    job = ClusterJob(driver, slurm, ["sleep", "600"], limit_seconds=2).submit()
    report = job.over()

    assert report.error_code == "max_runtime_exceeded"
    assert report.started_at is not None
    assert report.finished_at is not None
    assert report.finished_at - report.started_at >= 2.0


def test_a_program_that_ends_itself_upon_term_is_let_do_so(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """It has five seconds, and hears of it once."""
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), sys.exit(0)))\n"
        "print('up', flush=True); time.sleep(600)"
    )
    job = ClusterJob(driver, slurm, [sys.executable, "-c", program]).submit().running().prints(b"up")
    job.cancel()
    job.cancel()
    report = job.over()

    assert report.state is PlacementState.CANCELLED
    assert job.output() == b"up\nsaved\n"
    assert report.started_at is not None


def test_a_program_that_does_not_hear_is_killed(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """With what it started."""
    job = ClusterJob(driver, slurm, ["sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.1; done"]).submit()
    pid = int(job.running().prints(b"\n").output())
    job.cancel()

    assert job.over().state is PlacementState.CANCELLED
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))


def test_what_is_cancelled_while_it_waits_never_runs(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """Slurm forgets it, and a copy that was on its way finds that it was taken."""
    others = [ClusterJob(driver, slurm, ["sleep", "600"], gpus=8).submit().running() for _ in range(2)]
    job = ClusterJob(driver, slurm, ["echo", "ran"]).submit()
    job.cancel()
    report = job.over()
    script = job.folder / "script"
    copy = ["--parsable", f"--job-name={job.name}", "--output=/dev/null", str(script)]
    for other in others:
        other.cancel()
    late = slurm.command("sbatch", *copy).strip()
    eventually(lambda: "COMPLETED" in slurm.command("squeue", "--noheader", "--states=all", f"--jobs={late}", "-o%T"))

    assert (report.state, report.started_at) == (PlacementState.NOT_STARTED, None)
    assert not (job.folder / "output").exists()
    assert not (job.folder / "secret").exists()


def test_cancelling_what_was_never_submitted_keeps_it_from_running(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """Whoever submits it afterwards starts nothing."""
    job = ClusterJob(driver, slurm, ["echo", "ran"])
    job.cancel()
    job.submit()

    assert job.over().state is PlacementState.NOT_STARTED
    assert job.name not in [name for name, _state in slurm.jobs()]


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


def test_an_image_is_run_by_the_operators_template(slurm: SlurmCluster) -> None:
    """A stand-in for a container engine prints what it was asked."""
    engine = slurm.folder / "engine"
    engine.write_text('#!/bin/sh\nfor word in "$@"; do printf "<%s>" "$word"; done; printf "%s" "$SECRET"\n')
    engine.chmod(0o755)
    template = (str(engine), "run", "{env}", "--volume={work}:/nodus/work", "{image}")
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


def test_forgetting_keeps_the_output_and_that_it_never_runs_again(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """A starter that slept through all of it starts nothing."""
    job = ClusterJob(driver, slurm, ["sh", "-c", "echo ran; touch left"]).submit()
    job.over()
    listed = [each for each in driver.list_placements() if each.job_id == job.placement.job_id]
    driver.forget(job.placement)
    driver.forget(job.placement)
    job.submit()

    assert [(each.attempt, each.database_id, each.incarnation, each.is_running) for each in listed] == [
        (1, DATABASE, "first", False)
    ]
    assert [each for each in driver.list_placements() if each.job_id == job.placement.job_id] == []
    assert job.output() == b"ran\n"
    assert not (job.folder / "work").exists()
    assert [name for name, _state in slurm.jobs()].count(job.name) == 1


def test_strays_are_named_whoever_they_belong_to(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """One that is in the queue and has no folder too."""
    other = SlurmDriver(options_of(slurm), SlurmContext("db2", "later"))
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
            if each.database_id != DATABASE
        }

    eventually(lambda: found() == wanted, lambda: f"found {found()}")


def test_a_cluster_is_the_same_one_for_every_worker(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """And another folder is another one."""
    elsewhere = driver_of(slurm, folder=str(slurm.folder / "elsewhere"))

    assert driver.identity() == driver_of(slurm).identity()
    assert driver.identity().startswith("slurm:nodus-tests:")
    assert elsewhere.identity() != driver.identity()


def test_a_driver_is_not_made_of_a_folder_that_could_be_anywhere(slurm: SlurmCluster) -> None:
    """Nor of a database whose id is no part of a name."""
    with pytest.raises(ValueError, match="absolute path"):
        make_slurm_driver(options_of(slurm, folder="nodus"), SlurmContext("db1"))
    with pytest.raises(ValueError, match="cannot be part of a name"):
        make_slurm_driver(options_of(slurm), SlurmContext("a b"))


def test_output_over_the_limit_is_cut_there_and_marked(slurm: SlurmCluster) -> None:
    """The program goes on, and does not notice."""
    driver = SlurmDriver(options_of(slurm), SlurmContext(DATABASE), output_limit_bytes=4096)
    job = ClusterJob(driver, slurm, [sys.executable, "-c", "print('x' * 100_000); raise SystemExit(0)"]).submit()

    assert job.over().state is PlacementState.COMPLETED
    assert job.output() == b"x" * 4096 + b"\n[output over 4096 bytes was not kept]\n"


def test_a_program_that_kills_itself_is_told_from_one_that_exits(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """By the name of the signal."""
    job = ClusterJob(driver, slurm, ["sh", "-c", f"kill -{int(signal.SIGKILL)} $$"]).submit()

    assert job.over().error_message == "the program was ended by signal 9 (SIGKILL)"


def test_through_ssh_everything_is_the_same(slurm: SlurmCluster, tmp_path: Path) -> None:
    """A stand-in gives the command to a shell, as the other side does, with an environment of its own."""
    ssh = tmp_path / "ssh"
    ssh.write_text(
        '#!/bin/sh\nfor last in "$@"; do :; done\n'
        f'exec env -i PATH="{os.environ["PATH"]}" HOME="{tmp_path}" SLURM_CONF="{slurm.configuration}" sh -c "$last"\n'
    )
    ssh.chmod(0o755)
    transport = ShellTransport(SshEndpoint("login.example", "nodus"), ssh=str(ssh))
    driver = SlurmDriver(options_of(slurm), SlurmContext(DATABASE), transport=transport)
    value = "two\nlines 'and' \"quotes\" $HOME"
    job = ClusterJob(driver, slurm, ["sh", "-c", 'printf %s "$V"; exec sleep 600'], env={"V": value}).submit()
    job.running().prints(value.encode())
    job.cancel()

    assert job.over().state is PlacementState.CANCELLED
    assert job.output() == value.encode()
    assert driver.identity() == driver_of(slurm).identity()
    driver.forget(job.placement)
    assert [each.job_id for each in driver.list_placements() if each.job_id == job.placement.job_id] == []
