"""Cursors of listings: opaque to callers, they hold the letter of the listing and the number of a page's last row."""

from __future__ import annotations

import base64
import re

from .errors import UnusableCursor

_CURSOR = re.compile(r"([a-z])([0-9]{1,18})\Z")


def make_cursor(listing: str, seq: int) -> str:
    """Return the cursor that continues a listing, named by a letter, after row `seq`."""
    return base64.urlsafe_b64encode(f"{listing}{seq}".encode()).decode().rstrip("=")


def read_cursor(listing: str, cursor: str) -> int:
    """Return the row after which a cursor of this listing continues.

    Raises:
        UnusableCursor: no page of this listing gave it.
    """
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        raise UnusableCursor from None
    found = _CURSOR.match(text)
    if found is None or found.group(1) != listing:
        raise UnusableCursor
    return int(found.group(2))
