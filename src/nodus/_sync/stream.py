# Generated from src/nodus/_async/stream.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""A response that is read as it comes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .. import _failures
from .._calls import Call
from .._concurrency import Clock, Limiter
from .._http import Response


class StreamedResponse:
    """The beginning of a response, with its connection, until closed.

    Args:
        response: the pool's or httpx's, its body unread.
        call: what was asked.
        head: status and headers.
        clock: what deadlines are read on.
        registry: where it stands while it is open.
        place: a place that is held as long as the connection.

    Attributes:
        is_reading: whether somebody waits for its next bytes.
    """

    def __init__(
        self,
        response: Any,
        call: Call,
        head: Response,
        clock: Clock,
        registry: set[StreamedResponse],
        place: Limiter | None = None,
    ) -> None:
        self.head = head
        self.is_reading: bool = False
        self._response = response
        self._call = call
        self._clock = clock
        self._place = place
        self._chunks: Iterator[bytes] | None = None
        self._is_open = True
        self._registry = registry
        registry.add(self)

    def read(self, gap_seconds: float) -> bytes | None:
        """Return the next bytes; None at the end of the body.

        Args:
            gap_seconds: how long silence may last.

        Raises:
            APIConnectionError: the connection broke, or was silent for too long.
        """
        if not self._is_open:
            return None
        stream = self._response.stream
        if hasattr(stream, "extend"):
            stream.extend(self._clock.now() + gap_seconds)
        chunks = self._chunks
        if chunks is None:
            chunks = self._chunks = stream.__iter__()
        self.is_reading = True
        try:
            return chunks.__next__()
        except StopIteration:
            return None
        except Exception as exc:
            failure = _failures.failure_from_exception(exc, self._call)
        finally:
            self.is_reading = False
        raise failure.error

    def close(self) -> None:
        """Give the connection back; closed, where not all had come."""
        if not self._is_open:
            return
        self._is_open = False
        self._registry.discard(self)
        try:
            self._response.close()
            if not hasattr(self._response.stream, "extend"):
                self._run_out()
        finally:
            if self._place is not None:
                self._place.release()

    def abandon(self) -> None:
        """Give up the response: its event loop has ended, and its connection with it. Reading finds its end."""
        self._is_open = False
        self._registry.discard(self)

    def _run_out(self) -> None:
        """End the generators that an injected client reads with: left hanging, an event loop would have to end them.

        They give what has arrived already; the first read of the connection, which is closed, then ends them all.
        """
        if self._chunks is None:
            return
        with contextlib.suppress(Exception):
            for _ in self._chunks:
                pass
