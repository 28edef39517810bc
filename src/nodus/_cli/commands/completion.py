"""`nodus completion`: a shell completion script."""

from __future__ import annotations

import asyncclick
from asyncclick.shell_completion import BashComplete, FishComplete, ZshComplete

from .. import exit_codes
from ..invocation import Invocation
from ..options import json_option

SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@asyncclick.command("completion")
@asyncclick.argument("shell", type=asyncclick.Choice(list(SHELLS)))
@json_option
@asyncclick.pass_obj
def command(invocation: Invocation, /, shell: str, as_json: bool) -> int:
    """Print a completion script for your shell.

    \b
    bash:  nodus completion bash >> ~/.bashrc
    zsh:   nodus completion zsh >> ~/.zshrc
    fish:  nodus completion fish > ~/.config/fish/completions/nodus.fish
    """
    from ..program import PROGRAM_NAME, program

    script = SHELLS[shell](program, {}, PROGRAM_NAME, f"_{PROGRAM_NAME.upper()}_COMPLETE").source().strip()
    if as_json:
        invocation.output.json({"shell": shell, "script": script})
    else:
        invocation.output.lines(script)
    return exit_codes.OK
