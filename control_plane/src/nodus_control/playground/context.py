"""What the playground's own paths work on."""

from __future__ import annotations

from dataclasses import dataclass

from ..api.faults import FaultScript
from ..control_plane import ControlPlane
from .guards import Guard


@dataclass(frozen=True)
class Context:
    """A control plane, the faults that are scripted for it, and whom its page admits (None: there is no page)."""

    control_plane: ControlPlane
    faults: FaultScript
    guard: Guard | None = None
