"""What a program can reach of the control plane, its runner and other jobs: contained, not contained, as a user."""

from __future__ import annotations

import json
import os
import pathlib
import pwd
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator

import pytest
from patience import eventually
from process.conftest import SECRET, RealJobs

from nodus_control.runner import attempt_files, processes
from nodus_control.runner.containment import AUTO, OFF, REQUIRED
from nodus_control.suppliers.process.driver import ProcessDriver
from nodus_control.suppliers.process.options import ProcessOptions, find_account, require_reachable
from nodus_control.suppliers.protocol import PlacementState

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems contain nothing")
as_root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become another user")

JOBS_UID = 61_234

READ_EVERYTHING = """
import json, os, sys
seen = {}
for path in sys.argv[1:]:
    try:
        seen[path] = len(os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(64))
    except OSError as exc:
        seen[path] = type(exc).__name__
print(json.dumps(seen), flush=True)
"""

WAIT_FOR_NAMES = """
import os, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
sys.argv[1:] = open(sys.argv[1]).read().split()
"""

DAEMON_WITHOUT_A_TRACE = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        for descriptor in range(3):
            os.close(descriptor)
        os.execve("/bin/sleep", ["{mark}", "600"], {{}})
    os._exit(0)
os.wait()
print("ready", flush=True)
time.sleep(600)
"""


def can_contain() -> bool:
    """Whether this machine can: asked of a process that is thrown away, as a runner does."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    from nodus_control.runner.containment import prepare

    os._exit(0 if prepare(AUTO) else 1)


contained = pytest.mark.skipif(
    sys.platform.startswith("linux") and not can_contain(), reason="this system lets no process contain another"
)


@pytest.fixture
def place() -> Iterator[pathlib.Path]:
    """A directory that other users can pass through."""
    made = pathlib.Path(tempfile.mkdtemp())
    made.chmod(0o711)
    yield made

    def is_gone() -> bool:
        # A runner removes its program's directories after the end, at the same time.
        shutil.rmtree(made, ignore_errors=True)
        return not made.exists()

    eventually(is_gone)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> str:
    """An account for jobs. There need not be one on the machine."""
    entry = pwd.struct_passwd(("nodus-jobs", "x", JOBS_UID, JOBS_UID, "", "/", "/bin/false"))
    monkeypatch.setattr(pwd, "getpwnam", lambda name: entry)
    return "nodus-jobs"


@contained
def test_a_contained_program_finds_its_own_directories_and_nothing_else_of_ours(
    jobs: RealJobs, tmp_path: pathlib.Path
) -> None:
    """The database, its key, its log and what else is called like it are empty, and no other job is there."""
    database = tmp_path / "a.db"
    for name in ("a.db", "a.db.key", "a.db-wal", "a.db.keys.json", "other.txt"):
        (tmp_path / name).write_bytes(b"secret")
    key = tmp_path / "key"
    key.write_bytes(b"secret")
    (tmp_path / "a.db.folder").mkdir()
    (tmp_path / "a.db.folder" / "secret").touch()
    jobs.start_shell("true").finish()
    driver = ProcessDriver(
        jobs.state_dir, secret=SECRET, options=ProcessOptions(hidden_files=(key,)), state_files=database
    )
    paths = sorted(map(str, tmp_path.iterdir()))
    job = jobs.make((sys.executable, "-c", READ_EVERYTHING, *paths, str(jobs.state_dir)), driver=driver).submit()
    assert job.finish().state is PlacementState.COMPLETED
    seen = json.loads(job.output())

    assert {path for path in paths if seen[path]} == {str(tmp_path / "other.txt"), str(jobs.state_dir)}
    assert seen[str(jobs.state_dir)] == 1


@contained
def test_a_contained_program_sees_and_signals_nothing_but_itself(jobs: RealJobs) -> None:
    """Not its runner, nor anything else of the same user; and it can gain no privilege."""
    job = jobs.start_shell(
        "ls /proc | grep -c '^[0-9]'; grep -E '^(NoNewPrivs|CapEff|CapBnd)' /proc/self/status; kill -9 -1; echo on"
    )
    job.finish()
    lines = job.output().decode().split()

    assert int(lines[0]) <= 5
    assert lines[1:7] == ["CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1"]


@contained
def test_nothing_of_a_contained_program_outlives_its_runner(jobs: RealJobs) -> None:
    """Not even what forked twice, has no environment, stands elsewhere and holds nothing of ours."""
    mark = f"left-{os.urandom(6).hex()}"
    job = jobs.start_python(DAEMON_WITHOUT_A_TRACE.format(mark=mark)).until_printed(b"ready")
    eventually(lambda: len(running(mark)) == 1)
    claim = attempt_files.read_claim(str(job.directory), job.key)
    assert claim is not None
    assert claim.runner is not None
    assert claim.is_contained
    os.kill(claim.runner.pid, signal.SIGKILL)
    eventually(lambda: running(mark) == [])
    report = job.finish()

    assert (report.state, report.error_code) == (PlacementState.LOST, "lost")
    assert report.error_message is not None
    assert "everything that it had started ended with the runner" in report.error_message


