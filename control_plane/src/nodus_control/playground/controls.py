"""`/_dev`: the playground's controls. Mounted by the playground and the testing fixtures only."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from nodus_core.admission import Refusal, admit
from nodus_core.decisions import decision_document
from nodus_core.money import usd
from nodus_core.routing import Requirements
from nodus_core.spec import FIELDS
from nodus_core.times import timestamp
from nodus_ledger.jobs.supplier_eligibility import Program

from ..api.faults import ACTIONS, Fault
from ..clock import Pace, RunningClock
from ..control_plane import ControlPlane
from ..errors import ApiError
from . import agent_budget
from .drafts import read_fields, write_fields
from .endpoints import Control
from .seeded import AGENT_API_KEY, AGENT_SIGNING_SECRET, API_KEY, CUSTOMER_ID, SeededKeys
from .snippets import Caller, snippets

MAX_ADVANCE_SECONDS = 10 * 365 * 86_400
MAX_DELAY_SECONDS = 3600
MIN_SPEED, MAX_SPEED = 0.01, 1_000_000
MAX_SEED = 2**53 - 1


def _simulates(control_plane: ControlPlane) -> bool:
    """Whether the seeded keys' jobs are simulated: only where nothing really runs. They see the suppliers for these."""
    return not control_plane.catalogue.has_real


def get_state(control: Control) -> dict[str, Any]:
    """Get the state of the playground."""
    control_plane = control.control_plane
    out = control_plane.outages.names()
    simulated = _simulates(control_plane)
    return {
        **_clock(control_plane),
        "seed": control_plane.seed,
        "epoch": control_plane.settings.epoch(),
        "ledger_size": control_plane.trust_ledger.size(CUSTOMER_ID),
        "waiting_for_budget": agent_budget.waiting_view(control_plane),
        "webhooks": len(control_plane.webhooks.endpoints.of_customer(CUSTOMER_ID)),
        "driver": control_plane.drivers.name,
        "gpus": list(control_plane.catalogue.gpus_for(simulated=simulated)),
        "suppliers": [
            {"name": supplier.name, "kind": supplier.kind.value, "outage": supplier.name in out}
            for supplier in control_plane.catalogue.suppliers.values()
            if supplier.is_simulated is simulated
        ],
        "faults": [fault.view() for fault in control.faults.pending()],
    }


def _clock(control_plane: ControlPlane) -> dict[str, Any]:
    clock = control_plane.clock
    pace = clock.pace if isinstance(clock, RunningClock) else Pace(clock.speed, is_paused=True)
    return {
        "now": timestamp(clock.now()),
        "speed": "instant" if pace.leaps else pace.speed,
        "paused": pace.is_paused,
    }


def set_clock(control: Control) -> dict[str, Any]:
    """Change how fast the clock runs, or pause it."""
    body, control_plane = control.body(), control.control_plane
    if control_plane.drivers.runs_commands:
        raise _real_clock()
    if not isinstance(control_plane.clock, RunningClock):
        raise ApiError(409, "clock_is_manual", "This clock stands until it is advanced.")
    is_paused = body.get("paused")
    if "paused" in body and not isinstance(is_paused, bool):
        raise ApiError(422, "invalid_request", "`paused` must be true or false.")
    leaps = body["speed"] == "instant" if "speed" in body else None
    speed = None if leaps is not False else _number(body, "speed", None, MAX_SPEED, lowest=MIN_SPEED)
    control_plane.clock.change_pace(speed=speed, leaps=leaps, is_paused=is_paused)
    control_plane.wake()
    return _clock(control_plane)


def read_draft(control: Control) -> dict[str, Any]:
    """Preview a job that is being written: its spec or its errors, its code, and where it would go now."""
    body = control.body()
    fields = body.get("fields")
    if not isinstance(fields, dict):
        spec = body.get("spec")
        fields = write_fields(spec if isinstance(spec, dict) else {})
    payload, errors = read_fields(fields)
    is_agent = body.get("as") == "agent"
    code = {} if errors else snippets(payload, _caller(control, is_agent=is_agent))
    headroom = agent_budget.headroom(control.control_plane) if is_agent else None
    return {
        "fields": fields,
        "spec": payload,
        "errors": errors,
        "code": code,
        **_routing(control.control_plane, payload, errors, headroom),
    }


def _caller(control: Control, *, is_agent: bool) -> Caller:
    base_url = f"http://{control.call.header('host')}"
    keys = control.keys or SeededKeys(API_KEY, AGENT_API_KEY, AGENT_SIGNING_SECRET)
    return (
        Caller(base_url, keys.agent_api_key, keys.agent_signing_secret) if is_agent else Caller(base_url, keys.api_key)
    )


