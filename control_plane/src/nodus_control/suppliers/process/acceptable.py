"""What no operating system would accept as a command or an environment, refused before anything is made of it."""

from __future__ import annotations

import os

from ..protocol import SubmissionRefused, Workload


def require_acceptable(workload: Workload) -> None:
    """Refuse now what `exec` would refuse later, without quoting it."""
    try:
        parts = [os.fsencode(part) for part in workload.command or ()]
        names = [os.fsencode(name) for name in workload.env]
        parts += [os.fsencode(value) for value in workload.env.values()]
    except UnicodeEncodeError:
        raise SubmissionRefused("invalid_command", "command or env holds a character that has no encoding") from None
    if any(b"\0" in part for part in parts + names):
        raise SubmissionRefused("invalid_command", "command or env holds a NUL character")
    if any(not name or b"=" in name for name in names):
        raise SubmissionRefused("invalid_command", "env holds a name that is empty or has a '='")
    if not parts[0]:
        raise SubmissionRefused("invalid_command", "the first word of command is empty")
