"""tools/dev.py: it makes an environment, runs what it is asked to in it, and fails in words."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import dev
import system_packages

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are shell scripts")


def script(path: Path, text: str) -> Path:
    """A shell script to stand in for a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project."""
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    monkeypatch.setattr(dev, "VENV", tmp_path / ".venv")
    (tmp_path / "pyproject.toml").write_text("")
    return tmp_path


class TestEnvironment:
    """The life of `.venv`, with stand-ins for venv and pip."""

    @pytest.fixture(autouse=True)
    def ran(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What was run: "venv" or "pip"; the first makes an environment that works."""
        done: list[str] = []

        def run(command: Sequence[str]) -> None:
            if "pip>=25.1" in command:
                return
            done.append(command[2])
            if command[2] == "venv":
                script(project / ".venv/bin/python", "exit 0")

        monkeypatch.setattr(dev, "run_quietly", run)
        return done

    @pytest.fixture
    def pip_fails(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        """Call it, and pip fails from then on."""
        working = dev.run_quietly

        def run(command: Sequence[str]) -> None:
            working(command)
            if command[2] == "pip" and "pip>=25.1" not in command:
                raise SystemExit("pip failed")

        return lambda: monkeypatch.setattr(dev, "run_quietly", run)

    def test_it_is_made_once_and_brought_up_to_date_when_requirements_change(
        self, project: Path, ran: list[str]
    ) -> None:
        """A run that finds everything in place installs nothing."""
        assert dev.prepare() == dev.prepare() == str(project / ".venv/bin/python")
        assert ran == ["venv", "pip"]

        (project / "pyproject.toml").write_text("# other requirements")
        dev.prepare()
        assert ran == ["venv", "pip", "pip"]

    def test_a_failed_installation_leaves_nothing_behind(self, project: Path, pip_fails: Callable[[], None]) -> None:
        """The next run starts afresh."""
        pip_fails()

        with pytest.raises(SystemExit, match="pip failed"):
            dev.prepare()
        assert not (project / ".venv").exists()

    def test_a_failed_update_keeps_what_there_was_and_is_tried_again(
        self, project: Path, ran: list[str], pip_fails: Callable[[], None]
    ) -> None:
        """No working environment is thrown away for want of a network."""
        dev.prepare()
        (project / "pyproject.toml").write_text("# other requirements")
        pip_fails()
        for _ in range(2):
            with pytest.raises(SystemExit):
                dev.prepare()

        assert (project / ".venv/bin/python").exists()
        assert ran == ["venv", "pip", "pip", "pip"]

    @pytest.mark.parametrize("spoil", ["cut short", "no Python"])
    def test_an_environment_that_is_not_whole_is_made_again(self, project: Path, ran: list[str], spoil: str) -> None:
        """A run that was killed leaves its mark; and Pythons are upgraded and removed."""
        dev.prepare()
        (project / ".venv/leftover").touch()
        if spoil == "cut short":
            (project / ".venv/made").write_text("")
        else:
            (project / ".venv/bin/python").unlink()
        dev.prepare()

        assert ran == ["venv", "pip", "venv", "pip"]
        assert not (project / ".venv/leftover").exists()

    def test_a_working_environment_that_someone_else_made_is_used(self, project: Path, ran: list[str]) -> None:
        """The project is installed into it."""
        script(project / ".venv/bin/python", "exit 0")
        dev.prepare()

        assert ran == ["pip"]

    def test_a_broken_one_that_someone_else_made_is_left_to_them(self, project: Path, ran: list[str]) -> None:
        """Nothing is deleted that this tool did not make."""
        (project / ".venv").mkdir()

        with pytest.raises(SystemExit, match="remove it"):
            dev.prepare()
        assert (project / ".venv").exists()
        assert ran == []


@pytest.mark.parametrize("name", ["pip", "venv"])
def test_a_step_that_fails_says_what_it_printed_and_what_to_do(name: str) -> None:
    """Where an index may be missing, or a package of the system."""
    with pytest.raises(SystemExit) as caught:
        dev.run_quietly([sys.executable, "-c", "print('no space left'); raise SystemExit(1)", name])

    assert str(caught.value).startswith("no space left\ntools/dev.py: ")
    assert ("PIP_INDEX_URL" if name == "pip" else "apt-get install python3.") in str(caught.value)


def test_another_run_in_the_same_folder_is_waited_for(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """And told of."""
    program = f"import sys; sys.path.insert(0, {str(ROOT / 'tools')!r}); import dev, pathlib\n"
    program += f"dev.ROOT = pathlib.Path({str(project)!r})\nwith dev.alone(): print('alone')"
    with dev.alone():
        child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stderr is not None
        assert b"waiting" in child.stderr.readline()
        assert child.poll() is None

    assert child.communicate(timeout=300)[0] == b"alone\n"


class TestCommands:
    """How it runs what it is asked to."""

    @pytest.mark.parametrize(("text", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143)])
    def test_the_exit_status_is_that_of_the_program(self, tmp_path: Path, text: str, status: int) -> None:
        """One that a signal ended gives 128 and the signal's number, as in a shell."""
        assert dev.run_all({"one": [str(script(tmp_path / "program", text))]}) == status

    def test_several_run_side_by_side_and_are_told_apart(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Two of these end only because the other runs; the output of each comes whole, under its name."""
        meets = 'cd "$(dirname "$0")"; touch "$1"; while ! test -e "$2"; do sleep 0.01; done; echo "$1 met $2"'
        meet = str(script(tmp_path / "meet", meets))
        skip = str(script(tmp_path / "skip", "echo 'nox > Session tests-3.99 skipped: Python interpreter not found'"))
        fail = str(script(tmp_path / "fail", "exit 3"))
        monkeypatch.setattr(dev, "lanes", lambda: 3)

        status = dev.run_all({"a": [meet, "x", "y"], "b": [meet, "y", "x"], "c": [skip], "d": [fail]})

        printed = capfd.readouterr().out
        assert status == 3
        assert re.search(r"^a: passed after \d+ s\nx met y$", printed, re.MULTILINE)
        assert printed.endswith("a passed, b passed, c skipped, d failed\n")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
    def test_after_a_signal_nothing_is_started_and_nothing_left(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
    ) -> None:
        """Programs get Ctrl-C, whichever it was; and what they started ends with them, whether it heeds that or not."""
        alive = tmp_path / "alive"
        os.mkfifo(alive)
        monkeypatch.setattr(dev, "lanes", lambda: 1)
        stays = "trap '' HUP INT QUIT TERM; exec >\"$1\"; echo here; while :; do sleep 1; done"
        waits = f"import subprocess, sys; subprocess.call([{str(script(tmp_path / 'stays', stays))!r}, sys.argv[1]])"
        commands = {
            "waits": [sys.executable, "-c", waits, str(alive)],
            "never": [str(script(tmp_path / "never", f"touch {tmp_path}/ran"))],
        }

        def interrupt() -> None:
            with alive.open() as said:
                assert said.readline() == "here\n"
                os.kill(os.getpid(), number)
                heard.append(said.read())

        heard: list[str] = []
        thread = threading.Thread(target=interrupt)
        thread.start()
        # Whoever was started in the background of a shell finds SIGINT ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        status = dev.run_all(commands)
        thread.join()
        signal.signal(signal.SIGINT, before)

        assert status == 128 + number
        assert heard == [""]
        assert not (tmp_path / "ran").exists()

    def test_programs_are_stopped_where_ctrl_c_is_ignored(self, tmp_path: Path) -> None:
        """As it is by whatever a script started in the background: SIGTERM stops those all the same."""
        started = tmp_path / "started"
        os.mkfifo(started)
        program = (
            f"import signal, sys; sys.path.insert(0, {str(ROOT / 'tools')!r}); import dev\n"
            "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
            "sys.exit(dev.run_all({'waits': sys.argv[1:]}))"
        )
        waits = str(script(tmp_path / "waits", 'echo here >"$1"; while :; do sleep 1; done'))
        with subprocess.Popen([sys.executable, "-c", program, waits, str(started)], stdin=subprocess.DEVNULL) as child:
            assert started.read_text() == "here\n"
            child.send_signal(signal.SIGINT)
            child.terminate()

        assert child.returncode == 128 + signal.SIGTERM

    def test_pythons_that_pyenv_and_uv_keep_are_found(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
    ) -> None:
        """Though none of them is selected: nox looks for them on PATH, behind what is there already."""
        kept = [tmp_path / "versions/3.99.1/bin", tmp_path / "cpython-3.98.2-linux/bin"]
        for folder in kept:
            folder.mkdir(parents=True)
        for keeper in ("pyenv", "uv"):
            script(tmp_path / keeper, f"echo {tmp_path}")
        request.addfinalizer(dev.kept_pythons.cache_clear)
        dev.kept_pythons.cache_clear()
        path = os.pathsep.join([str(tmp_path), os.defpath])
        monkeypatch.setenv("PATH", path)

        assert dev.environment()["PATH"] == os.pathsep.join([str(dev.VENV / "bin"), path, *map(str, kept)])

    @pytest.mark.parametrize("says", [None, "echo no such command >&2; exit 1"])
    def test_no_python_need_be_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, says: str | None
    ) -> None:
        """Neither program is needed, nor need it work."""
        if says is not None:
            script(tmp_path / "pyenv", says)
        request.addfinalizer(dev.kept_pythons.cache_clear)
        dev.kept_pythons.cache_clear()
        monkeypatch.setenv("PATH", str(tmp_path))

        assert dev.environment()["PATH"] == os.pathsep.join([str(dev.VENV / "bin"), str(tmp_path)])

    def test_no_arguments_show_how_it_is_used(self, capsys: pytest.CaptureFixture[str]) -> None:
        """That is a usage error, and no reason to make an environment."""
        assert dev.main([]) == 2
        assert "usage: python3 tools/dev.py [--install] TASK" in capsys.readouterr().out

    @pytest.mark.parametrize("task", [["test"], ["--install", "test"], ["test", "--install", "--", "-k", "retry"]])
    def test_what_stands_after_the_task_is_for_the_task(
        self, project: Path, monkeypatch: pytest.MonkeyPatch, task: list[str]
    ) -> None:
        """With or without the two dashes; `--install` may stand on either side of it."""
        ran: dict[str, list[str]] = {}
        installs: list[bool] = []
        monkeypatch.delenv("CI", raising=False)
        monkeypatch.setattr(dev, "prepare", lambda may_install: installs.append(may_install) or "python")
        monkeypatch.setattr(dev, "sessions_of", lambda nox, tags: [f"{tag}-1" for tag in tags])
        monkeypatch.setattr(dev, "run_all", lambda commands: ran.update(commands) or 0)
        monkeypatch.setattr(system_packages, "install_servers", lambda root: None)

        assert dev.main(list(task)) == 0
        assert installs == ["--install" in task]
        assert list(ran) == ["test-1", "coverage-1"]
        expected = ["--", "-k", "retry"] if "retry" in task else []
        assert ran["test-1"] == ["python", "-m", "nox", "--non-interactive", "--session", "test-1", *expected]

    def test_an_environment_of_nox_that_was_never_finished_is_made_again(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whole ones and other folders stay."""
        for name in ("whole/pyvenv.cfg", "whole/installed", "broken/pyvenv.cfg", ".cache/thing"):
            (project / ".nox" / name).parent.mkdir(parents=True, exist_ok=True)
            (project / ".nox" / name).touch()
        monkeypatch.setattr(dev, "prepare", lambda may_install: "python")
        monkeypatch.setattr(dev, "run_all", lambda commands: 0)
        dev.main(["lint"])

        assert sorted(path.name for path in (project / ".nox").iterdir()) == [".cache", "whole"]


class TestSystemPackages:
    """Installing what the system lacks, with a stand-in for apt-get."""

    @pytest.fixture(autouse=True)
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The superuser of a Debian."""
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(system_packages, "PAUSE_SECONDS", 0)
        monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))

    def test_only_programs_that_are_missing_are_installed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A program of the right version that is on PATH counts. All at once: the lists are fetched for each call."""
        installed: list[str] = []
        monkeypatch.setattr(system_packages, "install", lambda *packages: installed.extend(packages))
        monkeypatch.setenv("PATH", str(tmp_path))
        script(tmp_path / "initdb", "exit 0")
        script(tmp_path / "postgres", "echo 'postgres (PostgreSQL) 99.1'")
        system_packages.install_servers(ROOT)

        assert {"redis-server", "chromium"} <= set(installed)
        assert "postgresql" not in installed

    def test_nobody_but_root_installs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is missing is skipped by name then."""
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        script(tmp_path / "apt-get", f"touch {tmp_path}/done")
        system_packages.install("redis-server")

        assert not (tmp_path / "done").exists()

    def test_another_installation_is_waited_for(self, tmp_path: Path) -> None:
        """A machine that has just started updates its own lists; what apt-get then refuses it does a moment later."""
        refuse = "test -e tried || { touch tried; echo 'E: Could not get lock /var/lib/apt/lists.' >&2; exit 100; }"
        script(tmp_path / "apt-get", f'cd {tmp_path}; {refuse}; echo "$@" >> done')
        system_packages.install("redis-server")

        assert [line.split()[4:] for line in (tmp_path / "done").read_text().splitlines()] == [
            ["update"],
            ["install", "-y", "--no-install-recommends", "redis-server"],
        ]

    def test_a_package_that_cannot_be_installed_is_told_with_what_was_said(self, tmp_path: Path) -> None:
        """Of lists that could not be fetched too: without them it may not be known."""
        script(tmp_path / "apt-get", 'for last; do :; done; echo "E: no $last" >&2; exit 100')

        with pytest.raises(SystemExit, match=r"^E: no update\nE: no redis-server\ntools/dev.py: `apt-get .* failed.$"):
            system_packages.install("redis-server")


def test_an_old_python_is_told_so() -> None:
    """In one sentence, with what to do, and not by a syntax error."""
    pretend = "import runpy, sys; sys.version_info = (3, 8, 0); runpy.run_path(sys.argv[1], run_name='__main__')"
    command = [sys.executable, "-c", pretend, str(ROOT / "tools/dev.py"), "demo"]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr.startswith("Nodus needs Python 3.10 or newer, and this is 3.8 (")
    ast.parse((ROOT / "tools/dev.py").read_text(encoding="ascii"), feature_version=(3, 6))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", ".ci/run", "docs/development/testing.md"])
def test_the_tasks_that_are_written_about_exist(page: str) -> None:
    """Commands in the documents are commands that work."""
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    sessions = {*re.findall(r"^def (\w+)\(session", noxfile, re.MULTILINE)}
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"tools/dev\.py (\w+)", text))

    assert named
    assert named <= sessions | {*dev.PROGRAMS, *dev.STAGES, "setup"}
    assert [name for name in dev.PROGRAMS.values() if not (ROOT / name).exists()] == []
    assert all(f'tags=["{tag}"]' in noxfile for stages in dev.STAGES.values() for tags in stages for tag in tags)
