"""Exit statuses of the operator's commands, those of the `nodus` command that apply, and the error behind one."""

from __future__ import annotations

import asyncclick

OK = 0
SOMETHING_WRONG = 1
CONFIGURATION = 3


class Misconfigured(asyncclick.ClickException):
    """A setting that a command cannot start with."""

    exit_code = CONFIGURATION
