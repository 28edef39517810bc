"""`nodus-control`, the operator's program, in a process of its own."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

STARTING_SECONDS = 60.0
SERVING = r"serving (http://\S+)\n"
WORKING = r"(working)\n"

_PROGRAM = "from nodus_control.entry import main; main()"


@contextlib.contextmanager
def running(*arguments: str, until: str, env: Mapping[str, str]) -> Iterator[str]:
    """Run a command of it until the block ends; yield what it says that it is ready with.

    Args:
        arguments: the command and its options.
        until: matches what it prints when it is ready, with a group for what is yielded.
        env: its environment.
    """
    with tempfile.TemporaryDirectory() as place:
        output = Path(place) / "output"
        with (
            output.open("wb") as written,
            subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *arguments], env=env, stdout=written, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                yield _said(process, output, until)
            finally:
                process.terminate()


def _said(process: subprocess.Popen[bytes], output: Path, until: str) -> str:
    deadline = time.monotonic() + STARTING_SECONDS
    while True:
        text = output.read_text()
        found = re.search(until, text)
        if found is not None:
            return found.group(1)
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the control plane did not start: {text}")
        time.sleep(0.05)
