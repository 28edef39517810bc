"""When a delivery is retried, and what an answer means: pure decisions."""

from __future__ import annotations

from dataclasses import dataclass

DELAYS_SECONDS = (0, 30, 120, 600, 3600)
"""How long each attempt waits, from the end of the previous one; the first is made at once."""

SPREAD = 0.2
"""By what fraction a delay may be shorter or longer: deliveries that failed together should not be retried together."""

GONE = 410

NOT_SIGNED = "secret_unavailable"
INTERNAL = "internal_error"
_OURS = frozenset((NOT_SIGNED, INTERNAL))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: with a status, or, where no answer came, with an error. Latency in real milliseconds."""

    status_code: int | None
    latency_ms: int
    error: str | None = None

    @property
    def is_success(self) -> bool:
        """Whether the endpoint accepted the event. A redirect is not followed, and counts as a failure."""
        return self.status_code is not None and 200 <= self.status_code < 300

    @property
    def is_ours(self) -> bool:
        """Whether the attempt failed before the endpoint was asked anything: that says nothing about the endpoint."""
        return self.error in _OURS

    @property
    def is_gone(self) -> bool:
        """Whether the endpoint says that it wants no more events at all."""
        return self.status_code == GONE


def next_delay_ms(attempts_made: int, chance: float) -> int | None:
    """Return how long to wait after so many failed attempts; None after the last.

    Args:
        attempts_made: 1 or more.
        chance: from 0 to 1; where in the spread of ±20 % the delay falls.

    >>> next_delay_ms(1, 0.5), next_delay_ms(4, 0.0), next_delay_ms(5, 0.5)
    (30000, 2880000, None)
    """
    if attempts_made >= len(DELAYS_SECONDS):
        return None
    factor = 1 + SPREAD * (2 * chance - 1)
    return round(DELAYS_SECONDS[attempts_made] * 1000 * factor)
