"""Every check of the project: each session says what it installs and what it runs.

`python3 tools/dev.py <task>` runs them without anything installed beforehand; `nox --list` names them.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))

from devtool.environment import fingerprint  # noqa: E402  # found only through the line above
from interpreters import LOOKED_IN, find_interpreter, supported_versions  # noqa: E402  # likewise

nox.needs_version = ">=2025.2.9"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True

PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
SDK = ("--editable", ".[trio]")
CONTROL_PLANE = ("--editable", "./control_plane[postgres,redis]")
DISTRIBUTIONS = {"nodus_sdk": ".", "nodus_control_plane": "control_plane"}


def group(name: str) -> list[str]:
    """The requirements of a dependency group."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


def install(session: nox.Session, *requirements: str) -> None:
    """Install into the session's environment, unless it holds exactly this already."""
    wanted = fingerprint(*requirements)
    stamp = Path(session.virtualenv.location) / "installed"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        stamp.unlink(missing_ok=True)
        session.install(*requirements)
        stamp.write_text(wanted, encoding="utf-8")


def share_of(version: str) -> list[str]:
    """Which of the tests run on a Python: all of them on the current one, and where they are asked for.

    Of the others each runs a share, and all shares together are the whole, so that what is particular to a version
    shows without every test running on each.
    """
    others = [each for each, found in FOUND.items() if found is not None and each != CURRENT]
    if version not in others or os.environ.get("NODUS_TESTS") == "whole":
        return []
    return ["--share", f"{others.index(version) + 1}/{len(others)}"]


def tests_on(version: str, interpreter: Path) -> None:
    """Define the session of the SDK's tests on one Python: sync, and async on asyncio and on trio."""

    @nox.session(name=f"tests-{version}", python=str(interpreter), tags=["test"])
    def tests(session: nox.Session) -> None:
        install(session, *SDK, *group("test"), *group("receivers"))
        # Measuring it takes as long again as a good part of the tests, and every Python runs the same ones.
        program = ["coverage", "run", "-m", "pytest"] if version == CURRENT else ["pytest"]
        for stale in ROOT.glob(".coverage.*") if version == CURRENT else ():
            stale.unlink()
        # Who names tests means these.
        session.run(*program, *(session.posargs or share_of(version)))


def not_tested_on(version: str) -> None:
    """Define a session that says that a supported Python is not on this machine."""

    @nox.session(name=f"tests-{version}", python=False, tags=["test"])
    def skipped(session: nox.Session) -> None:
        session.skip(f"no Python {version} here (looked in: {LOOKED_IN})")


def oldest(requirements: list[str]) -> list[str]:
    """The same requirements, each at the lowest version that it allows."""
    return [re.sub(r">=([\d.]+).*", r"==\1", requirement) for requirement in requirements]


def tests_on_oldest_dependencies(interpreter: Path) -> None:
    """Define the session of the SDK's tests with the lowest versions that it says it works with."""

    @nox.session(name="tests-oldest-dependencies", python=str(interpreter), tags=["test"])
    def tests(session: nox.Session) -> None:
        project = PYPROJECT["project"]
        lowest = oldest([*project["dependencies"], *project["optional-dependencies"]["trio"]])
        install(session, *SDK, *group("test"), *lowest)
        share = [] if os.environ.get("NODUS_TESTS") == "whole" else ["--share", "1/2"]
        session.run("pytest", *(session.posargs or share))


HTTP_LIBRARIES = {
    "oldest": ["httpx==0.27", "httpcore==1.0.7"],
    "newest": ["--upgrade", "httpx", "httpcore"],
    "successors": ["httpx2>=2.16", "httpcore2>=2.16"],
}


@nox.session(tags=["test"])
@nox.parametrize("libraries", list(HTTP_LIBRARIES))
def http_libraries(session: nox.Session, libraries: str) -> None:
    """The tests of the pool, of faults and of retries, on the HTTP libraries at the edges of what is supported."""
    session.install(*SDK, *group("test"), *HTTP_LIBRARIES[libraries])
    subjects = ("pool*", "prox*", "fault*", "retr*", "failures", "connecting", "injected_clients", "event_loops")
    files = {path for each in subjects for path in (ROOT / "tests").glob(f"**/test_{each}.py")}
    variables = {"NODUS_TEST_HTTPX2": "1"} if libraries == "successors" else {}
    session.run("pytest", *map(str, sorted(files)), *session.posargs, env=variables)


