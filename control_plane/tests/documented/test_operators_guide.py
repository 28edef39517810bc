"""The operators' guide: its commands run as they stand, in the order of the page, and it knows every command."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nodus_ledger.admin.program import COMMANDS
from nodus_ledger.admin.program import parser as make_parser

PAGE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "keys-and-budgets.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not beside these tests")


def command_names() -> list[str]:
    """The names of the operator's commands."""
    return [line.split()[0] for line in make_parser().format_help().splitlines() if re.match(r" {4}[a-z]", line)]


@pytest.mark.skipif(
    shutil.which("python", path=str(Path(sys.executable).parent)) is None, reason="there is no `python` beside this one"
)
def test_its_commands_run_in_the_order_of_the_page(tmp_path: Path) -> None:
    """A key is minted, capped, listed, rotated, revoked; and the ledger is sound."""
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    mint = next(block for block in blocks if " mint " in block)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {name: text for name, text in os.environ.items() if not name.startswith("NODUS_")}

    def run(script: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-e", "-c", script],
            cwd=tmp_path,
            env={**kept, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    key_id = json.loads(run(blocks[0] + mint.rstrip("\n") + " --json"))["key_id"]
    printed = run("\n".join(block.replace("KEY_ID", key_id) for block in blocks))

    assert "$3000.00" in printed
    assert "revoked\n" in printed
    assert printed.endswith("the ledger is sound\n")


def test_it_names_the_commands_that_keys_need() -> None:
    """None is left for the reader to find out."""
    page = PAGE.read_text(encoding="utf-8")
    names = command_names()

    assert len(names) == len(COMMANDS)
    assert [name for name in names if name != "export" and f"nodus_ledger.admin {name}" not in page] == []
