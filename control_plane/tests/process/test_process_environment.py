"""A program gets what its job gave over a documented minimum, and nothing of the control plane's; secrets stay put."""

from __future__ import annotations

import json
import logging
import os
import pathlib
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import pytest

import nodus_control.runner
from nodus_control.runner import attempt_files, processes
from nodus_control.runner.specification import Specification
from nodus_control.suppliers.process.driver import ProcessDriver
from nodus_control.suppliers.protocol import PlacementState, SubmissionRefused

if TYPE_CHECKING:
    from process.conftest import RealJobs

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")

SECRET = f"xyzzy-{uuid.uuid4().hex}-plugh"
SHOW_ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"


def test_the_environment_is_the_jobs_over_the_documented_minimum(
    jobs: RealJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly that: no variable of the control plane's is among them."""
    monkeypatch.setenv("NODUS_API_KEY", "nk_live_of_the_control_plane")
    job = jobs.start_python(SHOW_ENVIRONMENT, env={"EPOCHS": "3", "GREETING": "grüß dich"})
    assert job.finish().state is PlacementState.COMPLETED

    seen = json.loads(job.output())
    # What CPython itself may add when it starts (PEP 538).
    seen.pop("LC_CTYPE", None)
    own = os.path.dirname(os.path.abspath(sys.executable))
    assert seen == {
        "PATH": f"{own}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(job.directory / "work"),
        "TMPDIR": str(job.directory / "tmp"),
        "LANG": "C.UTF-8",
        "NODUS_JOB_ID": job.placement.job_id,
        "NODUS_ATTEMPT": "1",
        "NODUS_WORK_DIR": str(job.directory / "work"),
        "EPOCHS": "3",
        "GREETING": "grüß dich",
        "NODUS_TEST_TOKEN": job.token,
    }


def test_the_jobs_own_values_win(jobs: RealJobs) -> None:
    """Name by name, those of the minimum included."""
    given = {"PATH": "/bin:/usr/bin", "HOME": "/", "LANG": "C", "NODUS_ATTEMPT": "mine"}
    job = jobs.start_python(SHOW_ENVIRONMENT, env=given)
    job.finish()

    assert json.loads(job.output()).items() >= given.items()


def test_the_program_starts_in_a_directory_of_its_own(jobs: RealJobs) -> None:
    """Empty, private, and the same as HOME."""
    job = jobs.start_shell('pwd; ls -A; test "$PWD" = "$HOME"')

    assert job.finish().state is PlacementState.COMPLETED
    assert job.output() == os.fsencode(f"{job.directory / 'work'}\n")


@on_linux
def test_nothing_is_inherited_but_the_output(jobs: RealJobs) -> None:
    """stdin is empty, no other descriptor is open, no signal is ignored or blocked, the umask is private."""
    command = (
        "sh",
        "-c",
        "ls /proc/self/fd; grep -E 'SigIgn|SigBlk|Umask' /proc/self/status; readlink /proc/self/fd/0",
    )
    inherited = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    job = jobs.make(command).submit()
    os.close(inherited)
    job.finish()

    lines = job.output().decode().split()
    # `ls` has one more descriptor open, the directory that it lists.
    assert lines[:4] == ["0", "1", "2", "3"]
    assert lines[4:] == ["Umask:", "0077", "SigBlk:", "0" * 16, "SigIgn:", "0" * 16, "/dev/null"]


@on_linux
def test_secrets_are_in_no_argv_of_ours_and_in_no_file(jobs: RealJobs) -> None:
    """Environment and command go to the runner over a pipe; its own command line and environment hold neither."""
    gate = jobs.scratch / "gate"
    os.mkfifo(gate)
    # It waits by itself: a `sleep` would show this command line too, from its fork to its exec.
    script = f"echo ready; read line < {gate}; : {SECRET}"
    job = jobs.make(("sh", "-c", script), env={"TOKEN": SECRET}).submit().until_printed(b"ready")
    program = attempt_files.read_program(str(job.directory), job.key)
    claim = attempt_files.read_claim(str(job.directory), job.key)
    assert program is not None
    assert claim is not None
    assert claim.runner is not None

    needle = SECRET.encode()
    showing = {int(path.parent.name) for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if needle in _read(path)}
    # The program's own command line is the job's; everybody else's is ours.
    assert showing <= {program.process.pid, *processes.descendants(program.process.pid)}
    assert _read(pathlib.Path(f"/proc/{claim.runner.pid}/environ")) == b""
    gate.write_text("go\n")
    assert job.finish().state is PlacementState.COMPLETED
    job.until_removed()
    files = [path for path in jobs.state_dir.rglob("*") if path.is_file()]
    assert len(files) >= 4
    assert [path for path in files if needle in path.read_bytes()] == []


def test_a_failure_shows_nothing_of_what_was_given_or_printed(jobs: RealJobs) -> None:
    """The message is kept in the database and goes into webhooks; the output stays as it is, in its file."""
    job = jobs.make(("sh", "-c", "echo refused: $TOKEN; exit 1"), env={"TOKEN": SECRET}).submit()
    report = job.finish()

    assert report.error_message == "the program exited with code 1; what it printed is in the job's logs"
    assert job.output().decode() == f"refused: {SECRET}\n"


def test_a_failure_says_that_nothing_was_printed(jobs: RealJobs) -> None:
    """Nobody has to look for what is not there."""
    report = jobs.make(("false",)).submit().finish()

    assert report.error_message == "the program exited with code 1; it printed nothing"


def test_python_is_found(jobs: RealJobs) -> None:
    """`python` is the control plane's own interpreter, whatever else the machine has."""
    if not os.path.exists(os.path.join(os.path.dirname(sys.executable), "python")):
        pytest.skip("this interpreter has no `python` beside it")
    job = jobs.make(("python", "-c", "import sys; print(sys.prefix)")).submit()
    job.finish()

    assert job.output().decode() == f"{sys.prefix}\n"


def test_the_command_is_looked_up_on_the_jobs_path(jobs: RealJobs, tmp_path: pathlib.Path) -> None:
    """The control plane's own PATH is not used."""
    tool = tmp_path / "bin" / "only-here"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    job = jobs.make(("only-here",), env={"PATH": str(tool.parent)}).submit()
    job.finish()

    assert job.output() == b"found\n"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("no-such-command",), "command_not_found"),
        (("./train.py",), "command_not_found"),
        (("/etc/passwd",), "command_not_executable"),
        (("sh", "x" * 200_000), "could_not_start"),
    ],
    ids=["unknown", "relative", "not executable", "too long"],
)
def test_a_command_that_cannot_start_fails_and_costs_nothing(
    jobs: RealJobs, command: tuple[str, ...], code: str
) -> None:
    """The message says why, without the command; there is no start, hence no running time."""
    report = jobs.make(command).submit().finish()

    assert report.state is PlacementState.FAILED
    assert report.error_code == code
    assert report.error_message is not None
    assert "command" in report.error_message
    assert command[0] not in report.error_message
    assert report.started_at is None
    assert report.finished_at is not None


