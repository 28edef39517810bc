"""tools/dev.py and what it is made of: it finds Pythons, makes an environment, and fails in words."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import interpreters
from devtool import environment, lock, main

ROOT = Path(__file__).resolve().parents[1]
CURRENT = "{}.{}".format(*sys.version_info[:2])

posix_only = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are shell scripts")


def script(path: Path, text: str) -> Path:
    """A shell script to stand in for a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def stand_in_python(path: Path, version: str) -> Path:
    """A program that, asked like a Python, says that it is CPython of that version."""
    return script(path, f"echo {version}; echo cpython")


class TestInterpreters:
    """Which Pythons count as present."""

    @pytest.fixture(autouse=True)
    def empty_machine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing on PATH, no pyenv, no uv: each test adds what it is about."""
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))

    def test_the_supported_versions_are_those_of_the_classifiers(self) -> None:
        """They are promised in one place."""
        assert interpreters.supported_versions() == ["3.10", "3.11", "3.12", "3.13"]

    def test_the_python_that_runs_this_is_always_found(self) -> None:
        """Whatever it is, it runs."""
        found = interpreters.find_interpreter(CURRENT)

        assert found is not None
        assert found.is_absolute()

    @posix_only
    def test_a_python_on_path_is_found(self, tmp_path: Path) -> None:
        """By its absolute path."""
        expected = stand_in_python(tmp_path / "bin/python3.99", "3.99")

        assert interpreters.find_interpreter("3.99") == expected

    @posix_only
    @pytest.mark.parametrize(
        "text", ["echo 'pyenv: python3.99: command not found' >&2; exit 127", "echo 3.98; echo cpython"]
    )
    def test_what_does_not_run_as_that_version_is_passed_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
    ) -> None:
        """A shim of a version that is not selected hides no real one further along."""
        monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:{tmp_path / 'bin'}")
        script(tmp_path / "shims/python3.99", text)
        assert interpreters.find_interpreter("3.99") is None

        expected = stand_in_python(tmp_path / "bin/python3.99", "3.99")

        assert interpreters.find_interpreter("3.99") == expected

    @posix_only
    @pytest.mark.parametrize("pyenv", ["bin/pyenv", "pyenv/bin/pyenv"])
    def test_pyenv_is_asked_for_versions_that_are_not_selected(self, tmp_path: Path, pyenv: str) -> None:
        """The newest release of the version, whether pyenv is on PATH or only in its usual place."""
        script(
            tmp_path / pyenv,
            f"""[ "$1" = prefix ] && echo "{tmp_path}/$2" || printf '3.98.1\\n3.99.2\\n3.99.10\\nmine\\n'""",
        )
        stand_in_python(tmp_path / "3.99.2/bin/python3.99", "3.99")
        expected = stand_in_python(tmp_path / "3.99.10/bin/python3.99", "3.99")

        assert interpreters.find_interpreter("3.99") == expected

    @posix_only
    def test_uv_is_asked_too(self, tmp_path: Path) -> None:
        """Without letting it download anything."""
        expected = stand_in_python(tmp_path / "uv-python", "3.99")
        script(
            tmp_path / "bin/uv",
            f"""[ "$*" = "python find --no-python-downloads --no-project 3.99" ] && echo {expected}""",
        )

        assert interpreters.find_interpreter("3.99") == expected


@posix_only
class TestEnvironment:
    """The life of `.venv`, with stand-ins for venv and pip."""

    @pytest.fixture(autouse=True)
    def project(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """An empty project."""
        monkeypatch.setattr(environment, "ROOT", tmp_path)
        monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
        (tmp_path / "pyproject.toml").write_text("")
        return tmp_path

    @pytest.fixture
    def ran(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What was run: "venv" or "pip"; the first makes an environment that works."""
        done: list[str] = []

        def run(command: Sequence[str], failure: str) -> None:
            done.append(command[2])
            if command[2] == "venv":
                script(environment.python_of(project / ".venv"), "echo pip 26.0 from there")

        monkeypatch.setattr(environment, "_run", run)
        return done

    @pytest.fixture
    def pip_fails(self, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        """Call it, and pip fails from then on."""
        working = environment._run

        def fail() -> None:
            def run(command: Sequence[str], failure: str) -> None:
                working(command, failure)
                if command[2] == "pip":
                    raise environment.SetupError(failure)

            monkeypatch.setattr(environment, "_run", run)

        return fail

    def test_it_is_made_once(self, project: Path, ran: list[str]) -> None:
        """The second run finds everything in place."""
        python = environment.prepare()

        assert environment.prepare() == python == project / ".venv/bin/python"
        assert ran == ["venv", "pip"]

    def test_it_is_brought_up_to_date_when_requirements_change(self, project: Path, ran: list[str]) -> None:
        """In place, since most of it is right already."""
        environment.prepare()
        (project / "pyproject.toml").write_text("# other requirements")
        environment.prepare()

        assert ran == ["venv", "pip", "pip"]

    def test_an_old_pip_is_replaced_first(self, project: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        """The one that comes with an older Python knows no dependency groups."""
        monkeypatch.setattr(environment, "_pip_version", lambda python: (24, 0))
        environment.prepare()

        assert ran == ["venv", "pip", "pip"]

    def test_a_failed_installation_leaves_nothing_behind(
        self, project: Path, ran: list[str], pip_fails: Callable[[], None]
    ) -> None:
        """And says where to look: the next run starts afresh."""
        pip_fails()

        with pytest.raises(environment.SetupError, match="pip could not install"):
            environment.prepare()
        assert not (project / ".venv").exists()

    def test_a_failed_update_keeps_what_there_was_and_is_tried_again(
        self, project: Path, ran: list[str], pip_fails: Callable[[], None]
    ) -> None:
        """No working environment is thrown away for want of a network."""
        environment.prepare()
        (project / "pyproject.toml").write_text("# other requirements")
        pip_fails()
        for _ in range(2):
            with pytest.raises(environment.SetupError):
                environment.prepare()

        assert environment.python_of(project / ".venv").exists()
        assert ran == ["venv", "pip", "pip", "pip"]

    def test_an_environment_whose_making_was_cut_short_is_made_again(self, project: Path, ran: list[str]) -> None:
        """A killed run leaves its mark, and what it left is not trusted."""
        environment.prepare()
        (project / ".venv/.unfinished").touch()
        (project / ".venv/leftover").touch()
        environment.prepare()

        assert ran == ["venv", "pip", "venv", "pip"]
        assert not (project / ".venv/leftover").exists()

    def test_an_environment_whose_python_is_gone_is_made_again(self, project: Path, ran: list[str]) -> None:
        """Pythons are upgraded and removed."""
        environment.prepare()
        environment.python_of(project / ".venv").unlink()
        environment.prepare()

        assert ran == ["venv", "pip", "venv", "pip"]

    def test_a_working_environment_that_someone_else_made_is_used(self, project: Path, ran: list[str]) -> None:
        """It is theirs to remove, and theirs to have the project in."""
        script(environment.python_of(project / ".venv"), "echo pip 26.0 from there")
        environment.prepare()

        assert ran == ["pip"]

    def test_a_broken_one_that_someone_else_made_is_left_to_them(self, project: Path, ran: list[str]) -> None:
        """Nothing is deleted that this tool did not make."""
        (project / ".venv").mkdir()
        (project / ".venv/precious").touch()

        with pytest.raises(environment.SetupError, match="remove it"):
            environment.prepare()
        assert (project / ".venv/precious").exists()
        assert ran == []

    def test_a_python_without_ensurepip_is_told_what_to_install(
        self, project: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As on Debian, where it is a package of its own."""
        real = environment.importlib.util.find_spec
        monkeypatch.setattr(
            environment.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else real(name)
        )

        with pytest.raises(environment.SetupError, match=rf"lacks ensurepip.*\n.*apt-get install python{CURRENT}-venv"):
            environment.prepare()
        assert not (project / ".venv").exists()


def test_environments_that_were_never_finished_are_discarded(tmp_path: Path) -> None:
    """Unless they are so young that someone may be at it; whole ones and other folders stay."""
    for name in ("whole", "installed", "broken", "without pip", ".cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "installed/installed").touch()
    script(environment.python_of(tmp_path / "whole"), "exit 0")
    script(environment.python_of(tmp_path / "without pip"), "exit 1")
    made = (tmp_path / "broken").stat().st_mtime
    (tmp_path / "test.lock").touch()

    environment.discard_unfinished(tmp_path, now=made + 1)
    assert len(list(tmp_path.iterdir())) == 6

    environment.discard_unfinished(tmp_path, now=made + 100)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".cache", "installed", "test.lock", "whole"]


@pytest.mark.parametrize(
    ("printed", "hint"), [("ERROR: No matching distribution found for nox", True), ("error: no space left", False)]
)
def test_what_pip_printed_is_part_of_the_message(printed: str, hint: bool) -> None:
    """Its last lines name the cause; where that is the index, the message says what to look at."""
    program = f"print({printed!r}); raise SystemExit(1)"

    with pytest.raises(environment.SetupError) as caught:
        environment._run([sys.executable, "-c", program], "It failed.")
    assert str(caught.value).startswith(f"{printed}\nIt failed.")
    assert ("PIP_INDEX_URL" in str(caught.value)) is hint


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    """And is free again afterwards."""
    path = tmp_path / "folder/lock"
    with lock.exclusive(path, "busy"):
        descriptor = os.open(path, os.O_RDWR)
        assert lock._lock(descriptor, wait=False) is False

    assert lock._lock(descriptor, wait=False) is True
    os.close(descriptor)


@pytest.mark.parametrize(
    ("arguments", "install", "rest"),
    [
        (["test"], False, []),
        (["--install", "test"], True, []),
        (["test", "--install"], True, []),
        (["test", "--", "-k", "retry"], False, ["-k", "retry"]),
        (["test", "--install", "--", "--install"], True, ["--install"]),
        (["test", "-k", "retry"], False, ["-k", "retry"]),
    ],
)
def test_arguments_after_the_task_are_for_the_task(arguments: list[str], install: bool, rest: list[str]) -> None:
    """With or without the two dashes; `--install` may stand on either side of it."""
    options, found = main._parse(arguments)

    assert (options.task, options.install, found) == ("test", install, rest)


def test_an_unknown_task_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, with those that exist."""
    with pytest.raises(SystemExit, match="2"):
        main.main(["tset"])

    assert "'tset' (choose from " in capsys.readouterr().err


def test_a_failure_to_prepare_is_exit_status_2_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message alone."""

    def fail(*, install_system_packages: bool) -> Path:
        raise environment.SetupError("no index")

    monkeypatch.setattr(main, "prepare", fail)

    assert main.main(["setup"]) == 2
    assert capsys.readouterr().err == "tools/dev.py: no index\n"


@posix_only
def test_only_programs_that_are_missing_are_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root on Debian alone."""
    installed: list[str] = []
    monkeypatch.setattr(environment, "install_system_package", installed.append)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(environment, "can_install_system_packages", lambda: False)
    environment.install_servers()
    assert installed == []

    monkeypatch.setattr(environment, "can_install_system_packages", lambda: True)
    script(tmp_path / "initdb", "exit 0")
    script(tmp_path / "postgres", "echo 'postgres (PostgreSQL) 99.1'")
    environment.install_servers()

    assert installed == ["redis-server", "chromium"]


@posix_only
def test_another_installation_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has just started updates its own lists; what apt-get then refuses it does a moment later."""
    monkeypatch.setattr(environment, "APT_PAUSE_SECONDS", 0)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    refuse = "test -e tried || { touch tried; echo 'E: Could not get lock /var/lib/apt/lists/lock.' >&2; exit 100; }"
    script(tmp_path / "apt-get", f'cd {tmp_path}; {refuse}; echo "$@" >> done')
    environment.install_system_package("redis-server")

    assert [line.split()[4:] for line in (tmp_path / "done").read_text().splitlines()] == [
        ["update"],
        ["install", "-y", "--no-install-recommends", "redis-server"],
    ]


@posix_only
def test_a_package_that_cannot_be_installed_is_told_with_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of lists that could not be fetched too: without them it may not be known."""
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    script(tmp_path / "apt-get", 'for last; do :; done; echo "E: no $last" >&2; exit 100')

    with pytest.raises(environment.SetupError, match=r"redis-server` failed:\nE: no update\nE: no redis-server$"):
        environment.install_system_package("redis-server")


@posix_only
@pytest.mark.parametrize(("text", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143)])
def test_the_exit_status_is_that_of_the_program(tmp_path: Path, text: str, status: int) -> None:
    """One that a signal ended gives 128 and the signal's number, as in a shell."""
    assert main._run([str(script(tmp_path / "program", text))]) == status


def test_an_old_python_is_told_so() -> None:
    """In one sentence, with what to do, and not by a syntax error."""
    pretend = "import runpy, sys; sys.version_info = (3, 8, 0); runpy.run_path(sys.argv[1], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", pretend, str(ROOT / "tools/dev.py"), "demo"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("Nodus needs Python 3.10 or newer, and this is 3.8 (")
    ast.parse((ROOT / "tools/dev.py").read_text(encoding="ascii"), feature_version=(3, 4))


def test_every_task_leads_somewhere() -> None:
    """A tag that a nox session has, or a program of the project."""
    tags = set(re.findall(r'tags=\["(\w+)"\]', (ROOT / "noxfile.py").read_text(encoding="utf-8")))

    assert {tag for task in main.TASKS.values() for stage in task.stages for tag in stage} <= tags
    assert [task.program for task in main.TASKS.values() if task.program and not (ROOT / task.program).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", ".ci/run"])
def test_the_tasks_that_are_written_about_exist(page: str) -> None:
    """Commands in the documents are commands that work."""
    text = (ROOT / page).read_text(encoding="utf-8")
    loop = re.search(r"for task in ([\w ]+);", text)
    named = {*re.findall(r"tools/dev\.py (\w+)", text), *(loop[1].split() if loop else ())}

    assert named
    assert named <= set(main.TASKS)
