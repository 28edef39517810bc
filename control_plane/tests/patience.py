"""How long tests wait for what happens at once on an idle machine."""

import time
from collections.abc import Callable

PATIENCE_SECONDS = 120.0
"""Generous, because the machine may be busy: nobody waits so long unless something is wrong."""

_LEAST_SECONDS = 0.01
_MOST_SECONDS = 0.2
_SHARE = 0.1


def eventually(condition: Callable[[], bool], what_is_missing: Callable[[], str] = lambda: "it never happened") -> None:
    """Look until `condition` holds: the longer it takes, the less often, for a look may cost more than what it is for.

    Many ask a server or an engine over its API, which computes with the same cores. What holds is seen late by a tenth
    of the time that it took, and by a fifth of a second at most: `condition` has to stay true.
    """
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < PATIENCE_SECONDS, what_is_missing()
        time.sleep(pause_after(waited))


def pause_after(waited_seconds: float) -> float:
    """How many seconds to let pass before the next look, after so many."""
    return min(max(_LEAST_SECONDS, waited_seconds * _SHARE), _MOST_SECONDS)
