"""The command in a program that PyInstaller made."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nodus import _pyinstaller

PROGRAM = "import sys\nfrom nodus._cli import main\nsys.exit(main())\n"

PATIENCE_SECONDS = 1800

# What the command has no use for, and PyInstaller would look through because something else can use it.
NOT_NEEDED = [
    "_pytest",
    "cffi",
    "distutils",
    "hypothesis",
    "jinja2",
    "pygments",
    "pytest",
    "requests",
    "rich",
    "setuptools",
    "watchdog",
]

# Set by the session of noxfile.py that installs PyInstaller.
MUST_FREEZE = bool(os.environ.get("NODUS_TEST_FREEZES"))


def test_the_hook_is_announced() -> None:
    """PyInstaller finds it by an entry point, in the folder that this names."""
    (folder,) = _pyinstaller.get_hook_dirs()
    pyproject = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8")

    assert Path(folder, "hook-nodus.py").is_file()
    assert '[project.entry-points.pyinstaller40]\nhook-dirs = "nodus._pyinstaller:get_hook_dirs"\n' in pyproject


# It computes for a quarter of a minute, which takes minutes on a busy machine.
@pytest.mark.timeout(PATIENCE_SECONDS)
@pytest.mark.skipif(
    not MUST_FREEZE and importlib.util.find_spec("PyInstaller") is None,
    reason="PyInstaller is not installed here: NODUS_TESTS=whole has it, on a Python with a shared library",
)
def test_a_frozen_command_has_its_commands(tmp_path: Path) -> None:
    """PyInstaller's hook includes all commands, those in groups too."""
    (tmp_path / "app.py").write_text(PROGRAM, encoding="utf-8")
    # An environment that was installed before the entry point was there does not announce it.
    announced = any(
        point.value.startswith("nodus.") for point in importlib.metadata.entry_points(group="pyinstaller40")
    )
    hooks = [] if announced else ["--additional-hooks-dir", *_pyinstaller.get_hook_dirs()]
    options = ["--onedir", "--noconfirm", "--log-level", "ERROR", *hooks]
    options += [word for name in NOT_NEEDED for word in ("--exclude-module", name)]
    subprocess.run(
        [sys.executable, "-m", "PyInstaller", *options, "app.py"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    frozen = tmp_path / "dist" / "app" / "app"
    for words in (["completion", "bash"], ["ledger", "verify", "--help"], ["webhooks", "listen", "--help"]):
        assert subprocess.run([frozen, *words], capture_output=True).returncode == 0
    failed = subprocess.run(
        [frozen, "health", "--json"],
        env={"NODUS_API_KEY": "nk_test_x", "NODUS_BASE_URL": "http://127.0.0.1:1"},
        capture_output=True,
    )

    assert (failed.returncode, json.loads(failed.stderr)["error"]) == (8, "connection_error")
