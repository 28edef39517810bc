"""Ends a program whose runner can no longer show that it lives, whatever the runner itself waits for.

Whoever does not hear of a runner for long enough takes its attempt for lost, and may place the job again. The program
has to be over by then, also where its runner hangs in a file system that does not answer. So a process of its own
watches, which looks at nothing but a clock and the process table. No thread can: whoever begins a namespace of
processes may have none, before or after.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from typing import NoReturn, Protocol

from nodus_control.runner import processes
from nodus_control.runner.tree import Tree

LOOK_SECONDS = 1.0
_PAUSE_LOOKS = 3
"""After how many times its length a wait counts as one in which this process did not run."""

_TOLD_BYTES = 4096
_MOST = 1024
"""Above the descriptors that a runner has."""


class Ends(Protocol):
    """The processes of a program."""

    def is_alive(self) -> bool: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Silence:
    """What is to be done about a program whose runner was heard of, or was not. Decides, and asks no clock.

    Args:
        program: what is ended.
        now: when its runner was first heard of; like every other time, of a clock that only goes forward.
        silent_seconds: for how long it may not be heard of.
        grace_seconds: between SIGTERM and SIGKILL.
        announce: called before anything is done to the program: its runner must not take that for an end of its own.
    """

    def __init__(
        self,
        program: Ends,
        now: float,
        *,
        silent_seconds: float,
        grace_seconds: float,
        announce: Callable[[], object] = lambda: None,
    ) -> None:
        self._program = program
        self._silent_seconds = silent_seconds
        self._grace_seconds = grace_seconds
        self._announce = announce
        self._heard_at = now
        self._kill_at: float | None = None
        self.ended_at: float | None = None
        """When nothing was left of a program that was ended."""

    @property
    def has_ended_it(self) -> bool:
        """Whether it has begun to end the program."""
        return self._kill_at is not None

    def heard(self, now: float) -> None:
        """Take note that the runner has shown that it lives."""
        self._heard_at = now

    def paused(self, seconds: float) -> None:
        """Take note that whoever looks did not run for so long, which is nobody's silence.

        What stops the guard, as a container that is paused, has likely stopped the runner and the program too. When
        they go on, the program has its time to end, and its runner the time to be heard of.
        """
        self._heard_at += seconds
        if self._kill_at is not None:
            self._kill_at += seconds

    def look(self, now: float) -> None:
        """Do what is to be done now. Once it has begun to end the program, it goes on until nothing is left.

        Raises:
            OSError: the system cannot say now what there is of the program; the next look goes on with it.
        """
        if self._kill_at is None:
            # What has ended by itself has not been ended.
            if now - self._heard_at > self._silent_seconds and self._program.is_alive():
                self._announce()
                self._program.terminate()
                self._kill_at = now + self._grace_seconds
        elif not self._program.is_alive():
            self.ended_at = now if self.ended_at is None else self.ended_at
        elif now >= self._kill_at:
            self._program.kill()


class Guard:
    """The runner's side: a child that watches from when it is first told of a program until `stop`.

    To be made before a namespace of processes is begun, and told of the program as soon as there is one.
    """

    def __init__(self, *, silent_seconds: float, grace_seconds: float) -> None:
        heard, self._heard = os.pipe()
        self._said, say = os.pipe()
        for descriptor in (self._heard, self._said):
            os.set_blocking(descriptor, False)
        runner = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._heard)
            os.close(self._said)
            _watch(runner, heard, say, silent_seconds, grace_seconds)
        os.close(heard)
        os.close(say)
        self.has_ended_it = False
        """Whether it has begun to end the program."""
        self.ended_at: float | None = None
        """When nothing was left of a program that it has ended, by the monotonic clock."""

    def tell(self, program: int, keeper: int | None) -> None:
        """Show that the runner lives.

        Args:
            program: the pid that the runner waits for.
            keeper: that of the first process of the program's namespace, where it has one.
        """
        # A pipe that is full says the same, and one that nobody reads cannot be helped.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._heard, f"{program} {keeper or 0}\n".encode("ascii"))

    def listen(self) -> None:
        """Read what it has done, if anything."""
        with contextlib.suppress(BlockingIOError):
            for line in os.read(self._said, _TOLD_BYTES).decode("ascii").split():
                self.has_ended_it = True
                self.ended_at = self.ended_at if line == "-" else float(line)

    def stop(self) -> None:
        """Stop watching: nothing of the program is left."""
        self.listen()
        os.close(self._heard)
        os.close(self._said)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _watch(runner: int, heard: int, say: int, silent_seconds: float, grace_seconds: float) -> NoReturn:
    try:
        processes.die_with_parent()
        # Among them the lock on the claim, which ends with the runner.
        for first, last in ((3, min(heard, say)), (min(heard, say) + 1, max(heard, say)), (max(heard, say) + 1, _MOST)):
            os.closerange(first, last)
        signal.set_wakeup_fd(-1)
        poller = select.poll()
        poller.register(heard, select.POLLIN)
        silence: Silence | None = None
        look_seconds = min(LOOK_SECONDS, silent_seconds / 4)
        is_told = False
        while True:
            looked_at = time.monotonic()
            is_heard = bool(poller.poll(look_seconds * 1000))
            passed = time.monotonic() - looked_at
            if silence is not None and passed > _PAUSE_LOOKS * look_seconds:
                silence.paused(passed - look_seconds)
            if is_heard:
                lines = os.read(heard, _TOLD_BYTES).splitlines()
                if not lines:
                    os._exit(0)  # The runner has ended.
                if silence is None:
                    program, keeper = map(int, lines[0].split())
                    tree = Tree(program, keeper or None, root=runner, apart=os.getpid())
                    silence = Silence(
                        tree,
                        time.monotonic(),
                        silent_seconds=silent_seconds,
                        grace_seconds=grace_seconds,
                        announce=lambda: os.write(say, b"-\n"),
                    )
                silence.heard(time.monotonic())
            if silence is None:
                continue
            with contextlib.suppress(OSError):
                silence.look(time.monotonic())
            if silence.ended_at is not None and not is_told:
                os.write(say, f"{silence.ended_at}\n".encode("ascii"))
                is_told = True
    finally:
        os._exit(0)
