"""Writes the command line's reference page from the commands themselves.

python -m nodus._cli.reference > docs/reference/cli.md
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator

import asyncclick

from .._origin import HOW_TO_INSTALL_CONTROL_PLANE
from . import exit_codes, registry
from .groups import Subcommands

_INTRODUCTION = """\
# The command line

`nodus` comes with the package. It prints data on stdout; progress, hints and errors go to stderr. What a server says is
printed with every control character escaped, so that it cannot steer your terminal; `nodus logs` says what it does.
Colour appears only on a terminal. `NO_COLOR` turns it off; otherwise `FORCE_COLOR` or `CLICOLOR_FORCE` turns it on for
pipes and files too.

## For programs

With `--json`, stdout is JSON, an object on each line. Characters that are not printable are always escaped (`\\u009b`).
Nothing is written to stderr but, if the exit status is not 0, 1, 130 or 143, one JSON object:

| Member | Meaning |
|---|---|
| `error` | A stable identifier, as in the library's `NodusError.code`; `usage_error` for an invalid command line. |
| `message` | What happened. |
| `status` | The HTTP status, or null if no response came. |
| `request_id` | The server's id of the request, or null. |
| `retry_after` | After how many seconds to try again, if the server said so, or null. |
| `exit_code` | The exit status. |
| `hint` | What to do next, or null; after a submission whose outcome is unknown, how to learn it. |
| `docs_url` | Where more is written about it, or null. |

A job that failed is no error: its final state is on stdout. `NODUS_LOG` still writes the library's log to stderr.

## Environment

| Variable | Meaning |
|---|---|
| `NODUS_API_KEY` | The API key. Keys and secrets are never taken from the command line. |
| `NODUS_BASE_URL` | The API's address, `https://api.nodus.run` by default. |
| `NODUS_SIGNING_SECRET` | The key's signing secret: every request is signed with it. |
| `NODUS_WEBHOOK_SECRET` | A webhook endpoint's secret, for `nodus verify`. |
| `NODUS_LEDGER_KEY` | The pinned public key of the Trust Ledger, for `nodus ledger verify`. |
| `NODUS_ALLOW_INSECURE` | `1` lets a key be sent over plain `http` to another host. |
| `NODUS_BACKEND` | The event loop to run on: `asyncio`, the default, or `trio`, which needs the package trio. |
| `NODUS_LOG` | `info` or `debug`: show the library's log on stderr. |
"""

_INTERRUPTS = """\
## Interrupts

Ctrl-C or SIGTERM during `run --wait`, `get --wait` or `wait` ends only the waiting: the job goes on, and the command
prints how to wait for it again, and how to cancel it. So do `logs --follow` and `events ID`; `events` of all jobs
prints the command that continues after the last event. If a submission has not been answered yet, the command prints
its idempotency key and the command line that submits again under that key, and so finds the same job; that line names
the variables of `--env` without their values. For the jobs of a `--file`, it prints the line that submits those that
were not submitted yet, or that waits for all of them. With `--cancel-on-interrupt`, the job is cancelled, within 5
seconds, or all of them. A second interrupt ends the command at once.
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
    for name, sentence in registry.ELSEWHERE.items():
        install = HOW_TO_INSTALL_CONTROL_PLANE
        parts.append(f"### nodus {name}\n\n{sentence} It comes with the control plane. To install it, {install}\n")
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
