"""`/_dev`: the playground's controls. Mounted by the playground and the testing fixtures only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from nodus_core.times import timestamp

from ..api.errors import ApiError
from ..api.views import to_json
from ..auth import authenticate
from ..calls import Call, in_thread, read_call, translated
from ..faults import ACTIONS, Fault, FaultScript
from ..plane import Plane

MAX_ADVANCE_SECONDS = 10 * 365 * 86_400
MAX_DELAY_SECONDS = 3600

router = APIRouter()


@router.get("/_dev/state")
async def get_state(request: Request) -> Response:
    """Say how the playground stands."""
    return await _respond(request, _state)


@router.post("/_dev/clock/advance")
async def advance_clock(request: Request) -> Response:
    """Move the clock, and do what falls due."""
    return await _respond(request, _advance)


@router.post("/_dev/suppliers/{name}/outage")
async def switch_outage(request: Request) -> Response:
    """Begin or end a supplier's outage."""
    return await _respond(request, _outage)


@router.post("/_dev/faults")
async def add_fault(request: Request) -> Response:
    """Script a fault."""
    return await _respond(request, _add_fault)


@router.delete("/_dev/faults")
async def clear_faults(request: Request) -> Response:
    """Drop the faults that wait."""
    return await _respond(request, _clear_faults)


@router.post("/_dev/reset")
async def reset(request: Request) -> Response:
    """Empty everything but the keys."""
    return await _respond(request, _reset)


class _Control:
    """A control's surroundings: the plane, the fault script, and the call."""

    def __init__(self, plane: Plane, faults: FaultScript, call: Call) -> None:
        self.plane = plane
        self.faults = faults
        self.call = call

    def body(self) -> Mapping[str, Any]:
        content = self.call.json()
        if not isinstance(content, dict):
            raise ApiError(422, "invalid_request", "The body must be a JSON object.")
        return content


async def _respond(request: Request, control: Any) -> Response:
    plane: Plane = request.app.state.plane
    faults: FaultScript = request.app.state.faults
    call = await read_call(request)

    def run(plane: Plane, call: Call) -> dict[str, Any]:
        if plane.driver.runs_commands:
            authenticate(plane, call)
        content: dict[str, Any] = control(_Control(plane, faults, call))
        return content

    return Response(to_json(await in_thread(translated, run, plane, call)), media_type="application/json")


def _state(control: _Control) -> dict[str, Any]:
    plane = control.plane
    out = plane.outages.names()
    return {
        "now": timestamp(plane.clock.now()),
        "speed": "instant" if plane.clock.leaps else plane.clock.speed,
        "seed": plane.seed,
        "driver": plane.driver.name,
        "suppliers": [
            {"name": supplier.name, "kind": supplier.kind.value, "outage": supplier.name in out}
            for supplier in plane.catalogue.suppliers.values()
        ],
        "faults": [fault.view() for fault in control.faults.pending()],
    }


def _advance(control: _Control) -> dict[str, Any]:
    seconds = _number(control.body(), "seconds", None, MAX_ADVANCE_SECONDS)
    if control.plane.driver.runs_commands:
        raise ApiError(409, "clock_is_real", "Commands run in real time: with this driver the clock cannot be moved.")
    return {"now": timestamp(control.plane.advance(seconds))}


def _outage(control: _Control) -> dict[str, Any]:
    name = control.call.path_params["name"]
    on = control.body().get("on", True)
    if not isinstance(on, bool):
        raise ApiError(422, "invalid_request", "`on` must be true or false.")
    try:
        control.plane.set_outage(name, on=on)
    except KeyError:
        raise ApiError(404, "supplier_not_found", "There is no such supplier.") from None
    return {"name": name, "outage": on}


def _add_fault(control: _Control) -> dict[str, Any]:
    body = control.body()
    match = body.get("match") or {}
    headers = body.get("headers") or {}
    do = body.get("do")
    if do not in ACTIONS:
        raise ApiError(422, "invalid_request", f"`do` must be one of {', '.join(ACTIONS)}.")
    if not isinstance(match, dict) or not all(isinstance(value, (str, type(None))) for value in match.values()):
        raise ApiError(422, "invalid_request", "`match` must be an object with `method` and `path`.")
    if not isinstance(headers, dict) or not all(_is_header(*header) for header in headers.items()):
        raise ApiError(422, "invalid_request", "`headers` must be an object of printable ASCII strings.")
    fault = Fault(
        do=do,
        method=match.get("method"),
        path=match.get("path"),
        status=int(_number(body, "status", 500, 599, lowest=200)),
        headers=headers,
        seconds=_number(body, "seconds", 0.0, MAX_DELAY_SECONDS),
        times=int(_number(body, "times", 1, 1_000_000, lowest=1)),
    )
    control.faults.add(fault)
    return {"faults": [waiting.view() for waiting in control.faults.pending()]}


def _clear_faults(control: _Control) -> dict[str, Any]:
    control.faults.clear()
    return {"faults": []}


def _reset(control: _Control) -> dict[str, Any]:
    if control.plane.driver.runs_commands:
        raise ApiError(409, "commands_are_running", "With a driver that runs commands there is no reset: restart.")
    control.faults.clear()
    control.plane.reset()
    return _state(control)


def _number(body: Mapping[str, Any], name: str, default: float | None, highest: float, *, lowest: float = 0) -> float:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not lowest <= value <= highest:
        raise ApiError(422, "invalid_request", f"`{name}` must be a number from {lowest:g} to {highest:g}.")
    return value


def _is_header(name: object, value: object) -> bool:
    if not isinstance(name, str) or not isinstance(value, str):
        return False
    return (
        bool(name)
        and all(mark.isalnum() or mark == "-" for mark in name)
        and (name + value).isascii()
        and (not value or value.isprintable())
    )
