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
            return _print_version()
        from .program import run_program

        return run_program(arguments)
    except KeyboardInterrupt:
        # So early that nothing was begun.
        return 130


def _print_version() -> int:
    """Print it, unless nobody can read it; give the exit status."""
    if sys.stdout is None:
        return 0
    try:
        sys.stdout.write(f"nodus {__version__}\n")
        sys.stdout.flush()
    except OSError as exc:
        # The interpreter flushes once more at its exit, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(exc, BrokenPipeError):
            return 0
        from .exit_codes import OUTPUT_LOST
        from .output import Output

        output = Output()
        output.note(f"Error: {output.lost(exc)}")
        return OUTPUT_LOST
    return 0
