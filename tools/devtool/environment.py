"""The development environment in `.venv`: made once, brought up to date when the project's requirements change.

Two marks inside it tell its state. `.complete` holds the fingerprint of what was installed; `.unfinished` is there
while pip works, so an environment whose making was cut short is made again and never used.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from devtool.lock import exclusive

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
REQUIREMENTS = ["--editable", ".[trio]", "--editable", "./control_plane[postgres,redis]", "--group", "dev"]
# The first pip that installs dependency groups (PEP 735).
OLDEST_PIP = (25, 1)
# What pip says when its index lacks a package or cannot be reached.
INDEX_TROUBLE = re.compile(
    "No matching distribution|Could not find a version|Connection|ProxyError|SSLError|Max retries"
)
INDEX_HINT = (
    " A package index must be reachable from here: `pip config list` shows which one pip uses, and the environment "
    "variable PIP_INDEX_URL names another."
)
APT_PATIENCE_SECONDS = 300
APT_PAUSE_SECONDS = 2.0


class SetupError(Exception):
    """The environment cannot be made; the message says what to do about it."""


def fingerprint(*more: str) -> str:
    """A digest of everything that decides what an environment of this checkout holds."""
    digest = hashlib.sha256()
    files = [
        ROOT / "pyproject.toml",
        ROOT / "control_plane" / "pyproject.toml",
        *sorted(ROOT.glob("src/*/_version.py")),
    ]
    files += sorted(ROOT.glob("control_plane/src/*/_version.py"))
    for file in files:
        digest.update(file.read_bytes() if file.exists() else b"")
    digest.update(json.dumps([str(ROOT), *more]).encode())
    return digest.hexdigest()


def prepare(*, install_system_packages: bool = False) -> Path:
    """Make `.venv` what it should be and return its Python. Quick when nothing has changed."""
    wanted = fingerprint(*REQUIREMENTS)
    with exclusive(ROOT / ".venv.lock", "Another run is preparing .venv; waiting for it."):
        python = python_of(VENV)
        state = _state()
        if state == wanted and _works(python):
            return python
        if state == "unfinished" or (state is not None and not _works(python)):
            shutil.rmtree(VENV)
        elif VENV.exists() and not _works(python):
            raise SetupError(f"{VENV} is there, but this tool did not make it and no Python runs in it: remove it.")
        fresh = not VENV.exists()
        if fresh:
            _require_venv(install_system_packages)
        _install(python, wanted, fresh=fresh)
        return python


def discard_unfinished(folder: Path, *, now: float) -> None:
    """Remove environments under `folder` without Python or pip, left by a run that was killed while it made them.

    One younger than a minute is left alone: another run may be making it. One that was installed completely is kept.
    """
    for environment in folder.glob("[!.]*"):
        if not environment.is_dir() or (environment / "installed").exists():
            continue
        if now - environment.stat().st_mtime > 60 and not _works(python_of(environment)):
            shutil.rmtree(environment)


def python_of(environment: Path) -> Path:
    """The path of the Python inside a virtual environment."""
    return environment / "Scripts" / "python.exe" if os.name == "nt" else environment / "bin" / "python"


def base_python() -> str:
    """The Python that runs this or, inside a virtual environment, the one that it was made from."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def _state() -> str | None:
    if (VENV / ".unfinished").exists():
        return "unfinished"
    complete = VENV / ".complete"
    return complete.read_text(encoding="utf-8") if complete.exists() else None


def _works(python: Path) -> bool:
    check = "import sys, pip; sys.exit(sys.version_info < (3, 10))"
    try:
        return subprocess.run([python, "-I", "-c", check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _require_venv(install_system_packages: bool) -> None:
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if not missing:
        return
    package = "python{}.{}-venv".format(*sys.version_info[:2])
    if install_system_packages and can_install_system_packages():
        install_system_package(package)
        return
    raise SetupError(
        f"This Python ({base_python()}) cannot make a virtual environment: it lacks {' and '.join(missing)}.\n"
        f"On Debian and Ubuntu: apt-get install {package} (as root, `--install` does it). "
        "Or run this with another Python."
    )


def can_install_system_packages() -> bool:
    """Whether this is root on a Debian-like system."""
    return hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None


def install_servers() -> None:
    """Install those of the servers and the browser that tests start which are not here, as root on Debian."""
    if not can_install_system_packages():
        return
    find = ROOT / "control_plane" / "tests" / "servers" / "programs.py"
    done = subprocess.run([sys.executable, "-I", find], capture_output=True, text=True, check=True)
    for package in done.stdout.split():
        install_system_package(package)


def install_system_package(package: str) -> None:
    """Install a Debian package."""
    _say(f"Installing {package} …")
    # If only some lists could be fetched, the package may be in one of them.
    updated = _apt_get("update")
    installed = _apt_get("install", "-y", "--no-install-recommends", package)
    if installed.returncode != 0:
        said = [each.stdout + each.stderr for each in (updated, installed) if each.returncode != 0]
        raise SetupError(f"`{' '.join(installed.args)}` failed:\n{_tail(''.join(said))}")


def _apt_get(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run apt-get, waiting up to five minutes for another one, such as that of a machine that has just booted."""
    command = ["apt-get", "-o", f"DPkg::Lock::Timeout={APT_PATIENCE_SECONDS}", "-o", "Acquire::Retries=3", *arguments]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    deadline = time.monotonic() + APT_PATIENCE_SECONDS
    while True:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        # apt-get waits by itself for the lock on the packages, but not for the one on the lists.
        if done.returncode == 0 or "Could not get lock" not in done.stderr or time.monotonic() > deadline:
            return done
        time.sleep(APT_PAUSE_SECONDS)


def _install(python: Path, wanted: str, *, fresh: bool) -> None:
    _say(
        "Making .venv and installing the project into it: a minute or so …" if fresh else "Bringing .venv up to date …"
    )
    VENV.mkdir(exist_ok=True)
    (VENV / ".unfinished").touch()
    (VENV / ".complete").unlink(missing_ok=True)
    try:
        if fresh:
            _run([base_python(), "-m", "venv", str(VENV)], "A virtual environment could not be made.")
        if _pip_version(python) < OLDEST_PIP:
            _pip(python, "--upgrade", "pip>={}.{}".format(*OLDEST_PIP))
        _pip(python, *REQUIREMENTS)
    except SetupError:
        # pip ended by itself: what was installed before still works, and a new environment is worth nothing.
        if fresh:
            shutil.rmtree(VENV, ignore_errors=True)
        else:
            (VENV / ".unfinished").unlink()
        raise
    (VENV / ".complete").write_text(wanted, encoding="utf-8")
    (VENV / ".unfinished").unlink()


def _pip_version(python: Path) -> tuple[int, ...]:
    done = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, text=True, check=False)
    numbers = done.stdout.split()[1].split(".") if done.returncode == 0 else []
    return tuple(int(number) for number in numbers if number.isdigit())


def _pip(python: Path, *arguments: str) -> None:
    _run([str(python), "-m", "pip", "install", "--quiet", *arguments], "pip could not install what is needed.")


def _run(command: Sequence[str], failure: str) -> None:
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_USER": "0"}
    # Packages that another Python's path points to would count as installed here.
    for name in ("PYTHONPATH", "PYTHONHOME"):
        environment.pop(name, None)
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        hint = INDEX_HINT if INDEX_TROUBLE.search(done.stdout) else ""
        raise SetupError(f"{_tail(done.stdout)}\n{failure}{hint}")


def _tail(output: str, lines: int = 20) -> str:
    return "\n".join(output.strip().splitlines()[-lines:])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
