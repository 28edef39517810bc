"""A job as an HTML card for notebooks: escaped, self-contained, in the notebook's own colours."""

from __future__ import annotations

from html import escape

from ._models import JobView
from ._money import dollars

# Hues that can be told apart, and read, on white and on black.
_COLOURS = {
    "queued": "#8a8f98",
    "placed": "#3b82c4",
    "running": "#b7791f",
    "completed": "#2e9e5b",
    "failed": "#d64545",
    "cancelled": "#8a8f98",
}
_CARD = (
    "display:inline-block;min-width:18em;max-width:44em;padding:.75em 1em;border:1px solid rgba(128,128,128,.4);"
    "border-radius:8px;font-family:system-ui,sans-serif;font-size:13px;line-height:1.5;color:inherit"
)
_BADGE = (
    "display:inline-block;padding:0 .6em;border-radius:999px;border:1px solid {colour};color:{colour};font-weight:600"
)
_SIMULATED = f' <span style="{_BADGE.format(colour="inherit")}">simulated: nothing runs, nothing is charged</span>'
_NAME = "padding:0 1em 0 0;text-align:left;font-weight:400;opacity:.7;vertical-align:top"
_VALUE = "padding:0;text-align:left;overflow-wrap:anywhere"


def card(view: JobView) -> str:
    """Return the card of a job."""
    status = view.status.value
    badge = _BADGE.format(colour=_COLOURS.get(status, _COLOURS["queued"]))
    rows = "".join(
        f'<tr style="background:none"><th scope="row" style="{_NAME}">{escape(name)}</th>'
        f'<td style="{_VALUE}">{escape(value)}</td></tr>'
        for name, value in _facts(view)
    )
    return (
        f'<div style="{_CARD}"><div><strong>Nodus job</strong> <span style="{badge}">{escape(status)}</span>'
        f"{_SIMULATED if view.simulated else ''}</div>"
        f'<table style="border-collapse:collapse;margin:.5em 0 0;border:0">{rows}</table></div>'
    )


def _facts(view: JobView) -> list[tuple[str, str]]:
    gpu = None if view.gpu is None else f"{view.gpu_count or 1} × {view.gpu.value}"
    facts: list[tuple[str, str | None]] = [
        ("id", view.id),
        ("image", view.image),
        ("GPU", gpu),
        ("supplier", view.supplier),
        ("region", view.region),
        ("duration", None if view.duration_s is None else f"{view.duration_s:,.1f} s"),
        ("phase", ": ".join(text for text in (view.phase, view.phase_detail) if text) or None),
        ("cost so far", None if view.cost_usd is not None else _dollars(view.cost_so_far_usd)),
        ("cost", _dollars(view.cost_usd)),
        ("vs retail", _dollars(view.retail_cost_usd)),
        ("you saved", _dollars(view.saved_usd)),
        ("error", view.error_message or view.error_code),
    ]
    return [(name, value) for name, value in facts if value is not None]


def _dollars(amount: float | None) -> str | None:
    return None if amount is None else dollars(amount)
