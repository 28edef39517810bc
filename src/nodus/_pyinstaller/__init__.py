"""Tells PyInstaller where its hook for this package is (entry point group `pyinstaller40`).

The command line and the public names are imported by name when they are first used, which PyInstaller cannot see.
"""

from __future__ import annotations

import os


def get_hook_dirs() -> list[str]:
    """Return the folders of hooks."""
    return [os.path.join(os.path.dirname(__file__), "hooks")]
