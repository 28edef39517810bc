"""Writes the command line's reference page from the commands themselves.

python -m nodus._cli.reference > docs/reference/cli.md
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator

import asyncclick

from . import exit_codes, registry
from .groups import Subcommands

_INTRODUCTION = """\
# The command line

`nodus` comes with the package. It prints data on stdout; progress, hints and errors go to stderr. Colour appears only
on a terminal, and never if `NO_COLOR` is set.

## Environment

| Variable | Meaning |
|---|---|
| `NODUS_API_KEY` | The API key. Keys and secrets are never taken from the command line. |
| `NODUS_BASE_URL` | The API's address, `https://api.nodus.run` by default. |
| `NODUS_SIGNING_SECRET` | The key's signing secret: every request is signed with it. |
| `NODUS_WEBHOOK_SECRET` | A webhook endpoint's secret, for `nodus verify`. |
| `NODUS_LEDGER_KEY` | The pinned public key of the Trust Ledger, for `nodus ledger verify`. |
| `NODUS_ALLOW_INSECURE` | `1` lets a key be sent over plain `http` to another host. |
| `NODUS_BACKEND` | The event loop to run on: `asyncio`, the default, or `trio` (`pip install "nodus-sdk[trio]"`). |
| `NODUS_LOG` | `info` or `debug`: show the library's log on stderr. |
"""

_INTERRUPTS = """\
## Interrupts

Ctrl-C or SIGTERM during `run --wait`, `get --wait` or `wait` ends only the waiting: the job goes on, and the command
prints how to wait for it again, and how to cancel it. So do `logs --follow` and `events ID`; `events` of all jobs
prints the command that continues after the last event. If a submission has not been answered yet, the command prints
its idempotency key and the command line that submits again under that key, and so finds the same job; that line names
the variables of `--env` without their values. With `--cancel-on-interrupt`, the job is cancelled, within 5 seconds. A
second interrupt ends the command at once.
"""


def page() -> str:
    """Return the whole page, as Markdown."""
    parts = [_INTRODUCTION, _exit_codes(), _INTERRUPTS, "## Commands\n"]
    for name in registry.COMMANDS:
        command = registry.load(name)
        if isinstance(command, Subcommands):
            parts.append(f"### nodus {name}\n\n{command.help}\n")
        for path, leaf in registry.leaves(name):
            parts.append("\n".join(_command(path, leaf)) + "\n")
    for name, (sentence, install) in registry.ELSEWHERE.items():
        parts.append(f"### nodus {name}\n\n{sentence} It comes with the control plane: `{install}`.\n")
    return "\n".join(parts)


def _exit_codes() -> str:
    rows = [f"| {code} | {meaning[0].upper()}{meaning[1:]}. |" for code, meaning in exit_codes.MEANINGS.items()]
    return "\n".join(["## Exit status", "", "| Status | Meaning |", "|---|---|", *rows, ""])


def _command(name: str, command: asyncclick.Command) -> Iterator[str]:
    context = asyncclick.Context(command, info_name=name)
    usage = " ".join(["nodus", name, *command.collect_usage_pieces(context)])
    yield f"{'####' if ' ' in name else '###'} nodus {name}"
    yield ""
    yield f"    {usage}"
    yield ""
    yield _text(inspect.cleandoc(command.help or ""))
    yield ""
    yield "| Option | Meaning |"
    yield "|---|---|"
    for parameter in command.params:
        if isinstance(parameter, asyncclick.Option):
            yield f"| `{_signature(parameter, context)}` | {_cell(_meaning(parameter))} |"


def _signature(option: asyncclick.Option, context: asyncclick.Context) -> str:
    names = ", ".join(option.opts)
    return names if option.is_flag else f"{names} {option.make_metavar(context)}".replace("|", "\\|")


def _meaning(option: asyncclick.Option) -> str:
    notes = []
    if option.required:
        notes.append("Required.")
    elif option.show_default:
        notes.append(f"By default, `{option.default}`.")
    return " ".join([option.help or "", *notes])


def _text(text: str) -> str:
    """Turn paragraphs that must not be rewrapped into blocks of code."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        "\n".join(f"    {line}" for line in paragraph.splitlines()[1:]) if paragraph.startswith("\b") else paragraph
        for paragraph in paragraphs
    )


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


if __name__ == "__main__":
    sys.stdout.write(page())
