"""The ASGI application of a control plane: the API, and whatever a host adds to it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from starlette.types import ASGIApp

from ..control_plane import ControlPlane
from .envelope import EnvelopeMiddleware
from .operations import Handled, Paths
from .routes import OPERATIONS

Layer = Callable[[ASGIApp], ASGIApp]


def create_app(control_plane: ControlPlane, *, more: Iterable[Handled] = (), layers: Iterable[Layer] = ()) -> ASGIApp:
    """Make the application of a control plane.

    Args:
        control_plane: the control plane; the caller starts its worker and closes it.
        more: paths that its host serves besides those of the API.
        layers: what its host puts around all paths, the innermost first; every answer has its request id outside them.
    """
    operations = [Handled(each.method, each.path, functools.partial(each.answer, control_plane)) for each in OPERATIONS]
    app: ASGIApp = Paths([*operations, *more])
    for layer in layers:
        app = layer(app)
    return EnvelopeMiddleware(app, control_plane.database_trouble)
