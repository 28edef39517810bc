# Generated from src/nodus/_async/ledger.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""`client.ledger`: the rows of the customer's Trust Ledger, its signed checkpoints, and proofs of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from .. import _arguments, _calls, _http
from .._handles import ClientBound
from .._resources import ConsistencyProof, InclusionProof, LedgerCheckpoint, LedgerEntry, LedgerKey, LedgerPage
from .paging import PageIterator
from .statement import Statement

if TYPE_CHECKING:
    from .session import Session

_PAGE_SIZE = 200


class Ledger(ClientBound):
    """`client.ledger`: what was recorded, and what proves it.

    These calls only fetch. To verify what they return, use `nodus.verify_ledger`, `verify_inclusion` and
    `verify_consistency`, which need no network. Fetch the checkpoint before the rows, so that the rows reach at least
    as far.
    """

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def entries(self, *, job_id: str | None = None, after: int = 0, limit: int | None = None) -> list[LedgerEntry]:
        """Fetch rows in order, with as many requests as it takes.

        An agent's key gets only the rows of its own key and jobs: `verify_ledger` finds gaps between them, but
        `verify_inclusion` verifies each, with a `proof()`.

        Args:
            job_id: only rows about this job.
            after: only rows whose `seq` is above this, 0 or more.
            limit: the most rows to return, 1 or more; None for all.

        Raises:
            ValidationError: (`invalid_argument`, `invalid_job_id`) an argument is invalid; nothing was sent.
            NodusError: any other failure.
        """
        if limit is not None:
            _arguments.whole_number("limit", limit, minimum=1)
        page_size = _PAGE_SIZE if limit is None else min(limit, _PAGE_SIZE)
        found: list[LedgerEntry] = []
        for entry in self.iter_entries(job_id=job_id, after=after, page_size=page_size):
            found.append(entry)
            if len(found) == limit:
                break
        return found

    def iter_entries(
        self, *, job_id: str | None = None, after: int = 0, page_size: int = _PAGE_SIZE
    ) -> Iterator[LedgerEntry]:
        """Iterate over rows in order, fetching a page at a time.

        Args:
            job_id: only rows about this job.
            after: only rows whose `seq` is above this, 0 or more.
            page_size: rows per request, 1 or more; the server caps it at 200.

        Raises:
            ValidationError: (`invalid_argument`, `invalid_job_id`) an argument is invalid.
            NodusError: while iterating, any other failure.
        """
        _arguments.whole_number("after", after, minimum=0)
        _arguments.whole_number("page_size", page_size, minimum=1)
        wanted = None if job_id is None else _arguments.job_id(job_id)
        return LedgerIterator(self._session, job_id=wanted, after=after, page_size=page_size)

    def checkpoint(self) -> LedgerCheckpoint:
        """Fetch the signed size and root of the ledger as it is now. Keep it, to check later ones against it.

        Raises:
            NodusError: the call failed.
        """
        return self._session.call(_calls.ledger_checkpoint(), _read_checkpoint)

    def key(self) -> LedgerKey:
        """Fetch the public key that checkpoints are signed with. Pin it: fetch it once, and keep it.

        Raises:
            NodusError: the call failed.
        """
        return self._session.call(_calls.ledger_key(), _read_key)

    def statement(self, month: str) -> Statement:
        """Fetch the statement of a month, as it is read: all of its rows, what proves them, and what they cost.

        Save it with `save(path)`, or iterate over its lines, and verify it with `nodus.verify_statement`. Agents' keys
        get none (`forbidden_principal`).

        Args:
            month: the calendar month in UTC, such as `"2026-10"`; that of today is one that is not final.

        Raises:
            ValidationError: (`invalid_argument`) it is no month.
        """
        return Statement(self._session, _calls.ledger_statement(month))

    def proof(self, seq: int, *, size: int | None = None) -> InclusionProof:
        """Fetch the proof that a row is in the ledger.

        Args:
            seq: the row's number, 1 or more.
            size: the size of the ledger to prove it for, such as `checkpoint.size`, at least `seq`; None for its
                current size.

        Raises:
            NotFoundError: the ledger has no such row, or is not that large.
            ValidationError: (`invalid_argument`) an argument is invalid; nothing was sent.
            NodusError: any other failure.
        """
        return self._session.call(_calls.ledger_proof(seq, size=size), _read_inclusion)

    def consistency(self, from_size: int, to_size: int) -> ConsistencyProof:
        """Fetch the proof that the ledger of one size begins with the ledger of another.

        Args:
            from_size: the earlier size, 1 or more.
            to_size: the later size, at least `from_size`.

        Raises:
            NotFoundError: the ledger is not that large.
            ValidationError: (`invalid_argument`) an argument is invalid; nothing was sent.
            NodusError: any other failure.
        """
        return self._session.call(_calls.ledger_consistency(from_size, to_size), _read_consistency)


Ledger.__module__ = "nodus"


class LedgerIterator(PageIterator[LedgerEntry, int]):
    """Yields ledger rows in order.

    Args:
        session: makes the requests.
        job_id: only rows about this job, or None.
        after: only rows whose `seq` is above this.
        page_size: rows per request.
    """

    def __init__(self, session: Session, *, job_id: str | None, after: int, page_size: int) -> None:
        super().__init__(after)
        self._session = session
        self._job_id = job_id
        self._page_size = page_size

    def _fetch(self, position: int | None) -> tuple[Iterable[LedgerEntry], int | None]:
        after = position or 0
        call = _calls.ledger_entries(job_id=self._job_id, after=after, limit=self._page_size)
        page = self._session.call(call, _read_page)
        # A position that goes back would lead in circles.
        return page.entries, page.next_after if page.next_after is not None and page.next_after > after else None


def _read_page(response: _http.Response) -> LedgerPage:
    return _http.parse(response, LedgerPage)


def _read_checkpoint(response: _http.Response) -> LedgerCheckpoint:
    return _http.parse(response, LedgerCheckpoint)


def _read_key(response: _http.Response) -> LedgerKey:
    return _http.parse(response, LedgerKey)


def _read_inclusion(response: _http.Response) -> InclusionProof:
    return _http.parse(response, InclusionProof)


def _read_consistency(response: _http.Response) -> ConsistencyProof:
    return _http.parse(response, ConsistencyProof)
