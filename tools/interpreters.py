"""Find the Pythons of this machine on which the project is tested.

A version counts as present when an interpreter of it really runs, wherever it was installed: the Python that runs this,
those on PATH (all of them, since the first may be a shim that only prints an error), those that pyenv or uv keep.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOOKED_IN = "the Python that runs this, PATH, pyenv, uv"

_PROBE = "import sys; print('%d.%d' % sys.version_info[:2], sys.implementation.name, sep='\\n')"
_PROBE_TIMEOUT_SECONDS = 30


def supported_versions(pyproject: Path = ROOT / "pyproject.toml") -> list[str]:
    """The versions that the classifiers promise, oldest first: `["3.10", "3.11", …]`."""
    text = pyproject.read_text(encoding="utf-8")
    return re.findall(r'"Programming Language :: Python :: (3\.\d+)"', text)


def find_interpreter(version: str) -> Path | None:
    """The absolute path of a CPython of this `version` ("3.12") that runs, or None."""
    tried: set[Path] = set()
    for candidate in _candidates(version):
        # A link is not followed: where pyenv or a virtual environment put it decides what it runs.
        if candidate not in tried and candidate.is_file():
            tried.add(candidate)
            if _runs(candidate, version):
                return candidate
    return None


def _candidates(version: str) -> Iterator[Path]:
    if "{}.{}".format(*sys.version_info[:2]) == version:
        # Of a virtual environment, the Python it was made from: environments are not built on one another.
        yield _base_executable()
        yield Path(sys.executable)
    yield from _on_path(version)
    yield from _from_pyenv(version)
    yield from _from_uv(version)


def _on_path(version: str) -> Iterator[Path]:
    names = [f"python{version}.exe"] if os.name == "nt" else [f"python{version}"]
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        for name in names:
            if folder:
                yield (Path(folder) / name).absolute()


def _from_pyenv(version: str) -> Iterator[Path]:
    # Off PATH, pyenv is where PYENV_ROOT says or, if it keeps the Python that runs this, three folders above that.
    home = Path(os.environ.get("PYENV_ROOT") or _base_executable().parent.parent.parent.parent)
    pyenv = shutil.which("pyenv") or shutil.which("pyenv", path=str(home / "bin"))
    if pyenv is None:
        return
    installed = [name for name in _output([pyenv, "versions", "--bare"]).split() if _is_release(name, version)]
    for name in sorted(installed, key=_release_number, reverse=True):
        prefix = _output([pyenv, "prefix", name]).strip()
        if prefix:
            yield Path(prefix) / "bin" / f"python{version}"
            yield Path(prefix) / "python.exe"


def _from_uv(version: str) -> Iterator[Path]:
    uv = shutil.which("uv")
    if uv is not None:
        found = _output([uv, "python", "find", "--no-python-downloads", "--no-project", version]).strip()
        if found:
            yield Path(found)


def _base_executable() -> Path:
    return Path(getattr(sys, "_base_executable", sys.executable))


def _is_release(name: str, version: str) -> bool:
    return re.fullmatch(re.escape(version) + r"(\.\d+)?", name) is not None


def _release_number(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split("."))


def _runs(candidate: Path, version: str) -> bool:
    return _output([str(candidate), "-I", "-c", _PROBE]).split("\n")[:2] == [version, "cpython"]


def _output(command: Sequence[str]) -> str:
    """What a command prints, or nothing if it cannot be run, fails, or does not end."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=_PROBE_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


if __name__ == "__main__":
    for supported in supported_versions():
        print(f"{supported}: {find_interpreter(supported) or f'not found (looked in {LOOKED_IN})'}")
