"""The one message from driver to runner. It contains secrets, and is never written to disk."""

from __future__ import annotations

import json
from typing import NamedTuple


class Specification(NamedTuple):
    """The program and its limits. Durations in seconds, the output limit in bytes.

    `clock_offset` is what to add to this machine's wall clock to get the control plane's.
    """

    command: tuple[str, ...]
    environment: dict[str, str]
    max_runtime_seconds: float
    grace_seconds: float
    linger_seconds: float
    output_limit_bytes: int
    clock_offset: float

    def __repr__(self) -> str:
        return "Specification(<not shown>)"

    def to_bytes(self) -> bytes:
        """The message."""
        return json.dumps(self._asdict()).encode("ascii")

    @classmethod
    def from_bytes(cls, message: bytes) -> Specification | None:
        """The decoded message; None if it was cut short, because the sender died while writing it."""
        try:
            fields = json.loads(message)
        except ValueError:
            return None
        return cls(
            command=tuple(str(part) for part in fields["command"]),
            environment={str(name): str(value) for name, value in fields["environment"].items()},
            max_runtime_seconds=float(fields["max_runtime_seconds"]),
            grace_seconds=float(fields["grace_seconds"]),
            linger_seconds=float(fields["linger_seconds"]),
            output_limit_bytes=int(fields["output_limit_bytes"]),
            clock_offset=float(fields["clock_offset"]),
        )
