"""Programs that are started by forking."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import forked
import pytest
from patience import PATIENCE_SECONDS

_STARTS_LATE = """
import os
import sys

sys.path[:0] = {path!r}

import forked

os.environ["SET_BY_A_FIXTURE"] = "for one test"
assert forked.run("control", "--help").returncode == 0
me = os.getpid()
with open(f"/proc/{{me}}/task/{{me}}/children") as children:
    (server,) = children.read().split()
with open(f"/proc/{{server}}/environ") as environ:
    print(environ.read())
"""


@pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="the system does not tell of children"
)
def test_the_fork_server_knows_nothing_that_a_fixture_has_set() -> None:
    """A cluster's fixture ends all that names its folder, and the server is there for the tests after it."""
    environment = {**os.environ, "SET_BEFORE": "for all tests"}
    program = [sys.executable, "-c", _STARTS_LATE.format(path=sys.path)]
    said = subprocess.run(
        program, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    ).stdout

    assert "SET_BEFORE" in said
    assert "SET_BY_A_FIXTURE" not in said


def test_code_is_run_as_python_runs_it() -> None:
    """With the arguments behind it; its exit status is the program's."""
    ended = forked.run("code", "import sys; print(__name__, sys.argv[1:]); sys.exit(3)", "worker", "--db=x")

    assert (ended.returncode, ended.stdout) == (3, "__main__ ['worker', '--db=x']\n")
