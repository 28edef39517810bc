"""The programs that the checks have run, and the shell script that each of them is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Program:
    """What a program does, in this order. Its output is known to the byte.

    Attributes:
        prints: what it prints.
        times: how often; each time after the first comes with its number, so that no part of it can be taken for
            another.
        complains: what it prints to its standard error.
        shows: names of variables that it prints, as `NAME=value` and a NUL byte.
        arguments: further words of its command, which it prints, each with a NUL byte.
        seconds: how long it then sleeps.
        exit_code: with what it ends, 0 to 255.
        kills_itself: whether it ends by SIGKILL instead.
        ignores_term: whether only SIGKILL ends it.
    """

    prints: bytes = b""
    times: int = 1
    complains: bytes = b""
    shows: tuple[str, ...] = ()
    arguments: tuple[str, ...] = field(default=(), repr=False)
    seconds: float = 0.0
    exit_code: int = 0
    kills_itself: bool = False
    ignores_term: bool = False

    def output(self, env: dict[str, str]) -> bytes:
        """Return what it prints before it sleeps."""
        printed = [self.prints] if self.prints else []
        printed += [b"%08d%b" % (number, self.prints) for number in range(1, self.times)]
        printed += [self.complains] if self.complains else []
        printed += [f"{name}={env[name]}\0".encode() for name in self.shows]
        printed += [f"{word}\0".encode() for word in self.arguments]
        return b"".join(printed)

    def shell_command(self, opening: str = "") -> tuple[str, ...]:
        """Return it as a command of a POSIX shell.

        Args:
            opening: a script to run first, such as one that leaves a trace of each beginning.
        """
        lines = [opening] if opening else []
        if self.ignores_term:
            lines.append("trap '' TERM")
        if self.prints:
            lines.append(f"printf '{_octal(self.prints)}'")
        if self.times > 1:
            block = f"printf '%08d{_octal(self.prints)}' $i"
            lines.append(f"i=1; while [ $i -lt {self.times} ]; do {block}; i=$((i+1)); done")
        if self.complains:
            lines.append(f"printf '{_octal(self.complains)}' >&2")
        lines += [f"printf '%s=%s\\0' {name} \"${name}\"" for name in self.shows]
        if self.arguments:
            lines.append("printf '%s\\0' \"$@\"")
        if self.seconds:
            lines.append(f"sleep {self.seconds:g}")
        lines.append("kill -KILL $$" if self.kills_itself else f"exit {self.exit_code}")
        return "sh", "-c", "\n".join(lines), "sh", *self.arguments


def _octal(data: Iterable[int]) -> str:
    """Write bytes as the format of `printf`, which takes none of them for its own."""
    return "".join(f"\\{byte:03o}" for byte in data)
