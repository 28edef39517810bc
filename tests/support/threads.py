"""Whether the threads that a test started are over when it is."""

from __future__ import annotations

import threading
from collections.abc import Iterator

KEPT = ("Trio", "AnyIO", "asyncio")
"""How the names of threads begin that event loops keep for later."""

PATIENCE_SECONDS = 60.0


def threads_end() -> Iterator[None]:
    """The body of a fixture: what was started inside it must end."""
    before = set(threading.enumerate())
    yield
    left = {thread for thread in set(threading.enumerate()) - before if not thread.name.startswith(KEPT)}
    for thread in left:
        # One that is about to end may not have come to it yet.
        thread.join(PATIENCE_SECONDS)

    assert {thread.name for thread in left if thread.is_alive()} == set()
