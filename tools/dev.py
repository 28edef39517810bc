"""Everything a developer runs, from a fresh clone on: `python3 tools/dev.py demo`, `python3 tools/dev.py test`.

It makes `.venv`, with the project and its tools in it, and runs sessions of noxfile.py there: `checks` and `test` run
several, five more at once than there are cores, because tests wait for much of their time; `test --checks` runs both,
side by side. `setup` makes `.venv` only.
Any other task is a session: `dev.py --list` names them. As root on Debian, `--install` (or CI=true) installs missing
system packages too. Standard library only; what stands above the first check is read by old Pythons as well.
"""

import sys

if sys.version_info < (3, 10):
    sys.exit(
        "Nodus needs Python 3.10 or newer, and this is {}.{} ({}).\n"
        "Run this with a newer one, for example: python3.12 tools/dev.py {}".format(
            sys.version_info[0], sys.version_info[1], sys.executable, " ".join(sys.argv[1:])
        )
    )

import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import system_packages

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
REQUIREMENTS = ["--editable", ".[trio]", "--editable", "./control_plane[postgres,redis,stripe]", "--group", "dev"]
PROGRAMS = {"demo": "examples/demo.py", "generate": "tools/unasync_build.py"}
STAGES = {
    "checks": [["checks"]],
    "test": [["test"], ["coverage"]],
    "test --checks": [["checks", "test"], ["coverage"]],
}
"""The tags of the sessions of a task, stage by stage: those of one run side by side, the next only if none failed."""
KEYS = [getattr(signal, name) for name in ("SIGINT", "SIGQUIT") if hasattr(signal, name)]
"""The signals that a terminal sends to all that share it."""
ENDINGS = [*KEYS, *(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))]
"""The signals that end a program unless it handles them."""


