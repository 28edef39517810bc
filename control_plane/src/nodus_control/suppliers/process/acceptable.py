"""What the `process` driver can never run: no command, or what no operating system would take as one. Pure."""

from __future__ import annotations

import os

from ..protocol import Program, SubmissionRefused


def require_acceptable(program: Program) -> None:
    """Refuse now what would fail later, without quoting it.

    Raises:
        SubmissionRefused: `command_required`, or `invalid_command` for what `exec` would refuse.
    """
    if not program.command:
        raise SubmissionRefused(
            "command_required", "the supplier runs commands, and no images: give the job a `command`"
        )
    try:
        parts = [os.fsencode(part) for part in program.command]
        names = [os.fsencode(name) for name in program.env]
        parts += [os.fsencode(value) for value in program.env.values()]
    except UnicodeEncodeError:
        raise SubmissionRefused("invalid_command", "command or env holds a character that has no encoding") from None
    if any(b"\0" in part for part in parts + names):
        raise SubmissionRefused("invalid_command", "command or env holds a NUL character")
    if any(not name or b"=" in name for name in names):
        raise SubmissionRefused("invalid_command", "env holds a name that is empty or has a '='")
    if not parts[0]:
        raise SubmissionRefused("invalid_command", "the first word of command is empty")
