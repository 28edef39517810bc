"""Operations: a method of a path, who may call it, and what answers. `routes` lists those of the API.

Whether a caller may do something at all is decided here, before an endpoint runs; an endpoint gets the key of its
caller, so none can be reached without one.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from starlette.requests import Request
from starlette.routing import Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nodus_ledger.keys.keys import KeyRecord, PrincipalKind

from ..control_plane import ControlPlane
from ..errors import ApiError
from .auth import authenticate
from .requests import READING, ApiRequest, Work, in_turn, read_request, translated

Endpoint: TypeAlias = Callable[[ControlPlane, ApiRequest, KeyRecord], ASGIApp]
"""Runs in a thread and may block; what it returns sends the response, in the event loop."""

Handler: TypeAlias = Callable[[Request], Awaitable[ASGIApp]]
"""Runs in the event loop."""


class Access(enum.Enum):
    """Who may call an operation. Whoever may is limited to the rate of their key."""

    EVERY_KEY = enum.auto()
    NO_AGENTS = enum.auto()


def _one(_call: ApiRequest) -> int:
    return 1


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that needs a key.

    Attributes:
        method: of HTTP.
        path: with names in braces, as in the document.
        endpoint: what answers.
        access: whose keys it takes.
        work: what it does.
        refusal: the end of the sentence that tells an agent what it may not do.
        tokens: how many of the key's rate limit a request takes, at least 1.
    """

    method: str
    path: str
    endpoint: Endpoint
    access: Access = Access.EVERY_KEY
    work: Work = Work.READS
    refusal: str = "do this"
    tokens: Callable[[ApiRequest], int] = _one

    async def answer(self, plane: ControlPlane, request: Request) -> ASGIApp:
        """Answer a request.

        Raises:
            ApiError: as `read_request`, `authenticate`, `in_thread` and the endpoint.
        """
        call = await read_request(plane, request)
        return await in_turn(self.work, translated, self._admitted, plane, call)

    def _admitted(self, plane: ControlPlane, call: ApiRequest) -> ASGIApp:
        key = authenticate(plane, call, tokens=self.tokens(call))
        if call.method not in READING:
            call.refuse_query()
        if self.access is Access.NO_AGENTS and key.principal_kind == PrincipalKind.AGENT.value:
            raise ApiError(403, "forbidden_principal", f"An agent's key may not {self.refusal}.")
        return self.endpoint(plane, call, key)


@dataclass(frozen=True, slots=True)
class OpenOperation:
    """An operation that needs no key, and does no work that a stranger could ask too much of."""

    method: str
    path: str
    endpoint: Callable[[ControlPlane, Request], Awaitable[ASGIApp]]

    async def answer(self, plane: ControlPlane, request: Request) -> ASGIApp:
        """Answer a request."""
        return await self.endpoint(plane, request)


class Handled(NamedTuple):
    """A method of a path, and what handles it."""

    method: str
    path: str
    handler: Handler


class Paths(Router):
    """Finds who handles a request by its path, then by its method.

    Args:
        handled: paths with names in them are tried in this order, after those without.
    """

    def __init__(self, handled: Iterable[Handled]) -> None:
        super().__init__(redirect_slashes=False)
        of_path: dict[str, dict[str, Handler]] = {}
        for method, path, handler in handled:
            of_path.setdefault(path, {})[method] = handler
        self._whole = {path: _Methods(handlers) for path, handlers in of_path.items() if "{" not in path}
        self._with_names = [(_pattern(path), _Methods(handlers)) for path, handlers in of_path.items() if "{" in path]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request. A refusal is answered here, so that the layers around see its response.

        Raises:
            ApiError: the answer has begun, and cannot be ended as it ought to.
        """
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        has_started = False

        async def noting(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            methods, scope["path_params"] = self._find(_path_here(scope))
            await methods(scope, receive, noting)
        except ApiError as exc:
            if has_started:
                raise
            await exc.response(scope["state"]["request_id"])(scope, receive, send)

    def _find(self, path: str) -> tuple[_Methods, dict[str, Any]]:
        whole = self._whole.get(path)
        if whole is not None:
            return whole, {}
        for pattern, methods in self._with_names:
            found = pattern.match(path)
            if found is not None:
                return methods, found.groupdict()
        raise ApiError(404, "not_found", "There is nothing at this path.")


def _pattern(path: str) -> re.Pattern[str]:
    """Return what matches a path, in which each name in braces stands for a part of one segment."""
    parts = re.split(r"\{(\w+)\}", path)
    return re.compile(
        "".join(f"(?P<{part}>[^/]+)" if at % 2 else re.escape(part) for at, part in enumerate(parts)) + r"\Z"
    )


def _path_here(scope: Scope) -> str:
    """Return the path below where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root + "/") else path


class _Methods:
    """The methods of one path."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._handlers.get(scope["method"])
        if handler is None:
            raise ApiError(
                405,
                "method_not_allowed",
                "This path does not support this method.",
                headers={"Allow": ", ".join(sorted(self._handlers))},
            )
        response = await handler(Request(scope, receive))
        await response(scope, receive, send)