def main(arguments: list[str]) -> int:
    """Run one task; return its exit status."""
    may_install = "--install" in arguments[:2] or os.environ.get("CI") == "true"
    if "--install" in arguments[:2]:
        arguments.remove("--install")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: python3 tools/dev.py [--install] TASK [ARGUMENTS FOR IT ...]\n\n{__doc__}")
        return 0 if arguments else 2
    task, *rest = arguments
    if task == "test" and rest[:1] == ["--checks"]:
        task, *rest = f"{task} {rest[0]}", *rest[1:]
    rest = rest[1:] if rest[:1] == ["--"] else rest
    with alone(), ThreadPoolExecutor(1) as aside:  # Each waits for the network for much of its time.
        needs_servers = may_install and task in ("test", "test --checks", "soak")
        servers = aside.submit(system_packages.install_servers, ROOT) if needs_servers else None
        python = prepare(may_install)
        if servers is not None:
            servers.result()
    if task == "setup":
        return 0
    if task in PROGRAMS:
        return run_all({task: [python, str(ROOT / PROGRAMS[task]), *rest]})
    nox = [python, "-m", "nox", "--non-interactive"]
    if task == "--list":
        return run_all({task: [*nox, task]})
    with alone():
        for configuration in (ROOT / ".nox").glob("*/pyvenv.cfg"):
            if not (configuration.parent / "installed").exists():  # A run was killed while it made this one.
                shutil.rmtree(configuration.parent)
        status = 0
        for names in [sessions_of(nox, tags) for tags in STAGES[task]] if task in STAGES else [[task]]:
            arguments = ["--", *rest] if rest else []
            status = status or run_all({name: [*nox, "--session", name, *arguments] for name in names})
        return status


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait for other runs in this folder; the system lets go of the lock however a run ends."""
    with (ROOT / ".venv.lock").open("w") as file:
        if os.name == "posix":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("Another run is under way in this folder; waiting for it.", file=sys.stderr, flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fingerprint(*requirements: str) -> str:
    """A digest of everything that decides what an environment of this folder holds."""
    files = [ROOT / "pyproject.toml", ROOT / "control_plane/pyproject.toml"]
    files += [ROOT / "src/nodus/_version.py", ROOT / "control_plane/src/nodus_control/version.py"]
    contents = [file.read_text(encoding="utf-8") for file in files if file.exists()]
    return hashlib.sha256(json.dumps([str(ROOT), contents, requirements]).encode()).hexdigest()


def prepare(may_install: bool = False) -> str:
    """Make `.venv` what it should be, and return its Python. The file `made` in it says what was installed last.

    That file is empty while pip works: an environment whose making was cut short is made again.
    """
    made, wanted = VENV / "made", fingerprint(*REQUIREMENTS)
    python = str(VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    before = made.read_text() if made.exists() else None
    works = VENV.exists() and works_as_expected(python)
    if before == wanted and works:
        return python
    if before is None and VENV.exists() and not works:
        raise SystemExit(f"tools/dev.py: {VENV} is there, but not made by this tool, and does not work: remove it.")
    if VENV.exists() and (before == "" or not works):
        shutil.rmtree(VENV)
    fresh = not VENV.exists()
    print("Making .venv: a minute or so ..." if fresh else "Bringing .venv up to date ...", file=sys.stderr, flush=True)
    if fresh and may_install and importlib.util.find_spec("ensurepip") is None:
        system_packages.install("python{}.{}-venv".format(*sys.version_info[:2]))
    VENV.mkdir(exist_ok=True)
    made.write_text("")
    try:
        if fresh:
            run_quietly([getattr(sys, "_base_executable", None) or sys.executable, "-m", "venv", str(VENV)])
        # Older ones, such as those that come with Python, do not know dependency groups.
        run_quietly([python, "-m", "pip", "install", "--quiet", "pip>=25.1"])
        run_quietly([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS])
    except SystemExit:
        if fresh:
            shutil.rmtree(VENV)
        else:  # pip ended by itself: what was installed before still works.
            made.write_text(before or "an environment that somebody else made")
        raise
    made.write_text(wanted)
    return python


def works_as_expected(python: str) -> bool:
    """Whether an environment has a Python, and pip."""
    command = [python, "-I", "-c", "import sys, pip; sys.exit(sys.version_info < (3, 10))"]
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True).returncode == 0
    return False


def run_quietly(command: Sequence[str]) -> None:
    """Run a step of the set-up; if it fails, end with what it printed."""
    # Packages that another Python's path points to would count as installed.
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    variables.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1", PIP_USER="0")
    done = subprocess.run(
        command, cwd=ROOT, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
        hint = "A package index must be reachable: PIP_INDEX_URL names another one than `pip config list` shows."
        if "venv" in command:
            hint = "On Debian and Ubuntu, apt-get install python{}.{}-venv.".format(*sys.version_info[:2])
        raise SystemExit(f"{said}\ntools/dev.py: `{' '.join(command)}` failed. {hint}")


def environment() -> dict[str, str]:
    """This process's variables, with the programs of `.venv` found first, and Pythons that pyenv or uv keeps at all.

    And without one that containers often set: sessions, and the hundreds of programs that tests start, would each
    compile anew what another has compiled.
    """
    scripts = str(VENV / ("Scripts" if os.name == "nt" else "bin"))
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PATH": os.pathsep.join([scripts, os.environ.get("PATH", os.defpath), *kept_pythons()])}


@functools.lru_cache(maxsize=1)
def kept_pythons() -> list[str]:
    """The folders of the Pythons that pyenv and uv keep, selected or not, where these programs are here."""
    keepers = [(["pyenv", "root"], "versions/3.*/bin"), (["uv", "python", "dir"], "cpython-3.*/bin")]
    found: list[str] = []
    for command, folders in keepers:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            found += sorted(str(folder) for folder in Path(said.strip()).glob(folders))
    return found


def cores() -> int:
    """How many cores this process may use: a container may have fewer than the machine."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        usable = min(usable, round(int(quota) / int(period)))
    return max(usable, 1)


