"""The `nodus` command: asyncclick over `AsyncClient`.

Only `--version` is handled here, so that it loads no more than it needs.
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
        # Interrupted so early that nothing had begun.
        return 130


def _print_version() -> int:
    """Print the version, if anybody can read it; return the exit status."""
    if sys.stdout is None:
        return 0
    try:
        sys.stdout.write(f"nodus {__version__}\n")
        sys.stdout.flush()
    except OSError as exc:
        # The interpreter flushes once more when it exits, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(exc, BrokenPipeError):
            return 0
        from .exit_codes import OUTPUT_LOST
        from .output import Output

        output = Output()
        output.note(f"Error: {output.lost(exc)}")
        return OUTPUT_LOST
    return 0
