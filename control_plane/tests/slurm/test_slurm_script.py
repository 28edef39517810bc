"""The batch script under the shells that clusters have, without a cluster: what it writes and what it runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PATIENCE_SECONDS, eventually

from nodus_control.suppliers.slurm.records import Records, parse_records, read_records
from nodus_control.suppliers.slurm.script import batch_script, quote, secret_text

SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"]}

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nodes of a cluster run Linux")


@pytest.fixture(params=sorted(SHELLS))
def shell(request: pytest.FixtureRequest) -> list[str]:
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param} here")
    return SHELLS[request.param]


class Attempt:
    """An attempt's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "work").mkdir()

    def write(self, command: Sequence[str], env: Mapping[str, str] | None = None, **options: object) -> Attempt:
        text = batch_script(**{"folder": str(self.folder), "limit_seconds": 600, "gpu_count": 0, **options})  # type: ignore[arg-type]
        (self.folder / "script").write_text(text)
        (self.folder / "secret").write_bytes(secret_text(command, env or {}).encode())
        return self

    def begin(self, shell: Sequence[str], **environment: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*shell, self.folder / "script"],
            env={"PATH": os.defpath, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run(self, shell: Sequence[str], **environment: str) -> Records:
        assert self.begin(shell, **environment).wait(PATIENCE_SECONDS) == 0
        return self.records()

    def records(self) -> Records:
        texts = {}
        for name in ("claim", "started", "alive", "ended"):
            if (self.folder / name).exists():
                texts[name] = (self.folder / name).read_text().split("\n")[0]
        return read_records(texts)

    def output(self) -> bytes:
        return (self.folder / "output").read_bytes()


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return Attempt(tmp_path)


def test_a_program_runs_and_its_end_is_written_down(attempt: Attempt, shell: list[str]) -> None:
    """In its own folder, without input, and with nothing secret left."""
    record = attempt.write(["sh", "-c", "pwd; cat; echo err >&2; exit 7"]).run(shell)

    assert record.ended is not None
    assert (record.ended.reason, record.ended.status) == ("exited", 7)
    assert attempt.output() == f"{attempt.folder}/work\nerr\n".encode()
    assert sorted(path.name for path in attempt.folder.iterdir()) == sorted(
        ["alive", "claim", "ended", "output", "script", "secret", "started", "work"]
    )
    assert (attempt.folder / "secret").read_bytes() == b""


def test_the_same_script_again_does_nothing(attempt: Attempt, shell: list[str]) -> None:
    """Even with its secrets put back."""
    attempt.write(["sh", "-c", "echo ran >> runs"]).run(shell)
    attempt.write(["sh", "-c", "echo ran >> runs"]).run(shell)

    assert (attempt.folder / "work" / "runs").read_text() == "ran\n"


def test_of_many_copies_at_once_one_runs(attempt: Attempt, shell: list[str]) -> None:
    """Whichever is first to the claim."""
    attempt.write(["sh", "-c", "echo ran >> runs"])
    copies = [attempt.begin(shell) for _ in range(8)]

    assert [copy.wait(PATIENCE_SECONDS) for copy in copies] == [0] * 8
    assert (attempt.folder / "work" / "runs").read_text() == "ran\n"


def test_variables_with_any_name_and_value_reach_the_program(attempt: Attempt, shell: list[str]) -> None:
    """Those by which the script goes among them."""
    names = ["timeout", "setsid", "local", "program", "secret", "status", "token", "PATH_", "record"]
    value = "".join(map(chr, range(1, 0x250))) + "\u20ac\U0001f680'\"\n\n"
    program = "import os, sys; print(ascii([os.environ[name] for name in sys.argv[1:]]))"
    attempt.write([sys.executable, "-c", program, *names], dict.fromkeys(names, value)).run(shell, LANG="C.UTF-8")

    assert attempt.output().decode() == ascii([value] * len(names)) + "\n"


def test_gpus_that_are_missing_keep_a_program_from_starting(attempt: Attempt, shell: list[str]) -> None:
    """By what Slurm says that it gave."""
    record = attempt.write(["echo", "ran"], gpu_count=2).run(shell, SLURM_JOB_GPUS="3")

    assert record.ended is not None
    assert (record.ended.reason, record.started_at) == ("no_gpus", None)
    assert not (attempt.folder / "output").exists()
    assert (attempt.folder / "secret").read_bytes() == b""


@pytest.mark.parametrize("given_gpus", [{"SLURM_JOB_GPUS": "3,5"}, {"SLURM_GPUS_ON_NODE": "2", "SLURM_JOB_GPUS": "3"}])
def test_gpus_that_are_there_are_counted(attempt: Attempt, shell: list[str], given_gpus: dict[str, str]) -> None:
    """Old and new Slurm say it in two ways."""
    record = attempt.write(["echo", "ran"], gpu_count=2).run(shell, **given_gpus)

    assert record.ended is not None
    assert record.ended.reason == "exited"


def test_a_limit_ends_a_program_that_does_not_hear(attempt: Attempt, shell: list[str]) -> None:
    """TERM first, KILL five seconds later."""
    record = attempt.write(["sh", "-c", "trap 'echo heard' TERM; while :; do sleep 0.1; done"], limit_seconds=1).run(
        shell
    )

    assert record.ended is not None
    assert record.ended.reason == "limit"
    assert record.ended.seconds >= 6.0
    assert b"heard" in attempt.output()


def test_a_program_that_is_ended_before_its_script_hears_of_it_was_ended(attempt: Attempt, shell: list[str]) -> None:
    """As Slurm ends all that runs of a job, one after the other: it did not end by itself."""
    script = attempt.write(["sh", "-c", "echo $$ >pid; exec sleep 600"]).begin(shell)
    pid = attempt.folder / "work" / "pid"
    eventually(lambda: pid.exists() and pid.read_text().endswith("\n"))
    number = int(pid.read_text())
    os.kill(number, signal.SIGTERM)
    eventually(lambda: not Path(f"/proc/{number}").exists())
    script.send_signal(signal.SIGTERM)

    assert script.wait(PATIENCE_SECONDS) == 0
    ended = attempt.records().ended
    assert ended is not None
    assert (ended.reason, ended.status) == ("signalled", 143)


def test_output_over_the_limit_is_marked(attempt: Attempt, shell: list[str]) -> None:
    """And output of exactly the limit is not."""
    attempt.write(["sh", "-c", "yes | head -c 1024"], output_limit_bytes=1024).run(shell)
    whole = attempt.output()
    for name in ("claim", "ended", "started"):
        (attempt.folder / name).unlink()
    attempt.write(["sh", "-c", "yes | head -c 1025"], output_limit_bytes=1024).run(shell)

    assert whole == b"y\n" * 512
    assert attempt.output() == whole + b"\n[output over 1024 bytes was not kept]\n"


def test_what_a_program_leaves_behind_is_ended_and_not_waited_for(attempt: Attempt, shell: list[str]) -> None:
    """What left its group too, as far as its output goes."""
    record = attempt.write(["sh", "-c", "sleep 3600 & setsid sleep 60 & echo done"]).run(shell)

    assert record.ended is not None
    assert record.ended.seconds < 30
    assert attempt.output() == b"done\n"


def test_the_operators_command_runs_before_the_end_is_written(attempt: Attempt, shell: list[str]) -> None:
    """Whatever becomes of it."""
    seen = attempt.folder / "seen"
    stop = ["sh", "-c", f"ls '{attempt.folder}' > '{seen}'; exit 9"]
    record = attempt.write(["true"], stop_command=stop).run(shell)

    assert record.ended is not None
    assert (record.ended.reason, record.ended.status) == ("exited", 0)
    assert "ended" not in seen.read_text().split()


@settings(max_examples=50)
@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])))
def test_a_quoted_word_is_one_word(word: str) -> None:
    """Whatever is in it."""
    said = subprocess.run(["sh", "-c", f"printf '%s' {quote(word)}"], capture_output=True, check=True).stdout

    assert said.decode() == word


def test_what_a_look_prints_is_read(attempt: Attempt) -> None:
    """The script's records are those that the control plane reads."""
    attempt.write(["true"]).run(["sh"])
    lines = [f"a {name} {(attempt.folder / name).read_text()}" for name in ("claim", "started", "alive", "ended")]
    found = parse_records("".join(lines) + "end of records\n")

    assert found is not None
    assert found["a"].ended is not None
