"""The HTTP libraries that the SDK stands on: httpx for URLs, headers and injected clients, httpcore for connections.

Everything imports them from here, so that the tests can run against their successors, which keep the public names:
`NODUS_TEST_HTTPX2=1` puts httpx2 and httpcore2 in their place. It is meant for the SDK's own tests alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING or not os.environ.get("NODUS_TEST_HTTPX2"):
    import httpcore
    import httpx
else:
    import httpcore2 as httpcore
    import httpx2 as httpx

__all__ = ["has_unread_bytes", "httpcore", "httpx"]


def has_unread_bytes(connection: object) -> bool:
    """Whether a connection of httpcore has received more than the response that was read last.

    httpcore keeps that to itself, so this is the one place that reads private attributes of another library. Where they
    are not what they were, the answer is always that there may be some.
    """
    inner = connection
    while (deeper := getattr(inner, "_connection", None)) is not None:
        inner = deeper
    parser = getattr(inner, "_h11_state", None)
    unread = getattr(parser, "trailing_data", None)
    return unread is None or bool(unread[0])
