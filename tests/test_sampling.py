"""What a run of the tests leaves out is chosen alike everywhere, and left to another run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Collect = Callable[..., list[str]]

SUPPORT = Path(__file__).parent / "support"

MODULE = """
import pytest

@pytest.mark.campaign(3)
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_many(loop, number): pass

def test_one(): pass

def test_two(): pass
"""


@pytest.fixture
def collect(tmp_path: Path) -> Collect:
    """Tells which tests a run with some arguments would take."""
    (tmp_path / "test_module.py").write_text(MODULE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = soak\n")

    def run(*arguments: str, whole: bool = False) -> list[str]:
        # Without the plugins that are installed, which take longer to load than all else.
        environment = {**os.environ, "PYTHONPATH": str(SUPPORT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        environment |= {"NODUS_TESTS": "whole"} if whole else {}
        command = [sys.executable, "-m", "pytest", "-p", "sampling", "--collect-only", "-q", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        return [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]

    return run


def test_of_a_campaign_a_sample_is_in_every_run_and_the_rest_in_soak(collect: Collect) -> None:
    """Together they are the whole; the sample has both event loops in it."""
    sample, rest, everything = collect("-m", "not soak"), collect("-m", "soak"), collect()

    assert sorted(sample + rest) == sorted(everything)
    assert sample == [
        *(f"test_many[{case}]" for case in ("asyncio-0", "asyncio-3", "trio-1", "trio-4")),
        "test_one",
        "test_two",
    ]


def test_the_whole_can_be_asked_for(collect: Collect) -> None:
    """Then no case is left to another run."""
    assert collect("-m", "not soak", whole=True) == collect()


def test_each_test_is_in_one_share(collect: Collect, tmp_path: Path) -> None:
    """Shares do not overlap, and leave nothing out."""
    for name in ("one", "two", "three", "four"):
        (tmp_path / f"test_{name}.py").write_text(f"def test_of_{name}(): pass\n")
    shares = [collect("--share", f"{number}/3") for number in (1, 2, 3)]

    assert sorted(test for share in shares for test in share) == sorted(collect())
    assert all(shares)


def test_files_of_other_shares_are_not_imported(collect: Collect, tmp_path: Path) -> None:
    """That would take longer than many tests."""
    (tmp_path / "test_module.py").write_text(
        "from pathlib import Path\nPath('imported').touch()\ndef test_one(): pass\n"
    )
    share = next(number for number in (1, 2) if not collect("--share", f"{number}/2"))

    (tmp_path / "imported").unlink(missing_ok=True)
    assert collect("--share", f"{share}/2") == []
    assert not (tmp_path / "imported").exists()
