"""The fixtures that pytest finds by itself: what the guide shows runs, and nothing is loaded before its time."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "testing.md"
TESTS = "import nodus\nimport pytest\n\n\n"


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder, as its user would, who need not have schemathesis."""
    without = ["-p", "no:cacheprovider", "-p", "no:schemathesis"]
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", *without, *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_pytest_finds_the_plugin() -> None:
    """The distribution announces it by an entry point."""
    found = {each.name: each.value for each in entry_points(group="pytest11")}

    assert found["nodus"] == "nodus_control.pytest_plugin"


def test_the_guides_examples_pass(tmp_path: Path) -> None:
    """As they stand there; the marker is known, and no warning comes."""
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    tests = [block for block in blocks if "def test_" in block]
    (tmp_path / "test_guide.py").write_text(TESTS + "\n\n".join(tests), encoding="utf-8")
    done = run_pytest(tmp_path, "--strict-markers")

    assert done.returncode == 0, done.stdout
    # Four tests and one with a marker, and one on each of two event loops.
    assert "7 passed" in done.stdout
    assert len(tests) == 3


def test_the_other_examples_run() -> None:
    """The examples of the guide that use no pytest work too."""
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    others = [block for block in blocks if "def test_" not in block]
    for block in others:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", "import nodus\n" + block], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    assert len(others) == 1


def test_nothing_is_loaded_until_a_fixture_is_used(tmp_path: Path) -> None:
    """Neither the SDK nor the control plane slows down other tests."""
    (tmp_path / "test_other.py").write_text(
        "import sys\n\n"
        "def test_nothing_is_loaded(pytestconfig):\n"
        "    assert pytestconfig.pluginmanager.hasplugin('nodus')\n"
        "    heavy = {'nodus', 'nodus_ledger', 'nodus_core', 'fastapi', 'sqlalchemy', 'httpx', 'pydantic', 'uvicorn'}\n"
        "    assert heavy.isdisjoint(sys.modules)\n",
        encoding="utf-8",
    )
    done = run_pytest(tmp_path)

    assert done.returncode == 0, done.stdout
