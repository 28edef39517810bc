"""The one message from driver to runner. It contains secrets, and is never written to disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Account(NamedTuple):
    """The user that the program runs as, where that is not the runner's own."""

    uid: int
    gid: int
    groups: Sequence[int]


SILENT_SECONDS = 60.0
"""For how long whoever watches over a program may be unable to show that it lives, before the program is ended."""


class Specification(NamedTuple):
    """The program, its limits, and what it may not see. Durations in seconds, the output limit in bytes.

    `clock_offset` is what to add to this machine's wall clock to get the control plane's. `key` authenticates the
    attempt's records. `notice` goes into the output before anything else. `limits` are resource limits by their names
    (`RLIMIT_FSIZE`). Where the program can be contained, `state_directory` is empty for it but for its own directories,
    and so are the files `hidden`. `silent_seconds` is for how long the runner may be unable to show that it lives.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    max_runtime_seconds: float
    grace_seconds: float
    linger_seconds: float
    output_limit_bytes: int
    clock_offset: float
    key: bytes
    state_directory: str
    notice: str = ""
    limits: Mapping[str, int] = {}
    hidden: Sequence[str] = ()
    account: Account | None = None
    silent_seconds: float = SILENT_SECONDS

    def __repr__(self) -> str:
        return "Specification(<not shown>)"

    def to_bytes(self) -> bytes:
        """The message."""
        return json.dumps({**self._asdict(), "key": self.key.hex()}).encode("ascii")

    @classmethod
    def from_bytes(cls, message: bytes) -> Specification | None:
        """The decoded message; None if it was cut short, because the sender died while writing it."""
        try:
            fields = json.loads(message)
        except ValueError:
            return None
        account = fields["account"]
        return cls(
            command=tuple(str(part) for part in fields["command"]),
            environment={str(name): str(value) for name, value in fields["environment"].items()},
            max_runtime_seconds=float(fields["max_runtime_seconds"]),
            grace_seconds=float(fields["grace_seconds"]),
            linger_seconds=float(fields["linger_seconds"]),
            output_limit_bytes=int(fields["output_limit_bytes"]),
            clock_offset=float(fields["clock_offset"]),
            key=bytes.fromhex(fields["key"]),
            state_directory=str(fields["state_directory"]),
            notice=str(fields["notice"]),
            limits={str(name): int(value) for name, value in fields["limits"].items()},
            hidden=tuple(str(path) for path in fields["hidden"]),
            account=None if account is None else Account(int(account[0]), int(account[1]), tuple(account[2])),
            silent_seconds=float(fields["silent_seconds"]),
        )
