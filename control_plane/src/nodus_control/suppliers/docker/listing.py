"""Asks an engine once what of a supplier's runs, for all who want to know: not each of its containers by itself.

What a list shows to run is reported as it was when the engine last described it. Of everything else the engine is
asked by itself: only its description says whether and how a program has ended.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..protocol import EngineUnavailable, Placement
from .engine import LOOK_SECONDS, Engine
from .names import DATABASE, SUPPLIER
from .state import Container
from .streams import LATE

FRESH_SECONDS = 1.0
"""How old a list, or that there was none, may be when somebody asks: what is older says nothing of the engine now."""

_RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Listed:
    """What ran at one moment.

    Attributes:
        asked_at: when the engine was asked, by this process's monotonic clock.
        at: that moment, in Unix seconds of the engine's clock; None where it did not say.
        running: the ids of the containers.
    """

    asked_at: float
    at: float | None
    running: frozenset[str]


@dataclass(slots=True)
class _Known:
    """A container that was described as running, and when that was last asked, by the monotonic clock."""

    container: Container
    asked_at: float


class Listing:
    """The running containers of one supplier. Threads share it, and each list that the engine gives.

    Args:
        engine: the engine.
        database_id: which control plane this is.
        supplier: the name.
        monotonic: real time, in seconds.
    """

    def __init__(
        self, engine: Engine, *, database_id: str, supplier: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        labels = [f"{DATABASE}={database_id}", f"{SUPPLIER}={supplier}"]
        self._params = {"filters": json.dumps({"label": labels})}
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._is_asking = False
        self._asked_at = float("-inf")
        self._last: Listed | EngineUnavailable | None = None
        self._known: dict[tuple[str, int], _Known] = {}

    def note(self, placement: Placement, container: Container) -> None:
        """Remember how the engine has just described the container of a placement, which runs."""
        if container.started_at is None:
            return  # Its description still changes.
        with self._changed:
            self._known[_key(placement)] = _Known(container, self._monotonic())

    def forget(self, placement: Placement) -> None:
        """Have the engine asked by itself about a placement, from now on."""
        with self._changed:
            self._known.pop(_key(placement), None)

    def still_running(self, placement: Placement) -> tuple[Container, float] | None:
        """Return the container of a placement, and the engine's time, if it is known and still runs.

        Nobody is told twice what one list said: whoever asks again learns something newer.

        Raises:
            EngineUnavailable: the engine cannot be asked now.
        """
        with self._changed:
            known = self._known.get(_key(placement))
        if known is None:
            return None
        now = self._monotonic()
        try:
            listed = self._after(known.asked_at)
            now = max(now, listed.asked_at)
        finally:
            # An answer, or none, that was waited for is newer than the question.
            known.asked_at = max(now, self._asked_at)
        if listed.at is None or known.container.id not in listed.running:
            self.forget(placement)
            return None
        return known.container, listed.at + max(0.0, self._monotonic() - listed.asked_at)

    def _after(self, moment: float) -> Listed:
        """Return a list that was asked for after a moment, and is fresh; of all who want one, one asks."""
        with self._changed:
            oldest = max(moment, self._monotonic() - FRESH_SECONDS)
            while True:
                if self._last is not None and self._asked_at > oldest:
                    return _require(self._last)
                if not self._is_asking:
                    break
                if not self._changed.wait(max(0.0, min(LOOK_SECONDS, self._engine.seconds_left))):
                    raise EngineUnavailable(LATE)
                oldest = moment  # What was waited for is as fresh as can be, however long the engine took.
            self._is_asking = True
        asked_at = self._monotonic()
        said: Listed | EngineUnavailable = EngineUnavailable("the supplier's engine was not asked to the end")
        try:
            said = self._ask(asked_at)
        except EngineUnavailable as exc:
            said = exc
        finally:
            with self._changed:
                self._is_asking = False
                self._asked_at, self._last = asked_at, said
                if isinstance(said, Listed):
                    self._drop_all_but(said)
                self._changed.notify_all()
        return _require(said)

    def _ask(self, asked_at: float) -> Listed:
        answer = self._engine.ask("GET", "/containers/json", params=self._params).require(200)
        try:
            running = frozenset(str(each["Id"]) for each in answer.document() if each["State"] == _RUNNING)
        except (KeyError, TypeError) as exc:
            raise EngineUnavailable("the supplier's engine lists containers in a way that is unknown") from exc
        return Listed(asked_at, answer.at, running)

    def _drop_all_but(self, listed: Listed) -> None:
        """Forget what has ended, perhaps while another worker looked after it."""
        for key, known in tuple(self._known.items()):
            if known.asked_at < listed.asked_at and known.container.id not in listed.running:
                del self._known[key]


def _require(said: Listed | EngineUnavailable) -> Listed:
    if isinstance(said, EngineUnavailable):
        # Each who is told gets one of their own: it grows a traceback.
        raise EngineUnavailable(said.detail, never_sent=said.never_sent)
    return said


def _key(placement: Placement) -> tuple[str, int]:
    return placement.job_id, placement.attempt
