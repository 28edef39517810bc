"""The application of a playground: the API, with the controls, the inbox and the page beside it."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from ..api.app import Layer, create_app
from ..api.faults import FaultMiddleware, FaultScript
from ..api.operations import Handled
from ..control_plane import ControlPlane
from . import agent_budget, controls, inbox, page
from .context import Context
from .endpoints import endpoint
from .guards import Guard, GuardMiddleware

_Handler = Callable[[Context, Request], Awaitable[Response]]

_CONTROLS = (
    ("GET", "/_dev/state", controls.get_state),
    ("POST", "/_dev/clock/advance", controls.advance_clock),
    ("POST", "/_dev/clock", controls.set_clock),
    ("POST", "/_dev/draft", controls.read_draft),
    ("GET", "/_dev/runs/{job_id}", controls.get_run),
    ("POST", "/_dev/suppliers/{name}/outage", controls.switch_outage),
    ("POST", "/_dev/cap", agent_budget.set_cap),
    ("POST", "/_dev/faults", controls.add_fault),
    ("DELETE", "/_dev/faults", controls.clear_faults),
    ("POST", "/_dev/reset", controls.reset),
    ("GET", "/_dev/inbox", inbox.get_inbox),
    ("DELETE", "/_dev/inbox", inbox.clear_inbox),
)
_RECEIVER: tuple[tuple[str, str, _Handler], ...] = (("POST", "/_dev/inbox/{name}", inbox.receive),)
_PAGE: tuple[tuple[str, str, _Handler], ...] = (
    ("GET", "/", page.get_page),
    ("POST", "/_dev/page", page.enter_page),
    ("GET", "/{name}.{suffix}", page.get_file),
)


def create_playground_app(control_plane: ControlPlane, faults: FaultScript, guard: Guard | None = None) -> ASGIApp:
    """Make the application of a playground.

    Args:
        control_plane: the control plane; the caller starts its worker and closes it.
        faults: this script is applied to requests, and the controls change it.
        guard: if given, the page is served too, and requests that it does not admit are refused.
    """
    context = Context(control_plane, faults, guard)
    paths = [(method, path, endpoint(control)) for method, path, control in _CONTROLS]
    paths += [*_RECEIVER, *(() if guard is None else _PAGE)]
    more = [Handled(method, path, functools.partial(handler, context)) for method, path, handler in paths]
    layers: list[Layer] = [functools.partial(FaultMiddleware, script=faults)]
    if guard is not None:
        layers.append(functools.partial(GuardMiddleware, guard=guard))
    return create_app(control_plane, more=more, layers=layers)
