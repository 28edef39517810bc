"""`nodus completion`: the script that a shell completes commands with."""

from __future__ import annotations

import asyncclick
from asyncclick.shell_completion import get_completion_class

from .. import exit_codes
from ..invocation import Invocation

SHELLS = ("bash", "zsh", "fish")


@asyncclick.command("completion")
@asyncclick.argument("shell", type=asyncclick.Choice(SHELLS))
@asyncclick.pass_obj
def command(invocation: Invocation, /, shell: str) -> int:
    """Print the script that completes commands in a shell.

    \b
    bash:  nodus completion bash >> ~/.bashrc
    zsh:   nodus completion zsh >> ~/.zshrc
    fish:  nodus completion fish > ~/.config/fish/completions/nodus.fish
    """
    from ..program import PROGRAM_NAME, program

    kind = get_completion_class(shell)
    if kind is None:
        raise asyncclick.UsageError(f"This version of asyncclick cannot complete in {shell}.")
    invocation.output.data(kind(program, {}, PROGRAM_NAME, f"_{PROGRAM_NAME.upper()}_COMPLETE").source().strip())
    return exit_codes.OK
