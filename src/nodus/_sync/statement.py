# Generated from src/nodus/_async/statement.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Reading a month's statement as it comes."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from .. import _bodies
from .._calls import Call
from .._errors import Failure, NodusError
from .._logs import logger
from .live_stream import LiveStream
from .session import Session
from .stream import StreamedResponse

MAX_LINE_BYTES = 32 * 1024 * 1024
"""As much as any other answer may have."""


class Statement(LiveStream):
    """The statement of a month. What it says is known when it was verified: see `nodus.verify_statement`.

    Iterate over its lines once, or save it; it is as large as the month had rows, and only a part of it is held at a
    time. Nothing is sent before that. A server that cannot be reached is asked again; a statement that breaks off in
    its middle raises an error, and has to be fetched anew.

    As a context manager, or with `close()`, it gives its connection back at once, if it was not read to its end.
    """

    def __init__(self, session: Session, call: Call) -> None:
        super().__init__(session, submitted_at=None)
        self._call = call
        self._has_begun = False
        self._lines: list[str] = []
        self._rest = b""

    def __iter__(self) -> Statement:
        return self

    def __next__(self) -> str:
        """Return the next line, without its line feed.

        Raises:
            NodusError: it cannot be fetched, or it broke off.
        """
        while not self._lines:
            chunk = self._next_chunk()
            if chunk is None:
                rest, self._rest = self._rest, b""
                if not rest:
                    raise StopIteration
                return rest.decode(errors="replace")
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            # Those that come last stand first, so that each is taken from the end.
            self._lines = [line.decode(errors="replace") for line in reversed(lines)]
            if len(self._rest) > MAX_LINE_BYTES:
                self.close()
                raise _bodies.unusable(200, f"a line of more than {MAX_LINE_BYTES >> 20} MiB", None)
        return self._lines.pop()

    def close(self) -> None:
        """Give the connection back. Iterating afterwards yields nothing more."""
        self._lines, self._rest = [], b""
        super().close()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, which is there only when it is whole.

        Args:
            path: the file; one that is there is replaced.

        Raises:
            NodusError: it cannot be fetched, or it broke off.
            OSError: it cannot be written.
        """
        wanted = Path(path)
        beside = wanted.with_name(f".{wanted.name}.{secrets.token_hex(4)}.part")
        try:
            with beside.open("xb") as file:
                while (chunk := self._next_chunk()) is not None:
                    file.write(chunk)
            beside.replace(wanted)
        finally:
            beside.unlink(missing_ok=True)
            self.close()

    def _next_chunk(self) -> bytes | None:
        """Return the next bytes; None at the end."""
        while not self._is_over:
            try:
                if self._response is None:
                    self._pause()
                    self._open()
                else:
                    chunk = self._read(self._response)
                    if chunk:
                        return chunk
            except BaseException:
                self._is_over = True
                self._release()
                raise
        return None

    def _open(self) -> None:
        outcome = self._session.open(self._call)
        now = self._session.clock.now()
        if not isinstance(outcome, Failure):
            self._reconnection.opened(now)
            self._response = outcome
            return
        error = outcome.error
        pause = self._reconnection.after_failure(outcome, now)
        error.attempts = 1
        if pause is None:
            raise error
        self._pause_seconds = pause
        logger.info("could not fetch the statement, trying again in %.1f s: %s", pause, error)

    def _read(self, response: StreamedResponse) -> bytes:
        self._session.check_usable()
        try:
            chunk = response.read(self._session.settings.timeout)
        except NodusError as exc:
            pause = None if self._has_begun else self._reconnection.after_break(exc, self._session.clock.now())
            exc.attempts = 1
            if pause is None:
                raise
            self._release()
            self._pause_seconds = pause
            return b""
        if chunk is None:
            self._is_over = True
            self._release()
            return b""
        self._has_begun = True
        return chunk

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._call.query}>"


Statement.__module__ = "nodus"
