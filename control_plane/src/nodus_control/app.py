"""The ASGI application of a control plane: the API, and whatever layers its host puts around it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from .api import events, health, jobs, keys, ledger, logs, webhooks
from .api.errors import ApiError
from .api.openapi import document
from .envelope import EnvelopeMiddleware
from .faults import FaultMiddleware, FaultScript
from .hot_paths import HotPaths
from .plane import Plane
from .playground import controls, inbox, page
from .playground.guards import Guard, GuardMiddleware
from .version import VERSION

_CODES = {
    404: ("not_found", "There is nothing at this path."),
    405: ("method_not_allowed", "This path does not support this method."),
}


def create_app(plane: Plane, *, faults: FaultScript | None = None, guard: Guard | None = None) -> FastAPI:
    """Make the application of a control plane.

    Args:
        plane: the control plane; the caller starts its worker and closes it.
        faults: if given, mounts the playground's controls, and applies this script to requests.
        guard: if given, mounts the playground's page, and refuses requests that this guard does not admit.
    """
    app = FastAPI(title="Nodus", version=VERSION, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.plane = plane
    app.state.faults = faults
    app.state.guard = guard
    routers = [module.router for module in (health, jobs, events, logs, keys, ledger, webhooks)]
    if faults is not None:
        routers += [controls.router, inbox.router]
    if guard is not None:
        routers.append(page.router)
    for router in routers:
        app.include_router(router)
    app.state.routes = [route for router in routers for route in router.routes]
    setattr(app, "openapi", document)  # noqa: B010  # FastAPI's documented way of giving a document of one's own
    app.add_exception_handler(ApiError, _answer(_from_api))
    app.add_exception_handler(HTTPException, _answer(_from_http))
    app.add_exception_handler(RequestValidationError, _answer(_from_validation))
    # The middleware that is added last is outermost.
    app.add_middleware(HotPaths)
    if faults is not None:
        app.add_middleware(FaultMiddleware, script=faults)
    if guard is not None:
        app.add_middleware(GuardMiddleware, guard=guard)
    app.add_middleware(EnvelopeMiddleware)
    return app


def _answer(
    translate: Callable[[Request, Exception], ApiError],
) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, exc: Exception) -> Response:
        return translate(request, exc).response(request.state.request_id)

    return answer


def _from_api(_request: Request, exc: Exception) -> ApiError:
    assert isinstance(exc, ApiError)
    return exc


def _from_http(request: Request, exc: Exception) -> ApiError:
    assert isinstance(exc, HTTPException)
    code, message = _CODES.get(exc.status_code, ("http_error", "The request cannot be answered."))
    headers: dict[str, Any] = dict(exc.headers or {})
    if exc.status_code == 405 and (methods := _methods_of(request)):
        headers["Allow"] = ", ".join(sorted(methods))
    return ApiError(exc.status_code, code, message, headers=headers)


def _methods_of(request: Request) -> set[str]:
    """Every method that the path has: a route for each is tried, and the framework tells those of the first alone."""
    routes = [route for route in request.app.state.routes if route.matches(request.scope)[0] is not Match.NONE]
    return {method for route in routes for method in route.methods}


def _from_validation(_request: Request, _exc: Exception) -> ApiError:
    return ApiError(422, "invalid_request", "The request is not valid for this path.")
