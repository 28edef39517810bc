# Generated from src/nodus/_async/live_stream.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""What event streams and log streams have in common: one connection at a time, given back when the loop is left."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from .._handles import ClientBound
from .._poll import DEFAULT_UNREACHABLE_SECONDS
from .._reconnect import Reconnection
from .session import Session
from .stream import StreamedResponse

if TYPE_CHECKING:
    from typing_extensions import Self


class LiveStream(ClientBound):
    """A stream that its user iterates over, across dropped connections.

    Args:
        session: makes the requests.
        submitted_at: when `run()` returned the job that is followed; None for jobs from elsewhere.
    """

    def __init__(self, session: Session, *, submitted_at: float | None) -> None:
        total = session.settings.total_timeout
        self._session = session
        self._submitted_at = submitted_at
        self._unreachable_seconds = DEFAULT_UNREACHABLE_SECONDS if total is None else total
        self._reconnection = Reconnection(unreachable_seconds=self._unreachable_seconds, rng=session.rng)
        self._response: StreamedResponse | None = None
        self._pause_seconds = 0.0
        self._was_terminal = False
        self._is_over = False
        self._is_closed = False

    def close(self) -> None:
        """Give the connection back. Iterating afterwards yields nothing more."""
        self._is_over = self._is_closed = True
        self._release()

    def _pause(self) -> None:
        """Sleep for as long as the last step asked for."""
        if self._pause_seconds:
            pause, self._pause_seconds = self._pause_seconds, 0.0
            self._session.clock.sleep(pause)

    def _release(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()

    def __del__(self) -> None:
        response: StreamedResponse | None = getattr(self, "_response", None)
        if response is not None:
            self._session.forget(response)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
