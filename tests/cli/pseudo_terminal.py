"""The command in a process and on a terminal of its own, as a person has it."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping

PATIENCE_SECONDS = 240.0

# The new session has no terminal until it takes one; Ctrl-C is then a signal to it. The seconds that it has to cancel a
# job are too few for a busy machine.
_TAKE_TERMINAL = f"""\
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from nodus._cli import main, waiting
waiting.CANCEL_SECONDS = {PATIENCE_SECONDS}
sys.exit(main())
"""


class Terminal:
    """What a person at the terminal sees, and types.

    Attributes:
        screen: all that was printed so far.
    """

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._printed = b""
        self._master = master

    @property
    def screen(self) -> str:
        return self._printed.decode(errors="replace").replace("\r\n", "\n")

    def wait_for(self, text: str) -> None:
        """Read until a text appears.

        Raises:
            AssertionError: it does not.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.screen:
            ready, _, _ = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))
            if not ready or not self._read():
                raise AssertionError(f"{text!r} did not appear in:\n{self.screen}")

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def end(self) -> int:
        """Read to the end; return the exit status."""
        while self._read():
            pass
        return self.process.wait(PATIENCE_SECONDS)

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:
            # On Linux, this is how the other side's end is told.
            return False
        # Decoded as a whole: a piece may end in the middle of a character, or of the end of a line.
        self._printed += data
        return bool(data)


@contextlib.contextmanager
def terminal(*arguments: str, environ: Mapping[str, str]) -> Iterator[Terminal]:
    """Run the command on a new terminal."""
    master, slave = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", **environ},
        )
    finally:
        os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)
