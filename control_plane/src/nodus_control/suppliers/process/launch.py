"""Starts a runner, and makes sure that the attempt is claimed."""

from __future__ import annotations

import os
import subprocess

from nodus_control import runner
from nodus_control.runner.containment import AUTO
from nodus_control.runner.specification import Specification

LAUNCH_SECONDS = 60.0

_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(runner.__file__)), "__main__.py")


class LaunchError(Exception):
    """No runner confirmed that it has the attempt. It may have it all the same: look at the claim."""


def launch(python: str, attempt: str, specification: Specification, containment: str = AUTO) -> None:
    """Start a runner for the attempt and wait until its claim is decided, which takes hundredths of a second.

    The specification goes through a pipe. The runner gets an empty environment and a session of its own, and no
    process of it remains a child of this one.

    Raises:
        LaunchError: no runner confirmed that it has the attempt.
    """
    try:
        outcome = subprocess.run(
            [python, "-I", "-S", "-X", "utf8", _SCRIPT, attempt, containment],
            input=specification.to_bytes(),
            capture_output=True,
            env={},
            start_new_session=True,
            timeout=LAUNCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        # Not chained: it would show the output so far, which may contain anything.
        raise LaunchError(f"no answer within {LAUNCH_SECONDS:g} s") from None
    except OSError as exc:
        raise LaunchError(str(exc)) from exc
    if not outcome.stdout:
        complaint = outcome.stderr.decode("utf-8", errors="replace").strip().splitlines()
        last = complaint[-1] if complaint else "no message"
        raise LaunchError(f"the runner ended with status {outcome.returncode} before its claim: {last}")