def lanes() -> int:
    """How many sessions run at once: they wait for much of their time, those on engines for most of it."""
    return cores() + 5


def sessions_of(nox: list[str], tags: list[str]) -> list[str]:
    """The names of the sessions that have one of the tags, in the order of the noxfile."""
    command = [*nox, "--list", "--json", "--tags", *tags]
    listed = subprocess.run(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, check=True)
    return [session["session"] for session in json.loads(listed.stdout)]


def signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a process and all that it started, as far as it is in the same group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def run_all(commands: dict[str, list[str]]) -> int:
    """Run commands, by name, side by side; return the first status that is not 0.

    One that is alone has the terminal to itself. Any other, and whatever it starts, is a process group of its own. Of
    several the output of each is printed whole when it ends, and a last line says how they ended. A signal that would
    end this is handed on as Ctrl-C, after which nox and pytest clean up, and no other is started. What a command leaves
    running in its group is killed.
    """
    children: list[subprocess.Popen[bytes]] = []
    signals: list[int] = []
    is_alone = len(commands) == 1
    shares_terminal = os.name != "posix" or (is_alone and os.isatty(0))

    def run(command: list[str]) -> tuple[int, str, int]:
        began = time.monotonic()
        if signals:  # It came while the thread of this one began.
            return 1, "Not started.", 0
        # Not a pipe: what a command left running would hold it open.
        with tempfile.TemporaryFile() as file:
            child = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(),
                stdin=None if is_alone else subprocess.DEVNULL,
                stdout=None if is_alone else file,
                stderr=None if is_alone else subprocess.STDOUT,
                start_new_session=not shares_terminal,
            )
            children.append(child)
            if signals:
                hand_on(signals[-1], child)
            child.wait()
            children.remove(child)
            if not shares_terminal:
                signal_group(child, signal.SIGKILL)
            file.seek(0)
            said = file.read().decode(errors="replace")
        status = child.returncode if child.returncode >= 0 else 128 - child.returncode
        return status, said, round(time.monotonic() - began)

    def hand_on(number: int, child: subprocess.Popen[bytes]) -> None:
        if not shares_terminal:
            signal_group(child, signal.SIGINT)
        elif number not in KEYS:  # The terminal sends those to all.
            child.terminate() if os.name == "nt" else child.send_signal(signal.SIGINT)

    def stop(number: int, _: object) -> None:
        signals.append(number)
        for child in list(children):
            hand_on(number, child)

    # Whoever was started in the background of a shell finds Ctrl-C ignored, and leaves it so. What is started here
    # would inherit that, and has to heed it.
    handled = [each for each in ENDINGS if signal.getsignal(each) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in handled}
    if signal.SIGINT not in handled and not shares_terminal:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda number, frame: None)
    left = list(commands)
    endings: dict[str, tuple[int, str]] = {}
    with ThreadPoolExecutor(lanes()) as pool:
        running: dict[Future[tuple[int, str, int]], str] = {}
        while running or (left and not signals):
            # By this thread alone, which acts on a signal before it goes on: one that a signal ended makes room, too.
            while left and len(running) < lanes() and not signals:
                name = left.pop(0)
                running[pool.submit(run, commands[name])] = name
            # In short waits: a signal that comes just before one begins is acted on only when it ends.
            for future in wait(running, timeout=1, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                status, said, seconds = future.result()
                skipped = re.search(r"Session \S+ (was )?skipped", said)
                endings[name] = (status, "failed" if status else "skipped" if skipped else "passed")
                if not is_alone:
                    print(f"\n{name}: {endings[name][1]} after {seconds} s\n{said.rstrip()}\n", flush=True)
    endings.update((name, (1, "not started")) for name in left)
    for number, handler in before.items():
        signal.signal(number, handler)
    if not is_alone:
        print(", ".join(f"{name} {endings[name][1]}" for name in commands), flush=True)
    failed = [endings[name][0] for name in commands if endings[name][0]]
    return 128 + signals[0] if signals else failed[0] if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
