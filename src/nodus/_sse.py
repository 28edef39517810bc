"""Parses server-sent events (the WHATWG's `text/event-stream`) from bytes in pieces of any size, without I/O.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_EVENT_BYTES = 1024 * 1024
"""How large one event may be: a stream that never ends a line must not fill memory."""

MAX_ID_BYTES = 256
"""How long an id may be: every reconnection sends it back in a header. A longer one is ignored, like one with a NUL."""

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(b"\r\n|\r|\n")
_DIGITS = re.compile(r"[0-9]{1,9}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event of a stream.

    Attributes:
        type: `"message"` if the stream names none.
        data: its data lines, joined by newlines.
        id: the id in force when it was dispatched; empty for none.
    """

    type: str
    data: str
    id: str


class EventStreamParser:
    """Reads one stream, from its first byte on.

    Args:
        last_event_id: the id in force at the beginning: that of the stream that this one resumes.

    Attributes:
        last_event_id: where to resume: the id in force at the last blank line, whether or not that ended an event.
        retry_seconds: how long the server asks clients to wait before they reconnect; None if it does not ask.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry_seconds: float | None = None
        self._rest = bytearray()
        self._is_at_start = True
        self._skips_line_feed = False
        self._type = ""
        self._data: list[str] = []
        self._size = 0
        self._id = last_event_id

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take the next bytes; return the events that they complete.

        Raises:
            ValueError: an event is larger than `MAX_EVENT_BYTES`.
        """
        if self._skips_line_feed and chunk:
            # The previous piece ended in a carriage return, which ended the line. The line feed that may follow
            # belongs to it: it must not count as an empty line, which would end the event.
            self._skips_line_feed = False
            chunk = chunk.removeprefix(b"\n")
        self._rest += chunk
        if self._is_at_start:
            if not self._pass_byte_order_mark():
                return []
        elif b"\n" not in chunk and b"\r" not in chunk:
            # Splitting what came before once more would take quadratic time for a long line in small pieces.
            self._check_size()
            return []
        lines = _LINE_END.split(bytes(self._rest))
        self._skips_line_feed = self._rest.endswith(b"\r")
        self._rest = bytearray(lines.pop())
        events: list[ServerSentEvent] = []
        for line in lines:
            if line:
                self._take(line)
            elif (event := self._dispatch()) is not None:
                events.append(event)
        self._check_size()
        return events

    def _check_size(self) -> None:
        if self._size + len(self._rest) > MAX_EVENT_BYTES:
            raise ValueError(f"an event of more than {MAX_EVENT_BYTES} bytes")

    def _pass_byte_order_mark(self) -> bool:
        """Skip the mark; False if it cannot be told yet whether there is one."""
        if len(self._rest) < len(_BOM) and _BOM.startswith(self._rest):
            return False
        self._is_at_start = False
        if self._rest.startswith(_BOM):
            del self._rest[: len(_BOM)]
        return True

    def _take(self, line: bytes) -> None:
        name, _, value = line.decode("utf-8", errors="replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._size += len(line)
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value and len(line) <= len("id: ") + MAX_ID_BYTES:
            self._id = value
        elif name == "retry" and _DIGITS.match(value):
            self.retry_seconds = int(value) / 1000

    def _dispatch(self) -> ServerSentEvent | None:
        # Even without data: the specification sets the last event id at every blank line.
        self.last_event_id = self._id
        kind, data = self._type, "\n".join(self._data)
        is_event = bool(self._data)
        self._type, self._size = "", 0
        self._data.clear()
        return ServerSentEvent(kind or "message", data, self._id) if is_event else None
