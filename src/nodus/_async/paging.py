"""Iterating over listings, a page at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from .._handles import ClientBound

_Item = TypeVar("_Item")
_Position = TypeVar("_Position", str, int)


class AsyncPageIterator(ClientBound, Generic[_Item, _Position]):
    """Yields the items of a listing one by one; asks for the next page when the last one is used up.

    A class rather than a generator, because leaving a loop over a generator early makes trio warn.

    Args:
        start: the position to begin at; None for the beginning.
    """

    def __init__(self, start: _Position | None = None) -> None:
        self._position: _Position | None = start
        # A position that comes back would lead in circles.
        self._seen: set[_Position | None] = {None, start}
        self._page: deque[_Item] = deque()
        self._is_last_page = False

    def __aiter__(self) -> AsyncPageIterator[_Item, _Position]:
        return self

    async def __anext__(self) -> _Item:
        while not self._page:
            if self._is_last_page:
                raise StopAsyncIteration
            items, self._position = await self._fetch(self._position)
            self._page.extend(items)
            self._is_last_page = self._position in self._seen
            self._seen.add(self._position)
        return self._page.popleft()

    async def _fetch(self, position: _Position | None) -> tuple[Iterable[_Item], _Position | None]:
        """Ask for the page at a position; return its items, and the position of the next page, or None for none."""
        raise NotImplementedError
