"""What was measured, as tables: on the terminal, as JSON, as Markdown with a plot each for the documentation."""

from __future__ import annotations

import dataclasses
import html
import json
import platform
from pathlib import Path

BAR_HEIGHT, GAP, LABEL_WIDTH, PLOT_WIDTH, VALUE_WIDTH = 18, 6, 190, 420, 90
OURS, THEIRS = "#7c3aed", "#a1a1aa"


@dataclasses.dataclass(frozen=True)
class Bar:
    """What nodus should stay at or below."""

    name: str
    value: float
    limit: float

    @property
    def is_met(self) -> bool:
        return self.value <= self.limit

    def __str__(self) -> str:
        return f"{self.name}: {_number(self.value)} (bar {_number(self.limit)}, {'met' if self.is_met else 'MISSED'})"


@dataclasses.dataclass(frozen=True)
class Row:
    """One contender. The first of the values is what the plot shows."""

    label: str
    values: tuple[float, ...]
    of: str


@dataclasses.dataclass
class Table:
    """One section's measurements.

    Attributes:
        section: its number.
        title: what was measured.
        unit: what the plot's lengths are in.
        columns: what the values of each row are.
        rows: the contenders.
        bars: what nodus should reach.
        note: under which circumstances; empty for those that all sections share.
    """

    section: str
    title: str
    unit: str
    columns: tuple[str, ...]
    rows: list[Row] = dataclasses.field(default_factory=list)
    bars: list[Bar] = dataclasses.field(default_factory=list)
    note: str = ""

    def add(self, label: str, *values: float, of: str) -> None:
        """Append a row; `of` is the contender, so that nodus' own rows stand out."""
        self.rows.append(Row(label, values, of))


def as_text(table: Table) -> str:
    """The table for a terminal."""
    width = max(len(row.label) for row in table.rows)
    lines = [f"{table.section}. {table.title}", ""]
    lines.append("  " + " " * width + "".join(f"{column:>14}" for column in table.columns))
    lines += [
        f"  {row.label:<{width}}" + "".join(f"{_number(value):>14}" for value in row.values) for row in table.rows
    ]
    lines += ["", *(f"  {bar}" for bar in table.bars), ""]
    if table.note:
        lines += [f"  {table.note}", ""]
    return "\n".join(lines)


def as_markdown(table: Table) -> str:
    """The table for the documentation, its plot above it."""
    lines = [f"## {table.section}. {table.title}", "", f"![{table.title}: {table.unit}]({plot_name(table)})", ""]
    if table.note:
        lines += [table.note, ""]
    lines.append("| | " + " | ".join(table.columns) + " |")
    lines.append("|---|" + "---:|" * len(table.columns))
    for row in table.rows:
        label = f"**{row.label}**" if row.of == "nodus" else row.label
        lines.append(f"| {label} | " + " | ".join(map(_number, row.values)) + " |")
    lines += ["", "| bar | measured | at most | |", "|---|---:|---:|---|"]
    for bar in table.bars:
        lines.append(
            f"| {bar.name} | {_number(bar.value)} | {_number(bar.limit)} | {'met' if bar.is_met else 'missed'} |"
        )
    return "\n".join([*lines, ""])


def as_svg(table: Table) -> str:
    """Horizontal bars, one a row, as a plain SVG."""
    longest = max(row.values[0] for row in table.rows) or 1.0
    height = len(table.rows) * (BAR_HEIGHT + GAP) + GAP + 20
    width = LABEL_WIDTH + PLOT_WIDTH + VALUE_WIDTH
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12" role="img"><title>{html.escape(table.title)}</title>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{LABEL_WIDTH}" y="14" fill="#52525b">{html.escape(table.unit)}</text>',
    ]
    for index, row in enumerate(table.rows):
        top = 20 + GAP + index * (BAR_HEIGHT + GAP)
        length = max(1.0, row.values[0] / longest * PLOT_WIDTH)
        middle = top + BAR_HEIGHT - 5
        color = OURS if row.of == "nodus" else THEIRS
        parts += [
            f'<text x="{LABEL_WIDTH - 6}" y="{middle}" text-anchor="end">{html.escape(row.label)}</text>',
            f'<rect x="{LABEL_WIDTH}" y="{top}" width="{length:.1f}" height="{BAR_HEIGHT}" fill="{color}"/>',
            f'<text x="{LABEL_WIDTH + length + 5:.1f}" y="{middle}">{_number(row.values[0])}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def plot_name(table: Table) -> str:
    return f"section-{table.section}.svg"


def save(table: Table, results: Path, docs: Path) -> None:
    """Put one section into `results` (JSON); write all of them as a Markdown page with plots into the folder `docs`."""
    kept = {**{known.section: known for known in load(results)}, table.section: table}
    merged = [kept[section] for section in sorted(kept)]
    results.write_text(json.dumps([dataclasses.asdict(table) for table in merged], indent=1) + "\n", encoding="utf-8")
    docs.mkdir(parents=True, exist_ok=True)
    for table in merged:
        (docs / plot_name(table)).write_text(as_svg(table), encoding="utf-8")
    page = [
        "# Performance",
        "",
        "`nox -s bench` measures all of this again and writes this page. Times depend on the machine; the ratios, each"
        " taken within one run with the contenders taking turns, much less.",
        "",
        f"Last measured on {platform.python_implementation()} {platform.python_version()}, {platform.system()}.",
        "",
        *(as_markdown(table) for table in merged),
    ]
    (docs / "index.md").write_text("\n".join(page), encoding="utf-8")


def load(results: Path) -> list[Table]:
    """Read what an earlier run measured; nothing where there was none."""
    if not results.exists():
        return []
    tables = []
    for saved in json.loads(results.read_text(encoding="utf-8")):
        rows = [Row(row["label"], tuple(row["values"]), row["of"]) for row in saved.pop("rows")]
        bars = [Bar(**bar) for bar in saved.pop("bars")]
        columns = tuple(saved.pop("columns"))
        tables.append(Table(**saved, columns=columns, rows=rows, bars=bars))
    return tables


def _number(value: float) -> str:
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
