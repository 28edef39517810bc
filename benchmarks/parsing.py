"""Section 3: from the bytes of an answer to models, beside pydantic's own `model_validate_json` on the same bytes."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable

import pydantic

from nodus._http import Response, parse, parse_page
from nodus._job_pages import JobPage
from nodus._models import JobView

from .report import Bar, Table
from .rounds import interleaved
from .server import JOB

SIZES = (1, 50, 10_000)


def measure(*, quick: bool = False) -> Table:
    """Measure one job, a default page, and as many as a large customer has."""
    table = Table("3", "Parsing", "µs", ("µs", "÷ model_validate_json"))
    for size in SIZES:
        body = JOB if size == 1 else b'{"jobs":[' + b",".join([JOB] * size) + b'],"next_cursor":null}'
        model = JobView if size == 1 else JobPage
        ours = functools.partial(parse, model=JobView) if size == 1 else parse_page
        repeats = max(1, (500 if quick else 2000) // size)
        calls: dict[str, Callable[[], object]] = {
            "model_validate_json": functools.partial(model.model_validate_json, body),
            "json() + model_validate": functools.partial(from_objects, model, body),
            "nodus": functools.partial(ours, Response(200, {}, body)),
        }
        took = interleaved(
            {name: functools.partial(cpu_us, call, repeats) for name, call in calls.items()}, 5 if quick else 25
        )
        floor = took["model_validate_json"]
        for name, value in took.items():
            table.add(f"{name}, {size:,} job{'s' * (size > 1)}", value, value / floor, of=name)
        table.bars.append(Bar(f"{size:,} job{'s' * (size > 1)} ÷ model_validate_json", took["nodus"] / floor, 1.05))
    return table


def from_objects(model: type[pydantic.BaseModel], body: bytes) -> object:
    """What an SDK does that leaves JSON to the HTTP library."""
    return model.model_validate(json.loads(body))


def cpu_us(call: Callable[[], object], repeats: int) -> float:
    """Return the CPU µs that one call takes."""
    started = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - started) / repeats * 1e6