def _routing(
    control_plane: ControlPlane, payload: Mapping[str, Any], errors: Collection[str], headroom: int | None
) -> dict[str, Any]:
    """Say where a job would go if it were submitted now, and what would be, or would have to be, reserved for it."""
    tiers = tuple(sorted(payload.get("require_tiers", ())))
    gpu = payload.get("gpu", "")
    offers = control_plane.catalogue.offers_for(gpu, simulated=_simulates(control_plane))
    count, seconds = payload.get("gpu_count"), payload.get("max_runtime_seconds")
    ceiling = None if "max_cost_usd" in errors else FIELDS["max_cost_usd"].read(payload.get("max_cost_usd"))
    needed = count or 1
    stand = control_plane.availability.now(CUSTOMER_ID, (gpu,), real_now=int(time.time() * 1000))
    cannot_run = stand.anothers
    if not {"image", "command", "env"}.intersection(errors):
        command = payload.get("command")
        program = Program(payload["image"], None if command is None else tuple(command), payload.get("env") or {})
        cannot_run |= control_plane.availability.unable(program)
    requirements = Requirements(
        require_tiers=tiers,
        gpu_count=needed,
        prefer_region=payload.get("prefer_region"),
        outages=stand.outages,
        unreachable=stand.unreachable,
        full=frozenset(name for (name, model), free in stand.free.items() if model == gpu and free < needed),
        cannot_run=cannot_run,
        max_runtime_seconds=seconds or 0,
        max_cost_micros=ceiling,
        headroom_micros=headroom,
    )
    admitted = admit(offers, requirements)
    has_price = count and seconds and admitted.refusal in (None, Refusal.OVER_BUDGET)
    reserved = usd(admitted.reserved) if has_price else None
    document = decision_document(admitted.decision, gpu, control_plane.catalogue.sha256)
    return {"routing": document, "reserved_usd": reserved}


def get_run(control: Control) -> dict[str, Any]:
    """Get what it takes to reproduce a job: the seed, and how many were submitted before it."""
    control_plane = control.control_plane
    job = control_plane.jobs.get(CUSTOMER_ID, control.call.path_params["job_id"])
    return {"seed": control_plane.seed, "passed_over": control_plane.job_ids.passed_over + job.seq - 1}


def advance_clock(control: Control) -> dict[str, Any]:
    """Advance the clock, and do what falls due."""
    seconds = _number(control.body(), "seconds", None, MAX_ADVANCE_SECONDS)
    if control.control_plane.drivers.runs_commands:
        raise _real_clock()
    return {"now": timestamp(control.control_plane.advance(seconds))}


def switch_outage(control: Control) -> dict[str, Any]:
    """Begin or end a supplier's outage."""
    name = control.call.path_params["name"]
    on = control.body().get("on", True)
    if not isinstance(on, bool):
        raise ApiError(422, "invalid_request", "`on` must be true or false.")
    try:
        control.control_plane.set_outage(name, on=on)
    except KeyError:
        raise ApiError(404, "supplier_not_found", "There is no such supplier.") from None
    return {"name": name, "outage": on}


def add_fault(control: Control) -> dict[str, Any]:
    """Script a fault."""
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


def clear_faults(control: Control) -> dict[str, Any]:
    """Remove the faults that are waiting."""
    control.faults.clear()
    return {"faults": []}


def reset(control: Control) -> dict[str, Any]:
    """Empty everything but the keys."""
    if control.control_plane.drivers.runs_commands:
        raise ApiError(409, "commands_are_running", "Jobs run real commands, so there is no reset: restart instead.")
    body = control.body() if control.call.body else {}
    seed = control.control_plane.seed or 0
    wanted = int(_number(body, "seed", seed, MAX_SEED, lowest=-MAX_SEED))
    passed_over = int(_number(body, "passed_over", 0, 1_000_000_000))
    if wanted != seed and control.control_plane.database.is_shared:
        raise ApiError(409, "seed_is_kept", f"A kept database keeps its seed: start a playground with --seed {wanted}.")
    control.faults.clear()
    agent_budget.restore_cap(control.control_plane)
    control.control_plane.reset(seed=wanted, passed_over=passed_over)
    return get_state(control)


def _real_clock() -> ApiError:
    return ApiError(409, "clock_is_real", "Commands run in real time: with this driver the clock cannot be moved.")


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
