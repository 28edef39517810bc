"""What kills a control plane between two SQL statements: put into the child by the tests, never part of the product.

It is shared memory: the test says at which point from now on the process is to die, and learns how many points there
were. A point is the moment before or after any statement of any thread; BEGIN and COMMIT are statements too.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from nodus_ledger import prepared

_COUNTS = struct.Struct("<qq")
_SIZE = 256


class Tripwire:
    """One process's wire, as seen from both sides."""

    def __init__(self, path: Path) -> None:
        """Share the memory of a file, which is made where it is missing."""
        with path.open("a+b") as file:
            file.truncate(_SIZE)
            self._memory = mmap.mmap(file.fileno(), _SIZE)
        self._lock = threading.Lock()

    def set(self, point: int) -> None:
        """Let the process die at the `point`-th point from now, counted from 1; 0 for never."""
        self._memory[:] = bytes(_SIZE)
        _COUNTS.pack_into(self._memory, 0, point, 0)

    @property
    def passed(self) -> int:
        """How many points were passed since it was set."""
        passed: int = _COUNTS.unpack_from(self._memory, 0)[1]
        return passed

    @property
    def tripped_at(self) -> str | None:
        """Where the process died: `before COMMIT`; None where it did not die of this."""
        text = bytes(self._memory[_COUNTS.size :]).rstrip(b"\0").decode("utf-8", "replace")
        return text or None

    def install(self) -> None:
        """Watch every engine of this process."""
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "after_cursor_execute", self._after)
        self._watch_prepared()
        event.listen(Engine, "commit", lambda _connection: self._pass("before", "COMMIT"))
        event.listen(Engine, "rollback", lambda _connection: self._pass("before", "ROLLBACK"))

    def _watch_prepared(self) -> None:
        """Watch the statements that SQLite is given past SQLAlchemy."""
        execute: Any = prepared._execute

        def watched(dialect: Any, lent: Any, written: Any, *more: Any) -> Any:
            self._pass("before", written.text)
            result = execute(dialect, lent, written, *more)
            self._pass("after", written.text)
            return result

        setattr(prepared, "_execute", watched)  # noqa: B010  # as a type checker would not allow

    def _before(self, _connection: object, _cursor: object, statement: str, *_more: Any) -> None:
        self._pass("before", statement)

    def _after(self, _connection: object, _cursor: object, statement: str, *_more: Any) -> None:
        self._pass("after", statement)

    def _pass(self, side: str, statement: str) -> None:
        with self._lock:
            remaining, passed = _COUNTS.unpack_from(self._memory, 0)
            if remaining == 1:
                where = f"{side} {' '.join(statement.split())}".encode()[: _SIZE - _COUNTS.size]
                self._memory[_COUNTS.size : _COUNTS.size + len(where)] = where
                os.kill(os.getpid(), signal.SIGKILL)
            _COUNTS.pack_into(self._memory, 0, max(remaining - 1, 0), passed + 1)
