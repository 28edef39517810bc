"""The tasks of tools/dev.py, and its command line."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from devtool.environment import ROOT, SetupError, discard_unfinished, install_servers, prepare
from devtool.lock import exclusive


class Task(NamedTuple):
    """Something to run: nox sessions by their tag, or a program of the project."""

    summary: str
    tag: str | None = None
    program: str | None = None


TASKS = {
    "demo": Task(
        "run real jobs on a control plane started for it, with both clients and the CLI", program="examples/demo.py"
    ),
    "test": Task("the SDK's tests on every Python present, then the control plane's", tag="test"),
    "lint": Task("ruff: rules and formatting", tag="lint"),
    "typing": Task("mypy --strict, pyright, completeness of the public types", tag="typing"),
    "drift": Task("whether _sync/ is what tools/unasync_build.py writes", tag="drift"),
    "generate": Task("write _sync/ from _async/", program="tools/unasync_build.py"),
    "build": Task("build wheels and sdists, install and import them elsewhere", tag="build"),
    "docs": Task("check the documentation", tag="docs"),
    "bench": Task("measure against raw httpx, in ratios", tag="bench"),
    "setup": Task("only make .venv"),
}
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Run one task; return its exit status (2: the environment could not be made)."""
    options, rest = _parse(arguments)
    task = TASKS[options.task]
    try:
        may_install = options.install or os.environ.get("CI") == "true"
        python = prepare(install_system_packages=may_install)
        if may_install and options.task == "test":
            install_servers()
        if task.program is not None:
            return _run([str(python), str(ROOT / task.program), *rest])
        if task.tag is not None:
            with exclusive(
                ROOT / ".nox" / f"{task.tag}.lock", f"Another run of `{options.task}` is under way; waiting for it."
            ):
                return _nox(python, options.task, task.tag, rest)
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


def _nox(python: Path, name: str, tag: str, rest: Sequence[str]) -> int:
    discard_unfinished(ROOT / ".nox", now=time.time())
    with tempfile.TemporaryDirectory(prefix="nodus-") as folder:
        report = Path(folder) / "report.json"
        command = [str(python), "-m", "nox", "--non-interactive", "--tags", tag, "--report", str(report)]
        status = _run([*command, "--", *rest] if rest else command)
        if report.exists():
            print(_summary(name, json.loads(report.read_text(encoding="utf-8"))["sessions"]), flush=True)
    return status


def _summary(name: str, sessions: Sequence[dict[str, object]]) -> str:
    """One line: `test: tests-3.10 passed, tests-3.11 skipped, …`."""
    words = {"success": "passed"}
    results = [f"{session['name']} {words.get(str(session['result']), session['result'])}" for session in sessions]
    return f"{name}: {', '.join(results) or 'nothing ran'}"


def _run(command: Sequence[str]) -> int:
    """Run a child to its end, also through Ctrl-C, which it gets itself and may need time to clean up after."""
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", "")])}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as child:
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
