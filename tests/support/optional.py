"""Packages without which a developer can run most tests."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest


def import_or_skip(name: str, reason: str) -> Any:
    """Import a package of the dependency group `test`.

    Where it is missing, what needs it is skipped, for this reason; with `CI=true`, which installs the group, it fails.
    """
    if os.environ.get("CI") == "true":
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=reason)
