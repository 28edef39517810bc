"""The command line: which commands there are, and how what goes wrong is told."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from ..database import UnusableDatabase
from ..sealing import UnusableKey
from . import export, verify
from .exit_codes import CONFIGURATION
from .opening import NoDatabase

COMMANDS: Sequence[ModuleType] = (verify, export)
"""Each has `add`, which declares it, and sets `run` as what it does."""


def parser() -> argparse.ArgumentParser:
    """Make the parser of the whole command line."""
    program = argparse.ArgumentParser(
        prog="python -m nodus_ledger.admin", description="Operate the database of a control plane."
    )
    commands = program.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return program


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; give the exit status."""
    options = parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (NoDatabase, UnusableDatabase, UnusableKey) as exc:
        sys.stderr.write(f"error: {exc}\n")
        return CONFIGURATION
    return status
