"""The `nodus` command: asyncclick over `AsyncClient`.

Nothing but the version is decided here, so that `nodus --version` loads no more than it prints.
"""

from __future__ import annotations

import sys

from .._version import __version__


def main() -> int:
    """Run the command that the process was started with; return its exit status (`exit_codes.py`)."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        sys.stdout.write(f"nodus {__version__}\n")
        return 0
    from .program import run_program

    return run_program(arguments)
