"""Why the ledger refused something. The service maps each to a status and a code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nodus_core.largest_fitting import LargestFitting


class Refused(Exception):
    """Base of all refusals; nothing was written."""


class DatabaseUnavailable(Refused):
    """The database cannot be reached, or lets nobody write, right now.

    `nothing_was_done` is false where the connection broke while a transaction was being committed: then nobody knows.
    """

    def __init__(self, reason: str, *, nothing_was_done: bool = True) -> None:
        super().__init__(f"the database cannot be used right now: {reason}")
        self.reason = reason
        self.nothing_was_done = nothing_was_done


class IdempotencyKeyReused(Refused):
    """The idempotency key belongs to an earlier submission with another spec."""


class NoSuchOffer(Refused):
    """Nobody in the catalogue offers what the spec asks for.

    `gpu` is the model that is asked for, and `gpus` are those that somebody offers; `is_too_many` where somebody offers
    it, but nobody has so many in one place.
    """

    def __init__(self, gpu: str, gpus: Sequence[str], *, is_too_many: bool = False) -> None:
        super().__init__("nobody offers this")
        self.gpu = gpu
        self.gpus = tuple(gpus)
        self.is_too_many = is_too_many


class SimulationsOnly(Refused):
    """All suppliers are simulated, and the key is a live one, which never sees those."""


class NothingSimulated(Refused):
    """All suppliers are real, and the key is a test key, which only simulated ones take."""


class NoSupplier(Refused):
    """Somebody offers it, but all of them are out."""


class MaxCostTooLow(Refused):
    """The first minute costs more than the ceiling wherever the job could go; in micro-USD, `cheapest_minute`.

    `largest_fitting` is what of it the ceiling, and the key's month, would allow.
    """

    def __init__(self, cheapest_minute: int, largest_fitting: LargestFitting) -> None:
        super().__init__(cheapest_minute)
        self.cheapest_minute = cheapest_minute
        self.largest_fitting = largest_fitting


class CannotRun(Refused):
    """No engine here can ever run what the spec asks for, or for this customer; the message says why."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UnknownJob(Refused):
    """This customer has no such job."""


class ForbiddenPrincipal(Refused):
    """The key may not do this to a job that another key submitted."""


class TooManyGroups(Refused):
    """What was to be added up makes more groups than an answer may have."""


class UnusableCursor(Refused):
    """No page of this listing, by these filters, gave the cursor."""


@dataclass(frozen=True)
class BudgetFigures:
    """A key's month, in micro-USD. `cap` is None for no cap; `resets_at` is in Unix milliseconds."""

    cap: int | None
    realised: int
    in_flight: int
    resets_at: int

    @property
    def month_to_date(self) -> int:
        """Realised spend plus everything that is reserved for jobs in flight."""
        return self.realised + self.in_flight

    @property
    def headroom(self) -> int | None:
        """What can still be reserved; None for no cap."""
        return None if self.cap is None else max(0, self.cap - self.month_to_date)


class BudgetExceeded(Refused):
    """The reservation, in micro-USD, would pass the key's monthly cap; `largest_fitting` is what would not."""

    def __init__(self, estimated: int, figures: BudgetFigures) -> None:
        super().__init__(estimated, figures)
        self.estimated = estimated
        self.figures = figures
        self.largest_fitting = LargestFitting(None, None, None)
