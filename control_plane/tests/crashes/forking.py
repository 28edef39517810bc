"""`python -m crashes.forking`: starts control planes by forking, so that many of them cost one import.

Each line of standard input is an order: what to run, and the tripwire to run it with. Answered with the process's id,
and, once it has ended, with its exit status. One at a time.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import NoReturn

from crashes.tripwire import Tripwire
from servers.engines import be_patient

from nodus_control.cli import main as control
from nodus_control.dispatch import worker
from nodus_control.playground.command import playground
from nodus_control.webhooks import deliverer

LEASE_MS = 500
"""Where several share a database, what a dead worker had is another's after this, and not after many seconds."""


def serve_orders() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            run(order["command"], order["arguments"], Path(order["tripwire"]), Path(order["log"]))
        answer(child)
        _, status = os.waitpid(child, 0)
        answer(os.waitstatus_to_exitcode(status))


def answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def run(command: str, arguments: list[str], tripwire: Path, log: Path) -> NoReturn:
    """Be that program until the end."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, takes in ((0, nothing), (1, output), (2, output)):
        os.dup2(takes, descriptor)
    worker.LEASE_MS = deliverer.LEASE_MS = LEASE_MS
    be_patient()
    Tripwire(tripwire).install()
    sys.argv = [command, *arguments]
    if command == "playground":
        playground(prog_name=command)
    else:
        control()
    sys.exit()


if __name__ == "__main__":
    serve_orders()
