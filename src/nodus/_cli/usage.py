"""How usage is shown: a table that adds up for people, rows for programs, CSV for spreadsheets. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from .._money import decimals_of, dollars, plain
from .output import aligned, utc_time

if TYPE_CHECKING:
    from .._usage import Usage, UsageAmounts, UsageGroup

AMOUNTS = ("jobs", "gpu_seconds", "cost_usd", "retail_cost_usd", "saved_usd")

_LABEL = "label:"
_TITLES = ("JOBS", "GPU-SECONDS", "COST", "VS RETAIL", "SAVED")
_TOTAL = "total"
# What Excel, LibreOffice and Google's sheets take for the beginning of a formula, at the beginning of a cell.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def table(usage: Usage, by: Sequence[str], *, width: int) -> list[str]:
    """Lay out a table, with a last row that its columns add up to.

    Args:
        usage: the answer.
        by: what was grouped by.
        width: the columns of the terminal.
    """
    rows = [*usage.groups, usage.total]
    columns = [
        [f"{each.jobs:,}" for each in rows],
        [f"{each.gpu_seconds:,.3f}" for each in rows],
        *(_amounts([getattr(each, name) for each in rows]) for name in AMOUNTS[2:]),
    ]
    shared = [[value_of(group, name) or "-" for name in by] for group in usage.groups]
    shared.append([_TOTAL, *[""] * (len(by) - 1)])
    header = [*(name.upper().replace("_", " ") for name in by), *_TITLES]
    cells = [[*names, *amounts] for names, amounts in zip(shared, zip(*columns, strict=True), strict=True)]
    return aligned(header, cells, width=width, droppable=(), right=_TITLES)


def span(usage: Usage) -> str:
    """Say which span of time an answer is about."""
    return f"{_shown(usage.from_)} to {_shown(usage.to)}, UTC, exclusive"


def row(group: UsageGroup, by: Sequence[str], *, simulated: bool) -> list[str]:
    """Return a group's cells for programs: what was grouped by, its amounts, and whether they are simulated."""
    return [*(value_of(group, name) or "" for name in by), *_numbers(group), "yes" if simulated else "no"]


def as_csv(usage: Usage, by: Sequence[str]) -> str:
    """Write the groups as CSV (RFC 4180, with line feeds); no cell is a formula."""
    rows = ([*(text_cell(cell) for cell in found[: len(by)]), *found[len(by) :]] for found in _rows(usage, by))
    return write_csv([*by, *AMOUNTS, "simulated"], rows)


def write_csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a header and rows as CSV."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return written.getvalue()


def text_cell(text: str) -> str:
    """Return a text as a cell that a spreadsheet shows, and does not run as a formula.

    >>> text_cell("=HYPERLINK(1)"), text_cell("search")
    ("'=HYPERLINK(1)", 'search')
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def value_of(group: UsageGroup, name: str) -> str | None:
    """Return what a group's jobs have in common, as it is written; None where they have none."""
    if name.startswith(_LABEL):
        return group.labels.get(name.removeprefix(_LABEL))
    value = getattr(group, name)
    if value is None:
        return None
    return str(getattr(value, "value", value))


def _rows(usage: Usage, by: Sequence[str]) -> Iterable[list[str]]:
    return (row(group, by, simulated=usage.simulated) for group in usage.groups)


def _numbers(amounts: UsageAmounts) -> list[str]:
    money = ["" if amount is None else plain(amount) for amount in (getattr(amounts, name) for name in AMOUNTS[2:])]
    return [str(amounts.jobs), f"{amounts.gpu_seconds:.3f}", *money]


def _amounts(amounts: Sequence[float | None]) -> list[str]:
    decimals = decimals_of(amount for amount in amounts if amount is not None)
    return ["-" if amount is None else dollars(amount, decimals=decimals) for amount in amounts]


def _shown(moment: datetime) -> str:
    """Write a time; a midnight as its date."""
    text = utc_time(moment)
    return text.removesuffix("T00:00:00Z")
