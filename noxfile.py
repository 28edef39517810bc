"""Every check of the project: each session says what it installs and what it runs.

`python3 tools/dev.py <task>` runs them without anything installed beforehand; `nox --list` names them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))

from dev import VENV, fingerprint  # noqa: E402  # found only through the line above

nox.needs_version = ">=2025.2.9"
nox.options.reuse_venv = "yes"
if hasattr(nox.options, "download_python"):  # newer ones fetch a Python that is missing, where uv is installed
    nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False  # nox names them, and skips their sessions

PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
CONTROL_PLANE_PYPROJECT = nox.project.load_toml(ROOT / "control_plane" / "pyproject.toml")
SDK = ("--editable", ".[trio]")
CONTROL_PLANE = ("--editable", "./control_plane[postgres,redis,stripe]")
DISTRIBUTIONS = {"nodus_sdk": ".", "nodus_control_plane": "control_plane"}


def is_here(version: str, check: str = "") -> bool:
    """Whether a Python of that version can be run, and the check, which is code, ends with status 0 in it.

    What pyenv puts on PATH may only say that it is not selected.
    """
    programs = [Path(folder, f"python{version}") for folder in os.get_exec_path()]
    return any(
        subprocess.run([program, "-c", check], capture_output=True).returncode == 0
        for program in programs
        if os.access(program, os.X_OK)
    )


CURRENT = "{}.{}".format(*sys.version_info[:2])
PYTHONS = sorted({*nox.project.python_versions(PYPROJECT), CURRENT}, key=lambda version: int(version.split(".")[1]))
"""Those that the classifiers promise, and the one that runs this."""
OLDEST = next(version for version in PYTHONS if version == CURRENT or is_here(version))
NEWEST = next(version for version in reversed(PYTHONS) if version == CURRENT or is_here(version))
ENDS = list(dict.fromkeys([NEWEST, OLDEST]))
BETWEEN = [version for version in PYTHONS if version not in ENDS and (version == CURRENT or is_here(version))]

HAS_SHARED_LIBRARY = """
import os, sys
from sysconfig import get_config_var as get
sys.exit(not get("Py_ENABLE_SHARED") or not os.path.exists(os.path.join(get("LIBDIR"), get("INSTSONAME"))))
"""
"""PyInstaller puts that library into the programs that it makes."""

ENGINES = {
    "containers": [
        "tests/containers",
        "tests/killings/test_docker_killings.py",
        "tests/killings/test_docker_starters.py",
    ],
    "clusters": ["tests/slurm"],
    "both": [
        "tests/hosted/test_real_engines.py",
        "tests/killings/test_slurm_killings.py",
        "tests/killings/test_slurm_starters.py",
    ],
}
"""The tests that run jobs on real engines, by kind."""
WITHOUT_ENGINES = [f"--ignore={path}" for paths in ENGINES.values() for path in paths]

WHOLE = os.environ.get("NODUS_TESTS") == "whole"
"""Whether everything is asked for that runs leave out to be short."""

SEEN_BY_USERS = ["src", "examples", "tests/typing"]


def group(name: str) -> list[str]:
    """The requirements of a dependency group."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


def install(session: nox.Session, *requirements: str) -> None:
    """Install into the session's environment, unless it holds exactly this already."""
    wanted = fingerprint(*requirements)
    stamp = Path(session.virtualenv.location) / "installed"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        stamp.unlink(missing_ok=True)
        if requirements:
            session.install(*requirements)
        stamp.write_text(wanted, encoding="utf-8")


def stand_on_development(session: nox.Session) -> None:
    """Let an environment of this Python have all that the development environment has, which is not installed again.

    What is installed beside that goes first. Only modules are found so (`python -m pytest`), not programs.
    """
    line = f"import site; site.addsitedir({str(packages_of(VENV))!r})\n"
    place = packages_of(Path(session.virtualenv.location).resolve())
    (place / "development.pth").write_text(line, encoding="utf-8")


def packages_of(environment: Path) -> Path:
    """The folder of an environment's packages."""
    (folder,) = environment.glob("Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages")
    return folder


def run_here(session: nox.Session, *arguments: str) -> None:
    """Run a module of the development environment, which tools/dev.py makes: it holds all that this needs."""
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        session.error("there is no .venv yet: run `python3 tools/dev.py setup`")
    session.run(str(python), "-m", *arguments, external=True)


def share(text: str) -> list[str]:
    """The option that leaves a run one of so many shares of the tests, unless all of them are asked for."""
    return [] if WHOLE else ["--share", text]


