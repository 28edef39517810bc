"""Cursors of listings: sealed, because the number of a page's last row counts the rows of every customer."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from nodus_core.canonical_json import canonical_json

from ..errors import UnusableCursor
from .sealing import Sealer, UnusableKey

_BYTES = 8


class Cursors:
    """Makes and reads the cursors of one kind of listing.

    Args:
        sealer: what they are sealed with.
        listing: the kind; a cursor of one kind is none of another.
    """

    def __init__(self, sealer: Sealer, listing: str) -> None:
        self._sealer = sealer
        self._listing = listing

    def make(self, owner: str, seq: int, filters: Mapping[str, Any] | None = None) -> str:
        """Return the cursor that continues the listing of `owner`, by these filters, after row `seq`."""
        sealed = self._sealer.seal(seq.to_bytes(_BYTES, "big"), self._context(owner, filters))
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def read(self, owner: str, cursor: str, filters: Mapping[str, Any] | None = None) -> int:
        """Return the row after which a cursor of this listing continues.

        Raises:
            UnusableCursor: no page of this owner's listing, by these filters, gave it.
        """
        try:
            sealed = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
            return int.from_bytes(self._sealer.open(sealed, self._context(owner, filters)), "big")
        except (ValueError, UnusableKey):
            raise UnusableCursor from None

    def _context(self, owner: str, filters: Mapping[str, Any] | None) -> str:
        condition = f" where {canonical_json(filters)}" if filters else ""
        return f"cursor of {self._listing}{condition} of {owner}"
