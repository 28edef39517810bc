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
        if arguments in (["--version"], ["-V"], ["version"]):
            return _print_version()
        from .program import run_program

        return run_program(arguments)
    except ImportError as exc:
        return _explain_import(exc)
    except KeyboardInterrupt:
        # Interrupted so early that nothing had begun.
        return 130


def _explain_import(error: ImportError) -> int:
    """Say that another project's files stand among this package's, if that is why it cannot be imported.

    Raises:
        ImportError: that is not why.
    """
    from .ownership import explain_broken_import

    explanation = explain_broken_import(error)
    if explanation is None or sys.stderr is None:
        raise error
    sys.stderr.write(f"Error: {explanation}\n")
    return 3


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
        from .exit_codes import OUTPUT_LOST
        from .output import Output, is_reader_gone

        if is_reader_gone(exc):
            return 0
        output = Output()
        output.note(f"Error: {output.lost(exc)}")
        return OUTPUT_LOST
    return 0