@pytest.mark.parametrize("command", [None, ()])
def test_a_job_without_a_command_is_refused(jobs: RealJobs, command: tuple[str, ...] | None) -> None:
    """There is no image to run."""
    with pytest.raises(SubmissionRefused, match="give the job a `command`") as caught:
        jobs.make(command).submit()
    assert caught.value.code == "command_required"


@pytest.mark.parametrize(
    ("command", "env"),
    [
        (("echo", f"{SECRET}\0"), {}),
        (("echo", f"{SECRET}\ud800"), {}),
        (("",), {}),
        (("true",), {"A": f"{SECRET}\0"}),
        (("true",), {"A=B": SECRET}),
        (("true",), {"": SECRET}),
    ],
)
def test_what_no_system_can_run_is_refused_and_not_shown(
    jobs: RealJobs, command: tuple[str, ...], env: dict[str, str]
) -> None:
    """It is refused before a runner is started."""
    with pytest.raises(SubmissionRefused) as caught:
        jobs.make(command, env=env).submit()
    assert caught.value.code == "invalid_command"
    assert SECRET not in str(caught.value)


def test_that_images_are_not_run_is_said_once(jobs: RealJobs, caplog: pytest.LogCaptureFixture) -> None:
    """In the control plane's log; the output of the program is its own."""
    with caplog.at_level(logging.WARNING):
        outputs = []
        for _ in range(2):
            job = jobs.make(("true",)).submit()
            job.finish()
            outputs.append(job.output())

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "not run" in caplog.text
    assert outputs == [b"", b""]


def test_a_job_id_cannot_leave_the_state_directory(jobs: RealJobs) -> None:
    """Ids come from the control plane; a path is refused all the same."""
    for job_id in ("..", ".", "a/b", "", "a\n"):
        job = jobs.make(("true",))
        with pytest.raises(ValueError, match="job id"):
            jobs.driver.logs(job.placement.__class__(job_id, 1, "s", "r", 0.0), 0, 1)


def test_a_system_without_posix_processes_is_refused(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At construction, with what to do instead."""
    monkeypatch.setattr("nodus_control.suppliers.process.driver.os", type("os", (), {"name": "nt"}))

    with pytest.raises(RuntimeError, match="name another one"):
        ProcessDriver(tmp_path, secret=b"")


def test_a_specification_does_not_show_itself() -> None:
    """It holds every secret of the job."""
    specification = Specification(("echo", SECRET), {"A": SECRET}, 1.5, 1.0, 1.0, 10, 0.0, SECRET.encode(), "/state")

    assert SECRET not in repr(specification)
    assert Specification.from_bytes(specification.to_bytes()) == specification


def test_a_runner_loads_the_standard_library_alone() -> None:
    """It starts in isolated mode without site-packages, and takes nothing of the control plane along."""
    package = pathlib.Path(nodus_control.runner.__file__)
    program = (
        f"import sys; sys.path.append({str(package.parents[2])!r})\n"
        "import nodus_control.runner.detach\n"
        "print(*{name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('nodus_control')))"
    )
    outcome = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    foreign, ours = outcome.stdout.splitlines()

    assert set(foreign.split()) <= {"nodus_control", "__main__"}
    assert all(name == "nodus_control" or name.startswith("nodus_control.runner") for name in ours.split())


def _read(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
