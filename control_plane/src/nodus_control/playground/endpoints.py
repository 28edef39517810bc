"""What answers requests for the playground's controls: each is a function of what it works on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from nodus_ledger.keys.keys import KeyRecord

from ..api.auth import authenticate
from ..api.faults import FaultScript
from ..api.requests import ApiRequest, in_thread, read_request, translated
from ..api.views import to_json
from ..control_plane import ControlPlane
from ..errors import ApiError
from .context import Context
from .seeded import SeededKeys


class Control:
    """What a control works on: the control plane, the fault script, and the call.

    `caller` is whose key the call has, where it needs one.
    """

    def __init__(
        self,
        control_plane: ControlPlane,
        faults: FaultScript,
        call: ApiRequest,
        keys: SeededKeys | None,
        caller: KeyRecord | None = None,
    ) -> None:
        self.control_plane = control_plane
        self.faults = faults
        self.call = call
        self.keys = keys
        self.caller = caller

    def body(self) -> Mapping[str, Any]:
        """The request's body.

        Raises:
            ApiError: it is no JSON object.
        """
        content = self.call.json()
        if not isinstance(content, dict):
            raise ApiError(422, "invalid_request", "The body must be a JSON object.")
        return content


def endpoint(control: Callable[[Control], dict[str, Any]]) -> Callable[[Context, Request], Awaitable[Response]]:
    """Make what answers a request for a control: in a thread, and where real commands run, with a key only."""

    async def respond(context: Context, request: Request) -> Response:
        control_plane, guard = context.control_plane, context.guard
        keys = None if guard is None else guard.page_keys
        call = await read_request(control_plane, request)

        def run(control_plane: ControlPlane, call: ApiRequest) -> dict[str, Any]:
            caller = authenticate(control_plane, call) if control_plane.drivers.runs_commands else None
            return control(Control(control_plane, context.faults, call, keys, caller))

        return Response(to_json(await in_thread(translated, run, control_plane, call)), media_type="application/json")

    return respond
