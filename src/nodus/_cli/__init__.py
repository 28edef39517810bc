"""The `nodus` command: asyncclick over `AsyncClient`.

Nothing but the version is decided here, so that `nodus --version` loads no more than it prints.
"""

from __future__ import annotations

import os
import sys

from .._version import __version__


def main() -> int:
    """Run the command that the process was started with; return its exit status (`exit_codes.py`)."""
    arguments = sys.argv[1:]
    try:
        if arguments == ["--version"]:
            _print_version()
            return 0
        from .program import run_program

        return run_program(arguments)
    except KeyboardInterrupt:
        # So early that nothing was begun.
        return 130


def _print_version() -> None:
    """Print it, unless nobody can read it."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(f"nodus {__version__}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at its exit, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
