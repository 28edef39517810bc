"""A circuit breaker for each supplier: whether its engine is worth asking, decided from how it answered. Pure.

Closed, everything is asked. After so many failures in a row it opens, and nothing is asked for a while; then one call
is let through to probe. If that succeeds, it closes; if not, it stays open for twice as long.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

THRESHOLD = 3
"""How many calls in a row have to fail before it opens."""

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Circuit:
    """What is known of an engine's answers. Times are seconds of any clock that does not go back.

    Attributes:
        failures: how many calls have failed since the last that succeeded.
        probe_at: from when on one is let through while it is open.
        is_probing: whether that one is under way.
    """

    failures: int = 0
    probe_at: float = 0.0
    is_probing: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the engine counts as unreachable."""
        return self.failures >= THRESHOLD

    def admits(self, now: float) -> bool:
        """Say whether a call may be made now."""
        return not self.is_open or (not self.is_probing and now >= self.probe_at)

    def called(self) -> Circuit:
        """Return the circuit once a call is under way that it admitted."""
        return replace(self, is_probing=True) if self.is_open else self

    def succeeded(self) -> Circuit:
        """Return the circuit after the engine has answered, whatever it said."""
        return Circuit()

    def failed(self, now: float) -> Circuit:
        """Return the circuit after a call that the engine did not answer, or not in time.

        Of those that were under way when it opened, the others change nothing.
        """
        if self.is_open and not self.is_probing:
            return self
        failures = self.failures + 1
        pause = FIRST_PAUSE_SECONDS * 2 ** min(max(failures - THRESHOLD, 0), 10)
        return Circuit(failures, now + min(pause, LONGEST_PAUSE_SECONDS))
