"""The `nodus-control` command: checks that the SDK that it stands on is here before anything imports it.

The SDK is no declared requirement, because a public package index has another project's distribution under its name.
"""

from __future__ import annotations

import importlib.util
import os
import sys

from .exit_codes import CONFIGURATION

# Its signatures are what the control plane needs; other packages called `nodus` do not have it.
_TELLING_FILE = "_signing.py"


def main() -> None:
    """Run the command line."""
    problem = missing_sdk()
    if problem is not None:
        sys.stderr.write(f"Error: {problem}\n")
        sys.exit(CONFIGURATION)
    from .cli import main as run

    run()


def missing_sdk() -> str | None:
    """Return what is wrong with the package `nodus` in this environment; None if it is the SDK's."""
    try:
        found = importlib.util.find_spec("nodus")
    except ImportError:
        found = None
    how = (
        "Run `pip install . ./control_plane` in a clone of the repository, or install the wheels of both distributions "
        "together, into an environment of their own."
    )
    if found is None or found.origin is None:
        return f"the control plane needs the Nodus SDK, which is not installed. {how}"
    if not os.path.exists(os.path.join(os.path.dirname(found.origin), _TELLING_FILE)):
        return f"the package nodus in {os.path.dirname(found.origin)} is another project's, not the Nodus SDK. {how}"
    return None
