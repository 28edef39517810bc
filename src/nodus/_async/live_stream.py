"""What event streams and log streams have in common: one connection at a time, given back when the loop is left."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from .._handles import ClientBound
from .._poll import DEFAULT_UNREACHABLE_SECONDS
from .._reconnect import Reconnection
from .session import AsyncSession
from .stream import AsyncStreamedResponse

if TYPE_CHECKING:
    from typing_extensions import Self


class AsyncLiveStream(ClientBound):
    """A stream that its user iterates over, across dropped connections.

    Args:
        session: makes the requests.
        submitted_at: when `run()` returned the job that is followed; None for jobs from elsewhere.
    """

    def __init__(self, session: AsyncSession, *, submitted_at: float | None) -> None:
        total = session.settings.total_timeout
        self._session = session
        self._submitted_at = submitted_at
        self._unreachable_seconds = DEFAULT_UNREACHABLE_SECONDS if total is None else total
        self._reconnection = Reconnection(unreachable_seconds=self._unreachable_seconds, rng=session.rng)
        self._response: AsyncStreamedResponse | None = None
        self._pause_seconds = 0.0
        self._was_terminal = False
        self._is_over = False
        self._is_closed = False

    async def aclose(self) -> None:
        """Give the connection back. Iterating afterwards yields nothing more."""
        self._is_over = self._is_closed = True
        await self._release()

    async def _pause(self) -> None:
        """Sleep for as long as the last step asked for."""
        if self._pause_seconds:
            pause, self._pause_seconds = self._pause_seconds, 0.0
            await self._session.clock.sleep(pause)

    async def _release(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            await response.aclose()

    def __del__(self) -> None:
        response: AsyncStreamedResponse | None = getattr(self, "_response", None)
        if response is not None:
            self._session.forget(response)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
