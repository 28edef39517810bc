"""PyInstaller's hook: everything in the package is part of a program that imports it."""

from __future__ import annotations

from PyInstaller.utils.hooks import collect_submodules

hiddenimports = collect_submodules("nodus", filter=lambda name: not name.startswith("nodus._pyinstaller"))
