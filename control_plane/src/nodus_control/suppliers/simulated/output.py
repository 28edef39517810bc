"""What a simulated job prints: the progress of a training run, up to a moment."""

from __future__ import annotations

import math
import random
from datetime import datetime, timezone

from ..protocol import Placement, PlacementState, Report, Workload

_STEPS = 40


def write_output(
    placement: Placement,
    workload: Workload,
    chance: random.Random,
    *,
    started_at: float,
    finished_at: float,
    report: Report,
    until: float,
) -> str:
    """Return the lines that a placement printed before `until`; neither command nor env is in them. Unix seconds."""
    lines = [
        (
            placement.placed_at,
            f"{placement.supplier} {placement.region}: {workload.gpu_count} x {workload.gpu}",
        ),
        (started_at, f"started {workload.image}"),
    ]
    duration = finished_at - started_at
    for step in range(1, _STEPS + 1):
        loss = 0.3 + 2.2 * math.exp(-3 * step / _STEPS) + chance.uniform(-0.04, 0.04)
        lines.append((started_at + duration * step / (_STEPS + 1), f"step {step}/{_STEPS}  loss {loss:.4f}"))
    lines.append((finished_at, _last_line(report)))
    return "".join(f"{_clock(at)} {line}\n" for at, line in lines if at <= until)


def _last_line(report: Report) -> str:
    if report.state is PlacementState.COMPLETED:
        return "finished: exit status 0"
    if report.state is PlacementState.LOST:
        return "connection to the host lost"
    return f"failed: {report.error_message}"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