def test_what_hides_is_not_said_to_have_ended(jobs: RealJobs) -> None:
    """Where a program is not contained, it may outlive its runner; the message promises nothing else."""
    mark = f"left-{os.urandom(6).hex()}"
    driver = jobs.new_driver(options=ProcessOptions(containment=OFF))
    job = jobs.start_python(DAEMON_WITHOUT_A_TRACE.format(mark=mark), driver=driver).until_printed(b"ready")
    # It says so when it has forked: what it left may have to shed its environment yet.
    eventually(lambda: len(running(mark)) == 1)
    claim = attempt_files.read_claim(str(job.directory), job.key)
    assert claim is not None
    assert claim.runner is not None
    os.kill(claim.runner.pid, signal.SIGKILL)
    report = job.finish()
    for pid in running(mark):
        os.kill(pid, signal.SIGKILL)

    assert report.error_message is not None
    assert "would not have been found" in report.error_message


@pytest.mark.parametrize("containment", [AUTO, OFF])
def test_no_program_reads_the_memory_or_the_environment_of_its_runner(jobs: RealJobs, containment: str) -> None:
    """They hold the key of its records."""
    driver = jobs.new_driver(options=ProcessOptions(containment=containment))
    reader = jobs.start_python(
        WAIT_FOR_NAMES + READ_EVERYTHING,
        str(jobs.scratch / "what"),
        driver=driver,
    )
    claim = attempt_files.read_claim(str(reader.directory), reader.key)
    assert claim is not None
    assert claim.runner is not None
    names = [f"/proc/{claim.runner.pid}/{name}" for name in ("mem", "environ", "maps", "fd/0", "cwd/x")]
    (jobs.scratch / "draft").write_text(" ".join(names))
    os.rename(jobs.scratch / "draft", jobs.scratch / "what")
    reader.finish()

    seen = set(json.loads(reader.output()).values())
    assert seen == ({"FileNotFoundError"} if containment == AUTO and can_contain() else {"PermissionError"})


def test_a_program_is_held_to_its_limits(jobs: RealJobs) -> None:
    """How large a file may become, how much memory a process may fill, and no core is written."""
    options = ProcessOptions(file_bytes=1 << 20, memory_bytes=1 << 30)
    driver = jobs.new_driver(options=options)
    job = jobs.make(("sh", "-c", "ulimit -f; ulimit -d; ulimit -c"), driver=driver).submit()
    job.finish()

    assert job.output().split() == [b"2048", b"1048576", b"0"]


@as_root
@pytest.mark.parametrize("containment", [AUTO, OFF])
def test_commands_run_as_the_dedicated_user(place: pathlib.Path, account: str, containment: str) -> None:
    """Only its own two directories are its own; runner, records and output are not, and stay closed to it."""
    jobs = RealJobs(place / "state")
    driver = jobs.new_driver(options=ProcessOptions(user=account, containment=containment))
    own = shlex.quote(str(place / "state"))
    script = (
        "id -u; id -g; id -G; pwd; echo x > kept; stat -c '%u %a' . $TMPDIR; cd ..; cat claim.json output.log; "
        f"ls; rm -f claim.json; ls {own}; kill -9 {os.getpid()}; echo end"
    )
    job = jobs.make(("sh", "-c", script), driver=driver)
    report = job.submit().finish()
    text = job.output().decode()

    assert report.state is PlacementState.COMPLETED, text
    head = [*[str(JOBS_UID)] * 3, str(job.directory / "work"), *[f"{JOBS_UID} 700"] * 2]
    assert text.splitlines()[:6] == head
    assert text.endswith("end\n")
    assert '"runner"' not in text
    assert attempt_files.read_claim(str(job.directory), job.key) is not None
    jobs.end_all()


@as_root
def test_an_account_that_is_not_for_jobs_is_refused() -> None:
    """One that daemons share, the one that may do everything, and one that is not there."""
    for user in ("nobody", "root", "no-such-user-here"):
        with pytest.raises(RuntimeError, match=user):
            find_account(user)


@as_root
def test_a_place_that_the_user_cannot_reach_is_said_at_the_start(place: pathlib.Path, account: str) -> None:
    """The driver reports it once, instead of failing every job."""
    (place / "closed").mkdir(mode=0o700)
    require_reachable(place / "state", account)
    with pytest.raises(RuntimeError, match="closed to other users"):
        ProcessDriver(place / "closed" / "state", secret=SECRET, options=ProcessOptions(user=account))


@as_root
def test_where_nothing_can_be_contained_a_program_runs_without_or_not_at_all(
    jobs: RealJobs, tmp_path: pathlib.Path
) -> None:
    """As the operator wants it; here the runner may not enter namespaces, as in most containers."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("needs setpriv, of util-linux")
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nexec {setpriv} --bounding-set=-sys_admin --inh-caps=-sys_admin {sys.executable} "$@"\n'
    )
    python.chmod(0o755)

    def run(containment: str) -> tuple[PlacementState, str | None, bytes]:
        options = ProcessOptions(containment=containment)
        driver = ProcessDriver(jobs.state_dir, secret=SECRET, python=str(python), options=options)
        job = jobs.make(("sh", "-c", "echo ran"), driver=driver).submit()
        report = job.finish()
        return report.state, report.error_code, job.output()

    assert run(AUTO) == (PlacementState.COMPLETED, None, b"ran\n")
    assert run(REQUIRED) == (PlacementState.FAILED, "not_contained", b"")


def running(mark: str) -> list[int]:
    """The living processes that are called so."""
    found = []
    for entry in processes.entries():
        try:
            name = pathlib.Path(f"/proc/{entry.pid}/cmdline").read_bytes().split(b"\0")[0]
        except OSError:
            continue
        if entry.is_alive and name == mark.encode():
            found.append(entry.pid)
    return found
