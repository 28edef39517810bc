"""How much an endpoint is trusted to answer, by what became of earlier attempts: pure decisions.

An endpoint that gives no answer costs its sender a place for as long as an attempt may take. So it is the endpoint that
is left alone for a while, and not only the delivery that failed: the others that wait for it would fare no better.
Every hold is shorter than the delay before the next attempt of a single delivery, whose schedule it therefore leaves as
it is; several deliveries to one such endpoint are tried one after the other, as the endpoint's holds allow.
"""

from __future__ import annotations

from dataclasses import dataclass

from .webhook_retries import Outcome

HOLDS_SECONDS = (0, 15, 30, 60, 120, 300)
"""How long an endpoint is left alone after so many attempts in a row without an answer; the last, after every more."""

GIVEN_UP_AFTER_DAYS = 5
GIVEN_UP_AFTER_ATTEMPTS = 20
"""An endpoint is disabled when it has accepted nothing for so many days, and failed so many attempts meanwhile."""

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """What is remembered of an endpoint. Times are Unix milliseconds of the control plane's clock.

    Attributes:
        failed: attempts that failed since it last accepted an event.
        unanswered: times in a row that no answer came at all; attempts that ran side by side count once.
        failing_since: when the first of the failed attempts ended; None where there is none.
        held_until: nothing is attempted before; None where nothing holds it.
    """

    failed: int = 0
    unanswered: int = 0
    failing_since: int | None = None
    held_until: int | None = None

    @property
    def is_suspect(self) -> bool:
        """Whether no answer came last: then it is tried with one delivery at a time."""
        return self.unanswered > 0

    def is_given_up(self, now: int) -> bool:
        """Say whether it has failed for so long, and so often, that it is disabled."""
        return (
            self.failing_since is not None
            and now - self.failing_since >= GIVEN_UP_AFTER_DAYS * _DAY_MS
            and self.failed >= GIVEN_UP_AFTER_ATTEMPTS
        )


def hold_ms(unanswered: int) -> int:
    """Return how long an endpoint is left alone after so many attempts in a row without an answer, 1 or more.

    >>> hold_ms(1), hold_ms(2), hold_ms(100)
    (0, 15000, 300000)
    """
    return HOLDS_SECONDS[min(unanswered, len(HOLDS_SECONDS)) - 1] * 1000


def after_attempt(health: EndpointHealth, outcome: Outcome, *, began: int, ended: int) -> EndpointHealth:
    """Return the health of an endpoint after an attempt that began and ended then."""
    if outcome.is_success:
        return EndpointHealth()
    if outcome.is_ours:
        return health
    failed = health.failed + 1
    failing_since = ended if health.failing_since is None else health.failing_since
    if outcome.status_code is not None:
        return EndpointHealth(failed, 0, failing_since, None)
    if health.held_until is not None and began <= health.held_until - hold_ms(health.unanswered):
        # It ran beside the one that is counted already.
        return EndpointHealth(failed, health.unanswered, failing_since, health.held_until)
    unanswered = health.unanswered + 1
    return EndpointHealth(failed, unanswered, failing_since, ended + hold_ms(unanswered))
