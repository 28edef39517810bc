"""The customer's Trust Ledger: its rows, its signed checkpoints, and proofs of both."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from .. import _arguments, _calls, _http
from .._records import ConsistencyProof, InclusionProof, LedgerCheckpoint, LedgerEntry, LedgerKey, LedgerPage

if TYPE_CHECKING:
    from .session import AsyncSession

_PAGE_SIZE = 200


class AsyncLedger:
    """`client.ledger`: what was recorded, and what proves it.

    Nothing here verifies: that is `nodus.verify_ledger`, `verify_inclusion` and `verify_consistency`, which need no
    network. Get the checkpoint first and the rows after it, so that the rows reach at least as far.
    """

    __slots__ = ("_session",)

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def entries(
        self, *, job_id: str | None = None, after: int = 0, limit: int | None = None
    ) -> list[LedgerEntry]:
        """Give rows in their order, as many requests as that may take.

        Args:
            job_id: only rows about this job.
            after: only rows whose `seq` is above this, from 0 on.
            limit: how many at most, from 1 on; None for all.

        Raises:
            ValidationError: (`invalid_argument`, `invalid_job_id`) an argument cannot be right; nothing was sent.
            NodusError: any other failure.
        """
        if limit is not None:
            _arguments.whole_number("limit", limit, minimum=1)
        page_size = _PAGE_SIZE if limit is None else min(limit, _PAGE_SIZE)
        found: list[LedgerEntry] = []
        async for entry in self.iter_entries(job_id=job_id, after=after, page_size=page_size):
            found.append(entry)
            if len(found) == limit:
                break
        return found

    def iter_entries(
        self, *, job_id: str | None = None, after: int = 0, page_size: int = _PAGE_SIZE
    ) -> AsyncIterator[LedgerEntry]:
        """Iterate over rows in their order, a page at a time.

        Args:
            job_id: only rows about this job.
            after: only rows whose `seq` is above this, from 0 on.
            page_size: rows a request, from 1 on; the server caps it.

        Raises:
            ValidationError: (`invalid_argument`, `invalid_job_id`) an argument cannot be right.
            NodusError: while iterating, any other failure.
        """
        _arguments.whole_number("after", after, minimum=0)
        _arguments.whole_number("page_size", page_size, minimum=1)
        wanted = None if job_id is None else _arguments.job_id(job_id)
        return AsyncLedgerIterator(self._session, job_id=wanted, after=after, page_size=page_size)

    async def checkpoint(self) -> LedgerCheckpoint:
        """Give the signed size and root of the ledger as it is now. Keep it, to hold later ones against it.

        Raises:
            NodusError: the call failed.
        """
        return await self._session.call(_calls.ledger_checkpoint(), _read_checkpoint)

    async def key(self) -> LedgerKey:
        """Give the public key that checkpoints are signed with. Get it once, and keep it.

        Raises:
            NodusError: the call failed.
        """
        return await self._session.call(_calls.ledger_key(), _read_key)

    async def proof(self, seq: int, *, size: int | None = None) -> InclusionProof:
        """Give the proof that a row is in the ledger.

        Args:
            seq: the row, from 1 on.
            size: the size of the ledger to prove it for, `checkpoint.size`, at least `seq`; None for its present one.

        Raises:
            NotFoundError: the ledger has no such row, or is not that large.
            ValidationError: (`invalid_argument`) an argument cannot be right; nothing was sent.
            NodusError: any other failure.
        """
        return await self._session.call(_calls.ledger_proof(seq, size=size), _read_inclusion)

    async def consistency(self, from_size: int, to_size: int) -> ConsistencyProof:
        """Give the proof that the ledger of one size begins with the ledger of another.

        Args:
            from_size: the earlier size, from 1 on.
            to_size: the later size, at least `from_size`.

        Raises:
            NotFoundError: the ledger is not that large.
            ValidationError: (`invalid_argument`) an argument cannot be right; nothing was sent.
            NodusError: any other failure.
        """
        return await self._session.call(_calls.ledger_consistency(from_size, to_size), _read_consistency)


AsyncLedger.__module__ = "nodus"


class AsyncLedgerIterator:
    """Gives ledger rows one by one; asks for a page when the one before is used up.

    Args:
        session: makes the requests.
        job_id: only rows about this job, or None.
        after: only rows whose `seq` is above this.
        page_size: rows a request.
    """

    def __init__(self, session: AsyncSession, *, job_id: str | None, after: int, page_size: int) -> None:
        self._session = session
        self._job_id = job_id
        self._after = after
        self._page_size = page_size
        self._page: deque[LedgerEntry] = deque()
        self._is_last_page = False

    def __aiter__(self) -> AsyncLedgerIterator:
        return self

    async def __anext__(self) -> LedgerEntry:
        while not self._page:
            if self._is_last_page:
                raise StopAsyncIteration
            await self._turn_page()
        return self._page.popleft()

    async def _turn_page(self) -> None:
        call = _calls.ledger_entries(job_id=self._job_id, after=self._after, limit=self._page_size)
        page = await self._session.call(call, _read_page)
        self._page.extend(page.entries)
        # A position that does not advance would lead in circles.
        self._is_last_page = page.next_after is None or page.next_after <= self._after
        self._after = self._after if page.next_after is None else page.next_after


def _read_page(reply: _http.Reply) -> LedgerPage:
    return _http.parse(reply, LedgerPage)


def _read_checkpoint(reply: _http.Reply) -> LedgerCheckpoint:
    return _http.parse(reply, LedgerCheckpoint)


def _read_key(reply: _http.Reply) -> LedgerKey:
    return _http.parse(reply, LedgerKey)


def _read_inclusion(reply: _http.Reply) -> InclusionProof:
    return _http.parse(reply, InclusionProof)


def _read_consistency(reply: _http.Reply) -> ConsistencyProof:
    return _http.parse(reply, ConsistencyProof)
