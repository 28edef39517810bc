"""How the development tool runs sessions side by side, with a stand-in for nox."""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from devtool import sessions
from devtool.sessions import Ending

NOX = """
import json, os, pathlib, signal, sys, time

if "--list" in sys.argv:
    wanted = sys.argv[sys.argv.index("--tags") + 1 :]
    print(json.dumps([{"session": f"{tag}-{number}"} for tag in wanted for number in (1, 2)]))
    sys.exit()

name = sys.argv[sys.argv.index("--sessions") + 1]
report = pathlib.Path(sys.argv[sys.argv.index("--report") + 1])
print(f"{name} says {sys.argv[sys.argv.index('--') + 1:] if '--' in sys.argv else 'nothing'}", flush=True)
kind, _, other = name.partition("+")
if kind == "meets":  # ends only once the other has begun
    pathlib.Path(name).touch()
    while not pathlib.Path(f"meets+{other[::-1]}").exists():
        time.sleep(0.01)
if kind == "waits":  # for a signal
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    pathlib.Path("pid.tmp").write_text(str(os.getpid()))
    os.rename("pid.tmp", "pid")
    signal.pause()
if kind == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
result = {"fails": "failed", "skips": "skipped"}.get(kind, "success")
report.write_text(json.dumps({"sessions": [{"name": name, "result": result}]}))
sys.exit(3 if kind == "fails" else 0)
"""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in waits for POSIX signals")


@pytest.fixture
def nox(tmp_path: Path) -> list[str]:
    """The command that starts the stand-in."""
    program = tmp_path / "nox.py"
    program.write_text(NOX)
    return [sys.executable, str(program)]


def run(nox: Sequence[str], *names: str, arguments: Sequence[str] = (), at_once: int = 2) -> list[Ending]:
    """Run sessions of the stand-in, in its folder."""
    return sessions.run(nox, dict(os.environ), Path(nox[1]).parent, names, arguments, at_once=at_once)


def test_sessions_are_found_by_their_tags(nox: list[str], tmp_path: Path) -> None:
    """In the order in which nox lists them."""
    found = sessions.find(nox, dict(os.environ), tmp_path, ["lint", "docs"])

    assert found == ["lint-1", "lint-2", "docs-1", "docs-2"]


def test_two_run_at_the_same_time(nox: list[str]) -> None:
    """Each of these ends only because the other runs."""
    endings = run(nox, "meets+ab", "meets+ba")

    assert [ending.result for ending in endings] == ["success", "success"]


def test_each_ending_is_told_in_the_order_asked_for(nox: list[str]) -> None:
    """A session that was killed before it could report has failed."""
    endings = run(nox, "fails", "passes", "skips", "dies")

    assert endings == [
        Ending("fails", 3, "failed"),
        Ending("passes", 0, "success"),
        Ending("skips", 0, "skipped"),
        Ending("dies", -9, "failed"),
    ]


def test_what_ran_side_by_side_is_not_mixed_up(nox: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """The output of each comes whole, under its name and how it ended."""
    run(nox, "passes", "fails", arguments=["-k", "x"])

    printed = capfd.readouterr().out
    assert "passes: passed\npasses says ['-k', 'x']\n" in printed
    assert "fails: failed\nfails says ['-k', 'x']\n" in printed


def test_one_alone_writes_straight_to_the_terminal(nox: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever watches sees it as it comes."""
    run(nox, "passes")

    assert capfd.readouterr().out == "passes says nothing\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_a_signal_nothing_is_started_and_nothing_left(
    nox: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C reaches the sessions by itself; a SIGTERM is handed on to them."""
    pid = tmp_path / "pid"

    def interrupt() -> None:
        while not pid.exists():
            pass
        # Itself first: a session that is over may make room for the next.
        os.kill(os.getpid(), number)
        if number is signal.SIGINT:
            os.kill(int(pid.read_text()), number)

    # Whoever was started in the background of a shell finds SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()

    with pytest.raises(KeyboardInterrupt):
        run(nox, "waits+", "passes", at_once=1)
    thread.join()
    signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(
    ("limit", "most"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), (None, None)]
)
def test_no_more_run_side_by_side_than_a_container_has_cores(
    tmp_path: Path, limit: str | None, most: int | None
) -> None:
    """Though the machine may have many."""
    if limit is not None:
        (tmp_path / "cpu.max").write_text(f"{limit}\n")

    assert sessions.cores(tmp_path) == (most or sessions.cores(tmp_path / "nowhere"))


def test_the_closing_line_says_how_each_session_ended() -> None:
    """Those that were skipped too."""
    endings = [Ending("tests-3.10", 0, "success"), Ending("tests-3.11", 0, "skipped")]

    assert sessions.summary("test", endings) == "test: tests-3.10 passed, tests-3.11 skipped"
