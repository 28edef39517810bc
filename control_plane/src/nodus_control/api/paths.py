"""One spelling for every path: what a proxy compares with its rules is what is served here. Pure."""

from __future__ import annotations

import re

# Letters, digits, `-`, `.`, `_`, `~` (RFC 3986, section 2.3, wants these decoded), and what divides segments.
_NEEDLESS = re.compile(rb"%(?:2[DEF]|3[0-9]|4[1-9A-F]|5[0-9ACF]|6[1-9A-F]|7[0-9AE])", re.IGNORECASE)


def is_canonical(raw_path: bytes) -> bool:
    """Whether a path, as sent, encodes nothing that it need not, and no slash or backslash."""
    return b"%" not in raw_path or _NEEDLESS.search(raw_path) is None
