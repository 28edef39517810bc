"""What kills a control plane between two SQL statements: put into the child by the tests, never part of the product.

It is shared memory: the test says at which point from now on the process is to die, and learns where that was. A
point is the moment before or after any statement of any thread; BEGIN and COMMIT are statements too.
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

from nodus_ledger.database import prepared

# Each is written by one side alone, in one piece: the process counts on while the test sets the other.
_DIES_AT = struct.Struct("q")
_PASSED = struct.Struct("q")
_PASSED_OFFSET = _DIES_AT.size
_WHERE_OFFSET = _PASSED_OFFSET + _PASSED.size
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
        _DIES_AT.pack_into(self._memory, 0, 0)
        self._memory[_WHERE_OFFSET:] = bytes(_SIZE - _WHERE_OFFSET)
        if point:
            _DIES_AT.pack_into(self._memory, 0, self._passed() + point)

    def _passed(self) -> int:
        """How many points were passed by any process."""
        passed: int = _PASSED.unpack_from(self._memory, _PASSED_OFFSET)[0]
        return passed

    @property
    def tripped_at(self) -> str | None:
        """Where the process died: `before COMMIT`; None where it did not die of this."""
        text = bytes(self._memory[_WHERE_OFFSET:]).rstrip(b"\0").decode("utf-8", "replace")
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
            point, dies_at = self._passed() + 1, _DIES_AT.unpack_from(self._memory, 0)[0]
            if 0 < dies_at <= point:
                where = f"{side} {' '.join(statement.split())}".encode()[: _SIZE - _WHERE_OFFSET]
                self._memory[_WHERE_OFFSET : _WHERE_OFFSET + len(where)] = where
                os.kill(os.getpid(), signal.SIGKILL)
            _PASSED.pack_into(self._memory, _PASSED_OFFSET, point)
