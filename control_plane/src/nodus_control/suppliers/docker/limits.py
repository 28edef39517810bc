"""How long each call of the driver may wait for its engine."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from .engine import Engine


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a call of the driver waits for its engine before it is `EngineUnavailable`, in seconds.

    Below what the worker allows each of them, so that the engine is what is given up, and no thread of the worker's.

    Attributes:
        poll_seconds: `poll`.
        submit_seconds: `submit`.
        change_seconds: `cancel` and `identity`.
        tidy_seconds: `forget` and `list_placements`, for which nobody waits.
    """

    poll_seconds: float = 2.5
    submit_seconds: float = 25.0
    change_seconds: float = 12.0
    tidy_seconds: float = 30.0


LIMITS = Limits()


class Limited(Protocol):
    """What asks an engine, within limits."""

    @property
    def engine(self) -> Engine:
        """The engine."""
        ...

    @property
    def limits(self) -> Limits:
        """The limits."""
        ...


_Asking = TypeVar("_Asking", bound=Limited)
_Given = ParamSpec("_Given")
_Answered = TypeVar("_Answered")
_Method = Callable[Concatenate[_Asking, _Given], _Answered]


def within(
    seconds: Callable[[Limits], float],
) -> Callable[[_Method[_Asking, _Given, _Answered]], _Method[_Asking, _Given, _Answered]]:
    """Let a method wait for the engine no longer than one of its limits, whatever it asks, and how often."""

    def bound(method: _Method[_Asking, _Given, _Answered]) -> _Method[_Asking, _Given, _Answered]:
        @functools.wraps(method)
        def bounded(asking: _Asking, /, *args: _Given.args, **kwargs: _Given.kwargs) -> _Answered:
            with asking.engine.within(seconds(asking.limits)):
                return method(asking, *args, **kwargs)

        return bounded

    return bound