def lowest(project: dict[str, object], *extras: str) -> list[str]:
    """A project's requirements, each at the lowest version that it allows."""
    table: dict[str, list[str]] = project["optional-dependencies"]  # type: ignore[assignment]  # as pyproject.toml has it
    required = [*project["dependencies"], *(each for extra in extras for each in table[extra])]  # type: ignore[misc]  # likewise
    return [re.sub(r">=([\d.]+).*", r"==\1", requirement) for requirement in required]


# What takes the longest begins first. Two halves, each with servers of its own, and engines are waited for more than
# computed with.
@nox.session(tags=["test"], python=False)
@nox.parametrize("half", [nox.param("1", id="1"), nox.param("2", id="2")])
def control_plane(session: nox.Session, half: str) -> None:
    """One half of the control plane's tests."""
    if session.posargs:
        session.skip("the arguments are for the SDK's tests")
    with session.chdir("control_plane"):
        run_here(session, "pytest", "--ignore=tests/browser", *WITHOUT_ENGINES, "--share", f"{half}/2")


@nox.session(tags=["test"], python=False)
@nox.parametrize("kind", [nox.param(kind, id=kind) for kind in ENGINES])
def engines(session: nox.Session, kind: str) -> None:
    """The control plane's tests on real engines: those for containers, a cluster, or what is served on both."""
    if session.posargs:
        session.skip("the arguments are for the SDK's tests")
    with session.chdir("control_plane"):
        run_here(session, "pytest", *ENGINES[kind])


@nox.session(tags=["test"], python=[*ENDS, *(version for version in PYTHONS if version not in ENDS)])
def tests(session: nox.Session) -> None:
    """The SDK's tests: all on the newest Python here, half on the oldest, and a quarter on those between them.

    What breaks by age breaks in all of many tests. Of the half on the oldest, the session with the oldest dependencies
    takes one part in two. What they cover is measured on the newest, by lines. In a whole run all run on each, coverage
    is of branches, too, and a program is frozen on the newest or the oldest, the latter if it can.
    """
    version = str(session.python)
    freezer = next((each for each in [OLDEST, NEWEST] if is_here(each, HAS_SHARED_LIBRARY)), None)
    freezes = WHOLE and version == freezer
    if version in BETWEEN and version == CURRENT:
        stand_on_development(session)
    requirements = () if version in BETWEEN and version == CURRENT else (*SDK, *group("test"), *group("receivers"))
    install(session, *requirements, *(group("freeze") if freezes else ()))
    session.env["NODUS_TEST_FREEZES"] = "1" if freezes else ""
    if version == NEWEST:
        for stale in ROOT.glob(".coverage.*"):
            stale.unlink()
        # The core that costs next to nothing needs Python 3.12, and knows branches from 3.14 on.
        is_cheap = not WHOLE and int(version.split(".")[1]) >= 12
        branches = [] if is_cheap else ["--branch"]
        core = {"COVERAGE_CORE": "sysmon"} if is_cheap else None
        session.run("coverage", "run", *branches, "-m", "pytest", *session.posargs, env=core)
        return
    session.run("python", "-m", "pytest", *(session.posargs or part_of(version)))


def part_of(version: str) -> list[str]:
    """The option that leaves a run its part of the SDK's tests, by its Python."""
    if not BETWEEN or version == NEWEST:
        return []
    if version == OLDEST:
        return share("1/4")
    return share(f"{4 * BETWEEN.index(version) + 2}/{4 * len(BETWEEN)}")


@nox.session(tags=["test"])
def browser(session: nox.Session) -> None:
    """The playground's page, in a real browser."""
    if session.posargs:
        session.skip("the arguments are for the SDK's tests")
    stand_on_development(session)
    install(session, *group("browser"))
    with session.chdir("control_plane"):
        session.run("python", "-m", "pytest", "tests/browser")


@nox.session(name="control-plane-oldest-dependencies", python=OLDEST, tags=["test"])
def control_plane_with_oldest_dependencies(session: nox.Session) -> None:
    """The control plane's tests with the lowest versions that it says it works with."""
    if session.posargs:
        session.skip("the arguments are for the SDK's tests")
    lows = lowest(CONTROL_PLANE_PYPROJECT["project"], "postgres", "redis", "stripe")
    install(session, *SDK, *CONTROL_PLANE, *group("test"), *group("receivers"), *lows)
    with session.chdir("control_plane"):
        session.run("pytest", "--ignore=tests/browser", *([] if WHOLE else WITHOUT_ENGINES), *share("9/16"))


