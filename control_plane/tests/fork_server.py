"""`python fork_server.py FD`: starts the control plane's programs by forking, so that many of them cost one import.

Each line on the socket is an order: a program's name, its arguments, variables and folder, and with it come four open
files: what the program has as standard input, output and error, and a pipe. Into that goes the program's id at once,
and, when it has ended, its exit status. Programs share nothing with each other but what they have imported.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from nodus_control.cli import main as control
from nodus_control.playground.command import playground


def run_code() -> None:
    """Run the first argument, as `python -c` does."""
    code = sys.argv.pop(1)
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})


PROGRAMS: dict[str, Callable[[], object]] = {
    "code": run_code,
    "control": control,
    "playground": lambda: playground(prog_name="playground"),
}
FILES = 4
LONGEST_READ = 1 << 16


def serve(orders: socket.socket) -> Callable[[], object] | None:
    """Start what is ordered, and tell of its end, until nobody orders any more.

    Returns:
        In a program's process, at once, what it is to run; here None, at the end.
    """
    running: dict[int, int] = {}
    woken, wakes = os.pipe()
    for end in (woken, wakes):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGINT, lambda number, frame: None)  # Ctrl-C is for the tests.
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    with selectors.DefaultSelector() as selector:
        selector.register(orders, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 4096)
            tell_of_ends(running)
            if orders not in ready:
                continue
            message, files, _, _ = socket.recv_fds(orders, LONGEST_READ, FILES)
            if not message:
                return None
            while not message.endswith(b"\n"):
                message += orders.recv(LONGEST_READ)
            order = json.loads(message)
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                # The signal that tells of other programs' ends is not this one's, nor are their pipes.
                for descriptor in (woken, wakes, orders.fileno(), files[3], *running.values()):
                    os.close(descriptor)
                orders.detach()
                become(order, files)
                return PROGRAMS[order["program"]]
            for descriptor in files[:3]:
                os.close(descriptor)
            running[child] = files[3]
            os.write(files[3], f"{child}\n".encode())


def tell_of_ends(running: dict[int, int]) -> None:
    """Write the exit status of each that has ended into its pipe."""
    for child, told in list(running.items()):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            del running[child]
            with contextlib.suppress(BrokenPipeError):
                os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os.close(told)


def become(order: dict[str, Any], files: list[int]) -> None:
    """Have the files, variables, folder and arguments of the order, as a program that was just started."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor, given in enumerate(files[:3]):
        os.dup2(given, descriptor)
        os.close(given)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    sys.argv = [order["program"], *order["arguments"]]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)  # type: ignore[union-attr]  # what it stays, as long as nobody replaces it


if __name__ == "__main__":
    gc.freeze()
    program = serve(socket.socket(fileno=int(sys.argv[1])))
    sys.exit(program() if program is not None else 0)  # type: ignore[arg-type]  # a status, or None
