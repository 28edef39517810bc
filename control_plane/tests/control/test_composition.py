"""The playground is put together from the API; nothing of the API knows it."""

from __future__ import annotations

import subprocess
import sys

from patience import PATIENCE_SECONDS


def test_a_served_application_loads_nothing_of_the_playground() -> None:
    """Whatever an operator's server imports: its controls are not even there to be mounted."""
    script = (
        "import sys, nodus_control.api.app, nodus_control.cli\n"
        "print(sorted(name for name in sys.modules if name.startswith(('nodus_control.playground', 'fastapi'))))"
    )
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE_SECONDS)

    assert run.stdout.strip() == "[]"
