"""The command says what is missing before anything fails for the lack of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from patience import PATIENCE_SECONDS

import nodus_control
from nodus_control.entry import missing_sdk

PROGRAM = "import sys; sys.argv = ['nodus-control', '--help']; from nodus_control.entry import main; main()"


def run_with(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command where another folder's package `nodus` is found first."""
    own = Path(nodus_control.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(own)])},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def test_the_sdk_is_here() -> None:
    """The tests run where the SDK is installed, so it is found."""
    assert missing_sdk() is None


def test_another_projects_package_is_not_taken_for_the_sdk(tmp_path: Path) -> None:
    """A package of that name which lacks the SDK's modules is told apart."""
    (tmp_path / "nodus").mkdir()
    (tmp_path / "nodus" / "__init__.py").write_text("", encoding="utf-8")
    done = run_with(tmp_path)

    assert (done.returncode, done.stdout) == (3, "")
    assert "is another project's" in done.stderr
    assert "pip install . ./control_plane" in done.stderr


def test_without_the_sdk_the_command_says_how_to_install_it(tmp_path: Path) -> None:
    """The command says so in a line, without a traceback."""
    # A finder that knows no `nodus`, as in an environment without it.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    @staticmethod\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'nodus': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent)\n",
        encoding="utf-8",
    )
    done = run_with(tmp_path)

    assert (done.returncode, done.stdout) == (3, "")
    assert "which is not installed" in done.stderr
    assert "Traceback" not in done.stderr
