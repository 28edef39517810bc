"""The tasks of tools/dev.py, and its command line."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from devtool import sessions
from devtool.environment import ROOT, SetupError, discard_unfinished, install_servers, prepare
from devtool.lock import exclusive
from devtool.sessions import EXIT_INTERRUPTED, Ending


class Task(NamedTuple):
    """Something to run: stages of nox sessions, each stage by their tags, or a program of the project."""

    summary: str
    stages: tuple[tuple[str, ...], ...] = ()
    program: str | None = None


TASKS = {
    "demo": Task(
        "run real jobs on a control plane started for it, with both clients and the CLI", program="examples/demo.py"
    ),
    "test": Task("the SDK's tests on every Python present, and the control plane's", (("test",), ("coverage",))),
    "soak": Task("long campaigns of crashes and chance, of minutes each", (("soak",),)),
    "checks": Task(
        "lint, typing, drift, build and docs, side by side", (("lint", "typing", "drift", "build", "docs"),)
    ),
    "lint": Task("ruff: rules and formatting", (("lint",),)),
    "typing": Task("mypy --strict, pyright, completeness of the public types", (("typing",),)),
    "drift": Task("whether _sync/ is what tools/unasync_build.py writes", (("drift",),)),
    "generate": Task("write _sync/ from _async/", program="tools/unasync_build.py"),
    "build": Task("build wheels and sdists, install and import them elsewhere", (("build",),)),
    "docs": Task("check the documentation", (("docs",),)),
    "bench": Task("measure against raw httpx, in ratios", (("bench",),)),
    "setup": Task("only make .venv"),
}


def main(arguments: Sequence[str]) -> int:
    """Run one task; return its exit status (2: the environment could not be made)."""
    options, rest = _parse(arguments)
    task = TASKS[options.task]
    try:
        may_install = options.install or os.environ.get("CI") == "true"
        python = prepare(install_system_packages=may_install)
        if may_install and options.task in ("test", "soak"):
            install_servers()
        if task.program is not None:
            return _run([str(python), str(ROOT / task.program), *rest])
        if task.stages:
            with exclusive(ROOT / ".nox" / "lock", "Another run of this tool is under way; waiting for it."):
                return _nox(python, options.task, task.stages, rest)
    except SetupError as error:
        print(f"tools/dev.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    print(f"{python} is ready.")
    return 0


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    width = max(map(len, TASKS))
    parser = argparse.ArgumentParser(
        prog="python3 tools/dev.py",
        usage="%(prog)s [--install] TASK [ARGUMENTS FOR IT …]",
        description="Prepare .venv, then run one task.",
        epilog="tasks:\n" + "\n".join(f"  {name:<{width}}  {task.summary}" for name, task in TASKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--install",
        action="store_true",
        help="as root on Debian, also install missing system packages (so does CI=true)",
    )
    parser.add_argument("task", choices=TASKS, metavar="TASK", help="one of the tasks below")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    rest = list(options.rest)
    # `dev.py test --install` reads as naturally as `dev.py --install test`.
    if rest[:1] == ["--install"]:
        options.install, rest = True, rest[1:]
    return options, rest[1:] if rest[:1] == ["--"] else rest


def _nox(python: Path, name: str, stages: Sequence[Sequence[str]], rest: Sequence[str]) -> int:
    """Run the sessions of each stage side by side; a stage starts only where the one before had no failure."""
    discard_unfinished(ROOT / ".nox", now=time.time())
    nox = [str(python), "-m", "nox", "--non-interactive"]
    environment = _environment(python)
    endings: list[Ending] = []
    for tags in stages:
        names = sessions.find(nox, environment, ROOT, tags)
        endings += sessions.run(nox, environment, ROOT, names, rest)
        if any(ending.status for ending in endings):
            break
    print(sessions.summary(name, endings), flush=True)
    return next((ending.status for ending in endings if ending.status), 0)


def _run(command: Sequence[str]) -> int:
    """Run a child to its end, also through Ctrl-C, which it gets itself and may need time to clean up after."""
    with subprocess.Popen(command, cwd=ROOT, env=_environment(Path(command[0]))) as child:
        before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        interrupted = False
        try:
            while True:
                try:
                    status = child.wait()
                    break
                except KeyboardInterrupt:
                    interrupted = True
        finally:
            signal.signal(signal.SIGTERM, before)
    return EXIT_INTERRUPTED if interrupted else status if status >= 0 else 128 - status


def _environment(program: Path) -> dict[str, str]:
    """This process's environment variables, with what is installed beside `program` found first."""
    return {**os.environ, "PATH": os.pathsep.join([str(program.parent), os.environ.get("PATH", "")])}