@nox.session(tags=["test"])
def control_plane(session: nox.Session) -> None:
    """The control plane's tests; they take the longest, and so begin first, with what else takes long."""
    if session.posargs:
        session.skip("the arguments are for the SDK's tests")
    install(session, *SDK, *CONTROL_PLANE, *group("test"), *group("receivers"))
    with session.chdir("control_plane"):
        session.run("pytest", "--ignore", "tests/browser")


@nox.session(tags=["test"])
def browser(session: nox.Session) -> None:
    """The playground's page, in a real browser."""
    if session.posargs:
        session.skip("the arguments are for the SDK's tests")
    install(session, *SDK, *CONTROL_PLANE, *group("test"), *group("browser"))
    with session.chdir("control_plane"):
        session.run("pytest", "tests/browser")


CURRENT = "{}.{}".format(*sys.version_info[:2])
FOUND = {version: find_interpreter(version) for version in dict.fromkeys([*supported_versions(), CURRENT])}
for python_version, found in sorted(FOUND.items(), key=lambda each: each[0] != CURRENT):
    if found is None:
        not_tested_on(python_version)
    else:
        tests_on(python_version, found)
tests_on_oldest_dependencies(next(found for found in FOUND.values() if found is not None))


@nox.session(tags=["coverage"])
def coverage(session: nox.Session) -> None:
    """What the tests covered when they last ran."""
    if session.posargs:
        session.skip("only some of the tests ran")
    install(session, "coverage[toml]")
    session.run("coverage", "combine")
    session.run("coverage", "report")


@nox.session(tags=["soak"])
def soak(session: nox.Session) -> None:
    """The long campaigns: what the tests do at random, many times over."""
    install(session, *SDK, *CONTROL_PLANE, *group("test"))
    none_collected = 5
    session.run("pytest", "-m", "soak", "--timeout=7200", *session.posargs, success_codes=[0, none_collected])
    with session.chdir("control_plane"):
        session.run("pytest", "-m", "soak", "--timeout=7200", *session.posargs, success_codes=[0, none_collected])


@nox.session(tags=["lint"])
def lint(session: nox.Session) -> None:
    """Rules and formatting."""
    install(session, *group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(tags=["typing"])
def typing(session: nox.Session) -> None:
    """The types, as two checkers see them, and whether the public ones are complete."""
    install(session, *SDK, *CONTROL_PLANE, *group("typing"))
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "nodus", "--ignoreexternal")


@nox.session(tags=["drift"])
def drift(session: nox.Session) -> None:
    """Whether the generated code is what its sources give."""
    install(session, *group("generate"))
    session.run("python", "tools/unasync_build.py", "--check")


@nox.session(tags=["build"])
def build(session: nox.Session) -> None:
    """Both distributions: built, installed into a fresh environment, used from another folder."""
    install(session, *group("build"))
    work = Path(session.create_tmp()).resolve()
    for folder in DISTRIBUTIONS.values():
        session.run("python", "-m", "build", "--outdir", str(work / "dist"), folder, silent=True)
    wheels = [str(wheel) for name in DISTRIBUTIONS for wheel in (work / "dist").glob(f"{name}-*.whl")]
    session.run("python", "-m", "venv", "--clear", str(work / "fresh"))
    scripts = work / "fresh" / ("Scripts" if sys.platform == "win32" else "bin")
    session.run(str(scripts / "python"), "-m", "pip", "install", "--quiet", *wheels, external=True)
    with session.chdir(work):
        check = "import nodus; nodus.Client, nodus.AsyncClient; print(nodus.__file__)"
        session.run(str(scripts / "python"), "-I", "-c", check, external=True)
        session.run(str(scripts / "nodus"), "--version", external=True)
        session.run(str(scripts / "nodus"), "playground", "--help", external=True, silent=True)


@nox.session(tags=["demo"])
def demo(session: nox.Session) -> None:
    """Real jobs, end to end."""
    install(session, *SDK, *CONTROL_PLANE)
    session.run("python", "examples/demo.py")


@nox.session(tags=["docs"])
def docs(session: nox.Session) -> None:
    """The documentation: it builds, and no link in it is broken."""
    install(session, *group("docs"))
    session.run("mkdocs", "build", "--strict", "--site-dir", str(Path(session.create_tmp()) / "site"))


@nox.session(tags=["bench"])
def bench(session: nox.Session) -> None:
    """Ratios against the bare tools underneath; never a pass or a fail."""
    install(session, *SDK, *CONTROL_PLANE, *group("bench"))
    session.run("python", "-m", "benchmarks", *session.posargs)
