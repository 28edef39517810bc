"""How long tests wait for what happens at once on an idle machine."""

import time
from collections.abc import Callable

PATIENCE_SECONDS = 120.0
"""Generous, because the machine may be busy: nobody waits so long unless something is wrong."""

_LOOK_SECONDS = 0.01


def eventually(condition: Callable[[], bool], what_is_missing: Callable[[], str] = lambda: "it never happened") -> None:
    """Look until `condition` holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what_is_missing()
        time.sleep(_LOOK_SECONDS)
