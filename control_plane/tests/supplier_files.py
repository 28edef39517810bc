"""Suppliers files for the commands that need one."""

from __future__ import annotations

from pathlib import Path

import nodus_core

SHIPPED = Path(nodus_core.__file__).with_name("data") / "suppliers.toml"
ON_THIS_MACHINE = Path(__file__).with_name("suppliers-process.toml")

SIMULATIONS = ("--suppliers", str(SHIPPED))
"""The options of a command that simulates the ten mock suppliers."""

COMMANDS = ("--suppliers", str(ON_THIS_MACHINE))
"""The options of a command that really runs jobs, on this machine."""
