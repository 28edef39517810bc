"""The driver of the guide passes the suite, run as its reader runs it: in a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE_SECONDS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "writing-a-driver.md"
pytestmark = [
    pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not beside these tests"),
    pytest.mark.skipif(os.name != "posix", reason="it runs commands of a POSIX shell"),
]


def write_blocks(folder: Path) -> list[str]:
    """Write each block of the page that begins with the name of a file; return the names."""
    blocks = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for name, text in blocks:
        (folder / name).write_text(text, encoding="utf-8")
    return [name for name, _ in blocks]


def test_the_driver_of_the_page_passes(tmp_path: Path) -> None:
    """No check fails, and few are skipped."""
    names = write_blocks(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-p", "no:schemathesis", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE_SECONDS,
    )
    counted = re.search(r"(\d+) passed, (\d+) skipped", ended.stdout)

    assert names == ["folder_driver.py", "test_folder_driver.py"]
    assert ended.returncode == 0, ended.stdout
    assert counted is not None, ended.stdout
    assert int(counted[1]) >= 25
    assert int(counted[2]) <= 5


def test_the_page_names_every_part_of_a_subject() -> None:
    """What an author may say of their engine is in the table."""
    from nodus_control.suppliers.conformance import Subject

    page = PAGE.read_text(encoding="utf-8")
    helpers = {"now", "rest", "placement", "trial", "eventually", "end_all"}
    facts = {"runs_programs", "remembers_cancellations", "supplier", "region", "gpu"}
    parts = {name for name in vars(Subject) if not name.startswith("_")} - helpers - facts

    assert {name for name in parts if f"`{name}" not in page} == set()
