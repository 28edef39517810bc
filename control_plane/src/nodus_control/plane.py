"""The name that `control_plane` had before there were rooms, for programs of others; it goes with the next version."""

from .control_plane import ControlPlane as Plane

__all__ = ["Plane"]
