"""How jobs are shown: a block of facts for one, a row each for many, JSON for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from .._fields import JOB
from .._money import dollars, plain
from .._printable import printable
from .output import STATUS_COLOURS, Output, Painted, aligned, local_time, utc_time

if TYPE_CHECKING:
    from .._models import JobView

_COLUMNS = ("ID", "STATUS", "GPU", "SUPPLIER", "REGION", "COST", "CREATED")
_DROPPABLE = ("REGION", "GPU", "CREATED", "SUPPLIER")


def show_job(output: Output, view: JobView, *, as_json: bool) -> None:
    """Write all that is known of one job to stdout."""
    if as_json:
        output.json_text(view.model_dump_json())
        return
    facts = _facts(view)
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        colour = STATUS_COLOURS.get(value) if name == "status" else None
        output.data(f"{name.ljust(width)}  ", Painted(value, colour))
    if is_simulated(view):
        output.data("simulated: nothing ran")


def show_rows(output: Output, views: Sequence[JobView]) -> None:
    """Write a table for people, fitted to the terminal."""
    rows = [[printable(cell) or "-" for cell in _cells(view, local_time, dollars)] for view in views]
    header, *lines = aligned(_COLUMNS, rows, width=output.width, droppable=_DROPPABLE)
    output.data(header)
    start = header.index("STATUS")
    for line, view in zip(lines, views, strict=True):
        end = start + len(printable(view.status.value))
        status = Painted(line[start:end], STATUS_COLOURS.get(view.status.value))
        output.data(line[:start], status, line[end:])


def show_tab_separated(output: Output, view: JobView) -> None:
    """Write one job for `cut` and `awk`: tabs between the columns, no header, times in UTC, plain numbers."""
    output.row(_cells(view, utc_time, plain))


def location(view: JobView) -> str:
    """Say where a job runs, as far as that is known."""
    return ", ".join(part for part in (view.supplier, view.region) if part)


def is_simulated(view: JobView) -> bool:
    """Whether the control plane only made the job's run up: no program ran, and its cost is no bill."""
    return getattr(view, "simulated", False) is True


def _cells(view: JobView, show_time: Callable[[datetime], str], show_amount: Callable[[float], str]) -> list[str]:
    return [
        view.id,
        view.status.value,
        _gpu(view),
        view.supplier or "",
        view.region or "",
        _listed_cost(view, show_amount),
        "" if view.created_at is None else show_time(view.created_at),
    ]


def _facts(view: JobView) -> list[tuple[str, str]]:
    facts: list[tuple[str, str | None]] = [
        ("id", view.id),
        ("status", view.status.value),
        ("phase", ": ".join(text for text in (view.phase, view.phase_detail) if text)),
        ("error", view.error_message or view.error_code),
        *_submitted_texts(view),
        ("labels", " ".join(f"{key}={value}" for key, value in view.labels.items())),
        ("gpu", _gpu(view)),
        ("supplier", view.supplier),
        ("region", view.region),
        ("created", _time(view.created_at)),
        ("started", _time(view.started_at)),
        ("finished", _time(view.finished_at)),
        ("duration", None if view.duration_s is None else f"{view.duration_s:,.1f} s"),
        ("price", None if view.usd_per_gpu_hour is None else f"{dollars(view.usd_per_gpu_hour)} per GPU-hour"),
        ("cost so far", None if view.cost_usd is not None else _dollars(view.cost_so_far_usd)),
        ("cost_usd", _dollars(view.cost_usd)),
        ("vs retail", _dollars(view.retail_cost_usd)),
        ("you saved", _dollars(view.saved_usd)),
    ]
    return [(name, value) for name, value in facts if value]


def _submitted_texts(view: JobView) -> Iterator[tuple[str, str | None]]:
    for name in JOB.names:
        value = getattr(view, name, None)
        if isinstance(value, str) and name != "gpu":  # that is shown with its count
            yield name, value


def _dollars(amount: float | None) -> str | None:
    return None if amount is None else dollars(amount)


def _time(when: datetime | None) -> str:
    return "" if when is None else local_time(when)


def _listed_cost(view: JobView, show_amount: Callable[[float], str]) -> str:
    """What it cost, in a row that must say by itself that nothing ran, whatever has been charged so far."""
    amount = "" if view.cost_usd is None else show_amount(view.cost_usd)
    return f"{amount} (simulated)".lstrip() if is_simulated(view) else amount


def _gpu(view: JobView) -> str:
    if view.gpu is None:
        return ""
    return view.gpu.value if view.gpu_count is None else f"{view.gpu_count} x {view.gpu.value}"
