"""What the playground's own paths work on."""

from __future__ import annotations

from dataclasses import dataclass

from ..faults import FaultScript
from ..plane import Plane
from .guards import Guard


@dataclass(frozen=True)
class Surroundings:
    """A control plane, the faults that are scripted for it, and whom its page admits (None: there is no page)."""

    plane: Plane
    faults: FaultScript
    guard: Guard | None = None