@nox.session(tags=["checks"])
def typing(session: nox.Session) -> None:
    """The types, as mypy sees them, and pyright what users see; and whether the public ones are complete."""
    stand_on_development(session)
    install(session, *group("typing"))
    session.run("python", "-m", "mypy")
    session.run("python", "-m", "pyright", *([] if WHOLE else SEEN_BY_USERS))
    session.run("python", "-m", "pyright", "--verifytypes", "nodus", "--ignoreexternal")


@nox.session(name="tests-oldest-dependencies", python=OLDEST, tags=["test"])
def tests_with_oldest_dependencies(session: nox.Session) -> None:
    """The SDK's tests with the lowest versions that it says it works with."""
    install(session, *SDK, *group("test"), *lowest(PYPROJECT["project"], "trio"))
    session.run("pytest", *(session.posargs or share("3/4")))


@nox.session(name="tests-http-successors", tags=["test"])
def tests_with_http_successors(session: nox.Session) -> None:
    """The tests of the pool, of faults and of retries on httpx2 and httpcore2, in the place of httpx and httpcore.

    All others run on the newest versions of these, and those of the session before this one on the oldest.
    """
    if session.posargs:
        session.skip("the arguments are for the tests that run on httpx")
    stand_on_development(session)
    install(session, "httpx2>=2.16", "httpcore2>=2.16")
    subjects = ("pool*", "prox*", "fault*", "retr*", "failures", "connecting", "injected_clients", "event_loops")
    files = {path for each in subjects for path in (ROOT / "tests").glob(f"**/test_{each}.py")}
    session.run("python", "-m", "pytest", *map(str, sorted(files)), *share("1/3"), env={"NODUS_TEST_HTTPX2": "1"})


@nox.session(tags=["coverage"], python=False)
def coverage(session: nox.Session) -> None:
    """What the tests covered when they last ran."""
    if session.posargs:
        session.skip("only some of the tests ran")
    run_here(session, "coverage", "combine")
    run_here(session, "coverage", "report")


@nox.session(python=False)
def soak(session: nox.Session) -> None:
    """The long campaigns: what the tests do at random, or take samples of, many times over."""
    run_here(session, "pytest", "-m", "soak", "--timeout=7200", *session.posargs)
    with session.chdir("control_plane"):
        run_here(session, "pytest", "-m", "soak", "--timeout=7200", *session.posargs)


@nox.session(tags=["checks"], python=False)
def lint(session: nox.Session) -> None:
    """Rules and formatting."""
    run_here(session, "ruff", "check", ".")
    run_here(session, "ruff", "format", "--check", ".")


@nox.session(tags=["checks"], python=False)
def drift(session: nox.Session) -> None:
    """Whether the generated code is what its sources give."""
    run_here(session, "tools.unasync_build", "--check")


@nox.session(tags=["checks"])
def build(session: nox.Session) -> None:
    """Both distributions: built, installed into a fresh environment, used from another folder."""
    # What the distributions are built with, and nothing else: a fresh environment for each step would hold the same.
    systems = [each["build-system"]["requires"] for each in (PYPROJECT, CONTROL_PLANE_PYPROJECT)]
    install(session, *group("build"), *dict.fromkeys(each for system in systems for each in system))
    work = Path(session.create_tmp()).resolve()
    for folder in DISTRIBUTIONS.values():
        session.run("python", "-m", "build", "--no-isolation", "--outdir", str(work / "dist"), folder, silent=True)
    wheels = [str(wheel) for name in DISTRIBUTIONS for wheel in (work / "dist").glob(f"{name}-*.whl")]
    session.run("python", "-m", "venv", "--clear", str(work / "fresh"))
    scripts = work / "fresh" / ("Scripts" if sys.platform == "win32" else "bin")
    session.run(str(scripts / "python"), "-m", "pip", "install", "--quiet", "--no-compile", *wheels, external=True)
    with session.chdir(work):
        check = "import nodus; nodus.Client, nodus.AsyncClient; print(nodus.__file__)"
        session.run(str(scripts / "python"), "-I", "-c", check, external=True)
        session.run(str(scripts / "nodus"), "--version", external=True)
        session.run(str(scripts / "nodus"), "playground", "--help", external=True, silent=True)


@nox.session(tags=["checks"])
def docs(session: nox.Session) -> None:
    """The documentation: it builds, and no link in it is broken."""
    install(session, *group("docs"))
    session.run("mkdocs", "build", "--strict", "--site-dir", str(Path(session.create_tmp()) / "site"))


@nox.session
def bench(session: nox.Session) -> None:
    """Ratios against the bare tools underneath; never a pass or a fail."""
    install(session, *SDK, *CONTROL_PLANE, *group("bench"))
    session.run("python", "-m", "benchmarks", *session.posargs)
